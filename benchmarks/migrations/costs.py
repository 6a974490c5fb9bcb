"""MIG-11: what the engine costs over bare Alembic, and how soon the state is known."""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine
from sqlalchemy.engine import URL

from benchmarks.figures import Figure
from quetz.db.engine import open_engine
from quetz.migrations import upgrade
from quetz.plugins import load_plugins

PLUGINS = 10
REVISIONS = 50
ENV = """\
from alembic import context

context.configure(connection=context.config.attributes["connection"])
with context.begin_transaction():
    context.run_migrations()
"""
REVISION = '''\
"""step {number}"""

import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = {parent!r}
branch_labels = {label!r}
depends_on = None


def upgrade():
    op.create_table("{table}", sa.Column("id", sa.Integer, primary_key=True))


def downgrade():
    op.drop_table("{table}")
'''

# A process of its own, as a start of the server is.
STATUS = """
import time
from pathlib import Path
from quetz.db.engine import open_engine
from quetz.migrations.status import read_status
from quetz.plugins import find_plugins
from sqlalchemy.engine import URL
import sys
engine = open_engine(URL.create("sqlite", database=sys.argv[1]))
started = time.perf_counter()
status = read_status(engine, find_plugins([]))
print(time.perf_counter() - started)
assert status.state == "current", status
assert len(status.owners) == 11, status
"""


def measure(folder: Path, rounds: int) -> list[Figure]:
    return [_over_alembic(folder, rounds), _status(folder, rounds)]


def _over_alembic(folder: Path, rounds: int) -> Figure:
    """Apply the core's revisions to an empty database, by the engine and by Alembic alone."""
    plugins = load_plugins([])
    scripts = folder / "alembic"
    scripts.mkdir()
    (scripts / "env.py").write_text(ENV)
    shutil.copytree(plugins.migrations["quetz"], scripts / "versions")

    def bare(engine: Engine) -> None:
        config = Config()
        config.set_main_option("script_location", str(scripts).replace("%", "%%"))
        config.set_main_option("path_separator", "newline")
        with engine.execution_options(write=True).connect() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "heads")
            connection.commit()

    values = []
    ours, theirs = [], []
    for number in range(rounds + 1):
        theirs.append(_timed(folder / f"bare-{number}.sqlite", bare))
        ours.append(
            _timed(folder / f"ours-{number}.sqlite", lambda engine: upgrade(engine, plugins))
        )
        values.append(ours[-1] - 1.05 * theirs[-1])
    basis = f"{min(ours[1:]):.3f} s at best against {min(theirs[1:]):.3f} s by Alembic alone"
    return Figure("MIG-11 the engine beyond 1.05 x bare Alembic", values[1:], "s", 0.2, basis)


def _timed(file: Path, work: Callable[[Engine], object]) -> float:
    engine = open_engine(URL.create("sqlite", database=str(file)))
    started = time.perf_counter()
    work(engine)
    seconds = time.perf_counter() - started
    engine.dispose()
    return seconds


def _status(folder: Path, rounds: int) -> Figure:
    site = folder / "site"
    for number in range(PLUGINS):
        _install(site, f"quetz-many{number}")
    file = folder / "many.sqlite"
    environment = {"PYTHONPATH": str(site)}
    program = (
        "import sys, quetz.cli; sys.argv = ['quetz', 'init-db', sys.argv[1]]; quetz.cli.main()"
    )
    deployment = folder / "many"
    deployment.mkdir()
    (deployment / "config.toml").write_text(f'[sqlalchemy]\ndatabase_url = "sqlite:///{file}"\n')
    _python(environment, program, deployment)
    values = [float(_python(environment, STATUS, file)) for _ in range(rounds + 1)]
    name = f"MIG-11 the state with {PLUGINS} plugins of {REVISIONS} revisions"
    return Figure(name, values[1:], "s", 0.15, "modules imported, nothing else in memory")


def _install(site: Path, name: str) -> None:
    package = name.replace("-", "_")
    versions = site / package / "migrations" / "versions"
    versions.mkdir(parents=True)
    for file in ("__init__.py", "hooks.py"):
        (site / package / file).touch()
    tables = ["from quetz.plugin_api import Base\nimport sqlalchemy as sa\n"]
    for number in range(REVISIONS):
        table = f"{package}_{number}"
        column = 'sa.Column("id", sa.Integer, primary_key=True)'
        tables.append(f'sa.Table("{table}", Base.metadata, {column})\n')
        source = REVISION.format(
            number=number,
            revision=_revision(package, number),
            parent=_revision(package, number - 1) if number else None,
            label=None if number else (name,),
            table=table,
        )
        (versions / f"{_revision(package, number)}_step.py").write_text(source)
    (site / package / "db_models.py").write_text("".join(tables))
    record = site / f"{package}-1.0.dist-info"
    record.mkdir()
    (record / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (record / "entry_points.txt").write_text(f"[quetz]\n{name} = {package}.hooks\n")


def _revision(package: str, number: int) -> str:
    return f"{package[-1]}{number:011x}"


def _python(environment: dict[str, str], program: str, argument: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program, str(argument)],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout
