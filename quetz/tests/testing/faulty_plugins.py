"""A plugin with two revisions, whole or with a fault, and runs of its tests."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent, indent

from quetz.migrations.trees import load_tree
from quetz.plugins import CORE, find_plugins
from quetz.tests.forks import run_in_fork

PYTEST = ["-m", "pytest", "-rA", "-p", "no:cacheprovider"]

MODELS = """\
from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from quetz.plugin_api import Base, RowId


class Note(Base):
    __tablename__ = "quetz_notes"

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    channel_id: Mapped[int] = mapped_column(ForeignKey("channels.id", ondelete="CASCADE"))
    text: Mapped[str]
    stars: Mapped[int] = mapped_column(server_default="0")
"""

REVISION = '''\
"""{revision} revision"""

import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = {parent!r}
branch_labels = {labels!r}
depends_on = {needed!r}
loses = {loses!r}
transactional = {transactional}


def upgrade():
{upgrade}


def downgrade():
{downgrade}
'''

CREATE = """\
op.create_table(
    "quetz_notes",
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
    sa.Column("channel_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
    sa.Column("text", sa.String(), nullable=False),
    sa.ForeignKeyConstraint(
        ["channel_id"],
        ["channels.id"],
        name="fk_quetz_notes_channel_id_channels",
        ondelete="CASCADE",
    ),
    sa.PrimaryKeyConstraint("id", name="pk_quetz_notes"),
)"""
DROP = 'op.drop_table("quetz_notes")'
ADD_STARS = """\
op.add_column(
    "quetz_notes", sa.Column("stars", sa.Integer(), server_default="0", nullable=False)
)"""
DROP_STARS = 'op.drop_column("quetz_notes", "stars")'


@dataclass(frozen=True)
class Plugin:
    """The plugin ``quetz-notes`` in a folder, installed in development mode."""

    folder: Path

    @classmethod
    def make(cls, folder: Path) -> "Plugin":
        plugin = cls(folder)
        plugin.write("pyproject.toml", '[tool.pytest.ini_options]\nquetz_plugin = "quetz-notes"\n')
        plugin.write("tests/conftest.py", 'pytest_plugins = ["quetz.testing.migrations"]\n')
        plugin.write("tests/test_own.py", "def test_of_the_plugin_itself():\n    assert True\n")
        plugin.install("quetz-notes")
        plugin.write("quetz_notes/db_models.py", MODELS)
        plugin.revise("first", upgrade=CREATE, downgrade=DROP)
        plugin.revise("second", upgrade=ADD_STARS, downgrade=DROP_STARS)
        return plugin

    def install(self, name: str) -> None:
        package = name.replace("-", "_")
        self.write(f"{package}/__init__.py", "")
        self.write(f"{package}/hooks.py", "")
        record = f"{package}-1.0.dist-info"
        self.write(f"{record}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        self.write(f"{record}/entry_points.txt", f"[quetz]\n{name} = {package}.hooks\n")

    def write(self, name: str, content: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)

    def revise(
        self,
        revision: str,
        *,
        upgrade: str,
        downgrade: str = "pass",
        parent: str | tuple[str, str] = "first",
        transactional: bool = True,
        loses: str | tuple[str, ...] = (),
    ) -> None:
        """Write a revision, or another in its place."""
        is_root = revision == "first"
        content = REVISION.format(
            revision=revision,
            parent=None if is_root else parent,
            labels=("quetz-notes",) if is_root else None,
            needed=load_tree(find_plugins([])).heads_of(CORE)[0] if is_root else None,
            transactional=transactional,
            loses=loses,
            upgrade=indent(dedent(upgrade), "    "),
            downgrade=indent(dedent(downgrade), "    "),
        )
        self.write(f"quetz_notes/migrations/versions/{revision}.py", content)

    def run_tests(self, *options: str, **variables: str) -> "Result":
        """Run pytest in the plugin's folder."""
        arguments = [*PYTEST, *options]
        environment = self._environment(variables)
        return Result.of(run_in_fork(arguments, self.folder, environment, self.folder))

    def run_tests_apart(self, *options: str, **variables: str) -> "Result":
        """Run them in an interpreter of its own, as a user would."""
        done = subprocess.run(
            [sys.executable, *PYTEST, *options],
            cwd=self.folder,
            env=self._environment(variables),
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        return Result.of(done)

    def _environment(self, variables: Mapping[str, str]) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if "PYTEST" not in name}
        # No other plugins of pytest: they take longer to load than the tests to run.
        own = {"PYTHONPATH": str(self.folder), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        return {**kept, **own, **variables}


@dataclass(frozen=True)
class Result:
    """How a run of pytest ended."""

    code: int
    output: str

    @classmethod
    def of(cls, done: "subprocess.CompletedProcess[str]") -> "Result":
        return cls(done.returncode, done.stdout + done.stderr)

    def tests(self, outcome: str) -> set[str]:
        """Return the names of the tests with an outcome, as ``PASSED``."""
        return set(re.findall(rf"^{outcome} \S+?::(\w+)", self.output, re.MULTILINE))
