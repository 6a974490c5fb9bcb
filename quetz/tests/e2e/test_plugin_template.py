"""A new plugin is tested; the guide and the plugin's README are followed as they stand there."""

import ast
import re
import shlex
import sqlite3
import zipfile
from contextlib import closing
from pathlib import Path
from textwrap import dedent

import pytest

from quetz.testing.fixtures import FOLDER, SHARED_FOLDER
from quetz.tests.architecture.sources import ROOT
from quetz.tests.e2e.workplaces import Workplace

ADD_A_NOTE = """\
from pathlib import Path
from quetz.deployment import Deployment
from quetz.testing.factories import make_channel
from quetz_notes.db_models import Note

deployment = Deployment.open(Path("deployment_dir"))
with deployment.transaction(write=True) as session:
    session.add(Note(channel_id=make_channel(session).id, text="keep me"))
deployment.close()
"""


@pytest.fixture
def workplace(request, tmp_path) -> Workplace:
    """A place whose tests use the PostgreSQL server of this run."""
    variables = {SHARED_FOLDER: str(request.config.stash[FOLDER])}
    return Workplace.make(tmp_path, variables)


def follow(workplace: Workplace, steps: list[tuple[str, str]], models: Path) -> None:
    """Run the commands, add the code to the models or the newest migration, make changes."""
    for kind, block in steps:
        if kind == "sh":
            workplace.run(block)
        elif "def upgrade" in block:
            newest = max((models.parent / "migrations/versions").glob("*.py"), key=modified)
            newest.write_text(newest.read_text().partition("def upgrade")[0] + block)
        elif kind == "python":
            models.write_text(f"{models.read_text()}\n{block}")
        else:
            models.write_text(changed(models.read_text(), block))


def blocks(page: Path) -> list[tuple[str, str]]:
    """Return the blocks of a page, each with its language."""
    text = page.read_text(encoding="utf-8")
    return re.findall(r"^```(\w+)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def modified(file: Path) -> int:
    return file.stat().st_mtime_ns


def changed(text: str, diff: str) -> str:
    lines = diff.splitlines(keepends=True)
    before = "\n" + "".join(line[1:] for line in lines if line[0] != "+")
    after = "\n" + "".join(line[1:] for line in lines if line[0] != "-")
    assert text.count(before) == 1
    return text.replace(before, after)


def example_in(module: Path) -> str:
    """Return the code that the docstring of a module shows."""
    docstring = ast.get_docstring(ast.parse(module.read_text())) or ""
    return dedent(re.findall(r"::\n\n(.*?)\n\n(?=\S)", docstring, re.DOTALL)[0]) + "\n"


def notes_in(folder: Path) -> list[tuple[str, int]]:
    with closing(sqlite3.connect(folder / "deployment_dir/quetz.sqlite")) as connection:
        return connection.execute("SELECT body, stars FROM quetz_notes").fetchall()


def revisions_in(wheel: Path) -> list[str]:
    names = zipfile.ZipFile(wheel).namelist()
    return [name for name in names if re.search(r"/migrations/versions/\w+\.py$", name)]


def test_the_tests_of_a_new_plugin_pass_at_once(tmp_path):
    workplace = Workplace.make(tmp_path).apart()
    workplace.run("quetz plugin new foo 2> steps && grep '^  ' steps | sh -eu")  # as printed

    output = workplace.run("pytest quetz-foo")

    assert "quetz-foo/tests/test_api.py ...." in output  # each on both databases
    assert "quetz.testing.migrations ." in output


def test_the_readme_of_a_new_plugin_leads_to_two_migrations(workplace):
    workplace.run("quetz plugin new foo")
    plugin = workplace.folder / "quetz-foo"
    models = plugin / "quetz_foo/db_models.py"
    install, first, second, test = blocks(plugin / "README.md")

    follow(workplace, [install, ("python", example_in(models)), first], models)
    change = '     text: Mapped[str]\n+    stars: Mapped[int] = mapped_column(server_default="0")\n'
    follow(workplace, [("diff", change), second], models)

    assert test == ("sh", "pytest quetz-foo\n")  # as the guide does, below
    versions = plugin / "quetz_foo/migrations/versions"
    assert len(list(versions.glob("*_initial_revision.py"))) == 1
    assert len(list(versions.glob("*_second_revision.py"))) == 1


def test_the_guide_leads_to_a_plugin_that_comes_and_goes_without_a_lost_row(workplace):
    steps = blocks(ROOT / "docs/plugins.md")
    change = [kind for kind, _ in steps].index("diff")
    models = workplace.folder / "quetz-notes/quetz_notes/db_models.py"

    follow(workplace, steps[:change], models)
    workplace.run(f"python -c {shlex.quote(ADD_A_NOTE)}")
    follow(workplace, steps[change:], models)

    assert notes_in(workplace.folder) == [("keep me", 0)]
    [wheel] = (workplace.folder / "dist").iterdir()
    assert len(revisions_in(wheel)) == 3
    workplace.run("python -m pip uninstall --yes quetz-notes && quetz init-db deployment_dir")
    assert notes_in(workplace.folder) == [("keep me", 0)]
    workplace.run(f"pip install dist/{wheel.name} && quetz init-db deployment_dir")
    assert notes_in(workplace.folder) == [("keep me", 0)]
