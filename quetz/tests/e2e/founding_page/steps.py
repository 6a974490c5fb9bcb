"""The commands of the founding page, and what they are run on."""

import ast
import re
from pathlib import Path

from sqlalchemy import Engine

from quetz.migrations.authoring.seeds import seed
from quetz.testing.migrations.snapshots import Snapshot
from quetz.tests.architecture.sources import PACKAGE
from quetz.tests.e2e.workplaces import Ended, Workplace

PLUGINS = PACKAGE / "tests" / "plugins"

INIT_DB = "quetz init-db deployment_dir"
MAKE = 'quetz make-migrations deployment_dir --message "my revision message"'
INITIALIZE = (
    'quetz make-migrations deployment_dir --message "initial revision" --initialize '
    "--plugin quetz-plugin_name"
)
SECOND = (
    'quetz make-migrations deployment_dir --message "second revision"  --plugin quetz-plugin_name'
)

MODELS = """\
from sqlalchemy.orm import Mapped, mapped_column

from quetz.db_models import Base


class Thing(Base):
    __tablename__ = "quetz_plugin_name_things"

    id: Mapped[int] = mapped_column(primary_key=True)
"""
COLUMN = '    note: Mapped[str] = mapped_column(server_default="")\n'
PYPROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "quetz-plugin_name"
version = "1.0"

[project.entry-points.quetz]
"quetz-plugin_name" = "quetz_plugin_name.hooks"
"""


def with_deployment(place: Workplace, settings: str = "") -> Workplace:
    folder = place.folder / "deployment_dir"
    folder.mkdir(exist_ok=True)
    (folder / "config.toml").write_text(settings)
    return place


def on_database(place: Workplace, engine: Engine) -> Workplace:
    url = engine.url.render_as_string(hide_password=False)
    return with_deployment(place, f"[sqlalchemy]\ndatabase_url = '{url}'\n")


def add_plugin(place: Workplace, models: str = MODELS, *, install: str | None = None) -> Path:
    """Write the plugin ``quetz-plugin_name``, install it, and return the folder of its package.

    Without a command to install it with, it is left as ``pip install -e`` leaves it.
    """
    package = place.folder / "plugin/quetz_plugin_name"
    package.mkdir(parents=True)
    (package.parent / "pyproject.toml").write_text(PYPROJECT)
    (package / "__init__.py").touch()
    (package / "hooks.py").touch()
    (package / "db_models.py").write_text(models)
    if install:
        place.run(f"{install} ./plugin")
    else:
        place.install_editable(package.parent, "quetz-plugin_name", "quetz_plugin_name.hooks")
    return package


def add_column(models: Path, line: str = COLUMN) -> None:
    models.write_text(models.read_text() + line)


def change_core(checkout: Workplace, column: str = "motto") -> None:
    """Give the model of channels one more column."""
    models = checkout.folder / "quetz/db/models/channels.py"
    before, table, after = models.read_text().partition('    __tablename__ = "channels"\n')
    assert table
    models.write_text(f"{before}{table}    {column}: Mapped[str | None]\n{after}")


def written(ended_or_out: str) -> Path:
    """Return the file that make-migrations printed."""
    [line] = ended_or_out.splitlines()
    return Path(line)


def names_in(revision: Path) -> dict[str, object]:
    """Return the values that a revision gives its names: ``{"down_revision": None, ...}``."""
    return {
        node.target.id: ast.literal_eval(node.value)
        for node in ast.parse(revision.read_text()).body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value
    }


def body_of(revision: Path) -> str:
    """Return the code of ``upgrade``."""
    return revision.read_text().partition("def upgrade")[2].partition("def downgrade")[0]


def fill(engine: Engine) -> Snapshot:
    with engine.execution_options(write=True).begin() as connection:
        seed(connection)
    return look(engine)


def look(engine: Engine) -> Snapshot:
    with engine.connect() as connection:
        return Snapshot.of(connection)


def assert_refused(ended: Ended, code: int, sentence: str) -> None:
    assert ended.code == code, ended
    assert ended.sentence.startswith("quetz: "), ended
    assert re.search(sentence, ended.sentence), ended
