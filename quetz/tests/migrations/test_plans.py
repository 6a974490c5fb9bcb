"""What is to be applied, if a revision or an owner is named."""

from dataclasses import replace
from pathlib import Path

import pytest

from quetz.errors.migrations import RevisionNotFound
from quetz.migrations import upgrade
from quetz.migrations.plans import plan_upgrade
from quetz.plugins import Plugins
from quetz.tests.migrations.databases import REVISION, head_of


@pytest.fixture
def several(copied, tmp_path) -> Plugins:
    """Plugins ``quetz-foo``, and ``quetz-bar`` that depends on it."""
    return with_plugin(
        with_plugin(copied, tmp_path, "quetz-foo", "f1", str(head_of(copied))),
        tmp_path,
        "quetz-bar",
        "fb1",
        "f1",
    )


def with_plugin(plugins: Plugins, home: Path, owner: str, revision: str, needed: str) -> Plugins:
    (home / owner).mkdir()
    script = REVISION.format(
        revision=revision, parent=None, labels=(owner,), upgrade="pass", downgrade="pass"
    )
    script = script.replace("depends_on = None", f"depends_on = {needed!r}")
    (home / owner / f"{revision}.py").write_text(script)
    return replace(plugins, migrations={**plugins.migrations, owner: home / owner})


@pytest.mark.parametrize(
    ("to", "planned"),
    [
        pytest.param("quetz@head", [], id="the-core"),
        pytest.param("quetz-foo@head", ["f1"], id="a-plugin"),
        pytest.param("quetz-foo@f", ["f1"], id="a-start"),
        pytest.param("fb", ["f1", "fb1"], id="with-what-it-needs"),
        pytest.param(None, ["f1", "fb1"], id="all"),
    ],
)
def test_what_a_revision_needs_of_other_owners_is_planned_and_no_more(
    sqlite_engine, copied, several, to, planned
):
    upgrade(sqlite_engine, copied)

    plan = plan_upgrade(sqlite_engine, several, to=to)

    assert [step.revision for step in plan.steps] == planned


@pytest.mark.parametrize("to", ["f", "quetz-foo@b", "nobody@head", "@head", ""])
def test_a_name_of_none_or_of_several_is_refused(sqlite_engine, several, to):
    with pytest.raises(RevisionNotFound):
        upgrade(sqlite_engine, several, to=to)


def test_the_head_of_a_plugin_that_is_gone_cannot_be_aimed_at(sqlite_engine, copied, several):
    upgrade(sqlite_engine, several)

    with pytest.raises(RevisionNotFound, match="'quetz-foo@head' is unknown"):
        upgrade(sqlite_engine, copied, to="quetz-foo@head")
