"""The tree of revisions: what is unsound is left out with its reason, and its dependents too."""

from dataclasses import replace
from pathlib import Path
from textwrap import dedent

import pytest

from quetz.errors import PluginError
from quetz.migrations.ledger import Signature
from quetz.migrations.trees import load_tree
from quetz.plugins import Plugins

SCRIPT = '''
"""{revision}"""

revision = {revision!r}
down_revision = {down!r}
branch_labels = {labels!r}
depends_on = {depends!r}


def upgrade():
    pass


def downgrade():
    pass
'''


@pytest.fixture
def owned(plugins, tmp_path):
    """Plugins ``quetz-a`` and ``quetz-b`` beside quetz, each with an empty folder."""
    folders = {name: tmp_path / name for name in ("quetz", "quetz-a", "quetz-b")}
    for folder in folders.values():
        folder.mkdir()
    return replace(plugins, migrations=folders)


def write(
    plugins: Plugins,
    owner: str,
    revision: str,
    *,
    down: object = None,
    labels: object = None,
    depends: object = None,
) -> None:
    text = SCRIPT.format(revision=revision, down=down, labels=labels, depends=depends)
    Path(plugins.migrations[owner], f"{revision}_x.py").write_text(dedent(text).lstrip())


def write_root(plugins: Plugins, owner: str, revision: str, depends: object = None) -> None:
    write(plugins, owner, revision, labels=(owner,), depends=depends)


def entry(owner: str, revision: str, *, down: tuple[str, ...] = (), direction: str = "up"):
    return Signature("run", "1.0", "alice", "host", 1).sign(
        owner=owner,
        dist_version="1.0",
        revision=revision,
        down_revision=down,
        depends_on=(),
        labels=() if down else (owner,),
        message="m",
        direction=direction,
        state="done",
        checksum="",
        script_source="",
    )


def test_each_revision_has_its_owner_and_each_owner_its_head(owned):
    write_root(owned, "quetz", "c1")
    write(owned, "quetz", "c2", down="c1")
    write_root(owned, "quetz-a", "a1", depends="c2")

    tree = load_tree(owned)

    assert tree.owners == {"c1": "quetz", "c2": "quetz", "a1": "quetz-a"}
    assert tree.heads_of("quetz") == ["c2"]
    assert tree.heads_of("quetz-a") == ["a1"]
    assert tree.heads_of("quetz-b") == []
    assert tree.applied(["a1"]) == {"a1", "c2", "c1"}


def test_the_label_quetz_is_taken_for_a_dependency_as_older_scripts_have_it(owned):
    write_root(owned, "quetz", "c1")
    write_root(owned, "quetz-a", "a1", depends="quetz")

    tree = load_tree(owned)

    assert tree.broken == {}
    assert tree.applied(["a1"]) == {"a1", "c1"}


@pytest.mark.parametrize(
    ("revisions", "reason"),
    [
        pytest.param(
            [("a1", None, ("quetz-a",)), ("a2", None, ("quetz-a",))],
            "has several roots, a1, a2",
            id="two-roots",
        ),
        pytest.param(
            [("a1", None, ("quetz-a",)), ("a2", "a1", None), ("a3", "a1", None)],
            "has several heads, a2, a3",
            id="two-heads",
        ),
        pytest.param([("a1", "c1", ("quetz-a",))], "a1 follows c1", id="on-the-core"),
        pytest.param(
            [("a1", None, None)], r"must say branch_labels = \('quetz-a',\)", id="no-label"
        ),
        pytest.param(
            [("a1", None, ("quetz-b",))], r"must say branch_labels = \('quetz-a',\)", id="another's"
        ),
        pytest.param(
            [("a1", None, ("quetz-a",)), ("a2", "a1", ("x",))],
            "no other label than 'quetz-a'",
            id="a-further-label",
        ),
        pytest.param([("c1", None, ("quetz-a",))], "c1 is one of 'quetz' already", id="a-taken-id"),
        pytest.param(
            [("a1", "a2", ("quetz-a",)), ("a2", "a1", None)], "go in a circle", id="a-circle"
        ),
    ],
)
def test_a_plugin_that_breaks_a_rule_is_left_out_and_the_others_stay(owned, revisions, reason):
    write_root(owned, "quetz", "c1")
    write_root(owned, "quetz-b", "b1", depends="c1")
    for revision, down, labels in revisions:
        write(owned, "quetz-a", revision, down=down, labels=labels)

    tree = load_tree(owned)

    assert set(tree.owners) == {"c1", "b1"}
    with pytest.raises(PluginError, match=f"plugin 'quetz-a'.*{reason}"):
        raise tree.broken["quetz-a"]


def test_who_depends_on_what_is_left_out_is_left_out_with_its_own_reason(owned):
    write_root(owned, "quetz", "c1")
    write_root(owned, "quetz-a", "a1", depends="b1")
    write_root(owned, "quetz-b", "b1", depends="gone")

    tree = load_tree(owned)

    assert set(tree.owners) == {"c1"}
    assert "b1 depends on gone, which is not there" in tree.broken["quetz-b"].reason
    assert "a1 depends on b1, which is not there" in tree.broken["quetz-a"].reason


@pytest.mark.parametrize("length", [2, 3])
def test_plugins_that_depend_on_each_other_in_a_circle_are_left_out_with_who_needs_them(
    owned, length
):
    circle = [f"quetz-{letter}" for letter in "xyz"[:length]]
    for owner in [*circle, "quetz-w"]:
        owned.migrations[owner] = owned.migrations["quetz"].with_name(owner)
        owned.migrations[owner].mkdir()
    write_root(owned, "quetz", "c1")
    write_root(owned, "quetz-a", "a1", depends="c1")
    write_root(owned, "quetz-b", "b1", depends="x2")
    for number, owner in enumerate(circle):
        letter, other = owner[-1], circle[number - 1]
        write_root(owned, owner, f"{letter}1", depends="c1")
        write(owned, owner, f"{letter}2", down=f"{letter}1", depends=f"{other[-1]}2")
    write_root(owned, "quetz-w", "w1", depends="a1")

    tree = load_tree(owned)

    assert set(tree.owners) == {"c1", "a1", "w1"}
    assert set(tree.broken) == {*circle, "quetz-b"}
    listed = ", ".join(f"{letter}2" for letter in "xyz"[:length])
    for owner in circle:
        assert f"revisions {listed} depend on each other" in tree.broken[owner].reason
    assert "b1 depends on x2, which is not there" in tree.broken["quetz-b"].reason


def test_revisions_of_one_plugin_that_go_in_a_circle_between_its_ends_leave_it_out(owned):
    write_root(owned, "quetz", "c1")
    write_root(owned, "quetz-a", "a1")
    write(owned, "quetz-a", "a2", down=("a1", "a3"))
    write(owned, "quetz-a", "a3", down="a2")
    write(owned, "quetz-a", "a4", down="a3")

    tree = load_tree(owned)

    assert set(tree.owners) == {"c1"}
    assert "a2, a3" in tree.broken["quetz-a"].reason


def test_a_circle_by_way_of_what_is_not_installed_leaves_out_who_made_it(owned):
    write_root(owned, "quetz", "c1")
    write_root(owned, "quetz-a", "a1", depends="g1")
    gone = replace(entry("quetz-gone", "g1"), depends_on=("a1",))

    tree = load_tree(owned, [entry("quetz-a", "a1"), gone])

    assert set(tree.owners) == {"c1", "a1", "g1"}
    assert "a1, g1" in tree.broken["quetz-a"].reason


def test_a_circle_of_the_core_is_told_of_the_core(owned):
    write_root(owned, "quetz", "c1", depends="a1")
    write_root(owned, "quetz-a", "a1", depends="c1")

    with pytest.raises(PluginError, match=r"'quetz'.*a1, c1 depend on each other in a circle"):
        load_tree(owned)


def test_the_core_itself_is_not_left_out(owned):
    write(owned, "quetz", "c1")

    with pytest.raises(PluginError, match=r"'quetz'.*must say branch_labels"):
        load_tree(owned)


def test_revisions_whose_files_are_gone_stand_as_stubs_that_cannot_run(owned):
    write_root(owned, "quetz", "c1")
    entries = [entry("quetz-gone", "g1"), entry("quetz-gone", "g2", down=("g1",))]

    tree = load_tree(owned, entries)

    assert tree.orphans == {"g1", "g2"}
    assert tree.owners["g2"] == "quetz-gone"
    assert tree.applied(["g2"]) == {"g1", "g2"}
    assert tree.targets() == ["c1"]
    with pytest.raises(PluginError, match="revision g2 is not installed"):
        tree.get_revision("g2").module.upgrade()


def test_a_revision_that_was_taken_back_leaves_no_stub(owned):
    write_root(owned, "quetz", "c1")
    entries = [entry("quetz-gone", "g1"), entry("quetz-gone", "g1", direction="down")]

    assert load_tree(owned, entries).orphans == frozenset()


def test_a_dependency_on_a_stub_holds(owned):
    write_root(owned, "quetz", "c1")
    write_root(owned, "quetz-a", "a1", depends="g1")

    tree = load_tree(owned, [entry("quetz-gone", "g1")])

    assert tree.broken == {}
    assert tree.applied(["a1"]) == {"a1", "g1"}


def test_a_plugin_whose_first_revision_was_made_anew_is_left_out(owned):
    write_root(owned, "quetz", "c1")
    write_root(owned, "quetz-a", "a2")

    tree = load_tree(owned, [entry("quetz-a", "a1")])

    assert "a1 was applied, and is gone; put it back" in tree.broken["quetz-a"].reason
    assert set(tree.owners) == {"c1", "a1"}


def test_what_was_applied_of_a_plugin_that_is_left_out_can_still_be_built_on(owned):
    write_root(owned, "quetz", "c1")
    write_root(owned, "quetz-a", "a1")
    write(owned, "quetz-a", "a2", down="a1", depends="gone")
    write_root(owned, "quetz-b", "b1", depends="a1")

    tree = load_tree(owned, [entry("quetz-a", "a1")])

    assert set(tree.broken) == {"quetz-a"}
    assert {"a1", "b1"} <= set(tree.owners)
