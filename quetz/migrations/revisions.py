"""The tree of revisions, of quetz and of its plugins, and how a database compares with it."""

from argparse import Namespace
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, NullPool, create_engine, inspect

from quetz.db.base import Base
from quetz.errors import SchemaBehind, SchemaUnknown
from quetz.plugins import Plugins


def make_config(plugins: Plugins) -> Config:
    """Configure Alembic without the database's URL: a configuration is shown in errors."""
    options = {
        "script_location": str(Path(__file__).parent),
        "path_separator": "newline",  # the one character that folders have not in their names
        "version_locations": "\n".join(str(folder) for folder in plugins.migrations.values()),
    }
    config = Config(cmd_opts=Namespace(quiet=True))
    for name, value in options.items():
        config.set_main_option(name, value.replace("%", "%%"))
    return config


def load_tree(plugins: Plugins) -> ScriptDirectory:
    return ScriptDirectory.from_config(make_config(plugins))


def check_schema(engine: Engine, plugins: Plugins, path: object) -> None:
    """Return if all migrations are applied to the database of the deployment ``path``.

    Raises:
        SchemaBehind: some are not.
        SchemaUnknown: the database is not one of this version.
    """
    tree = load_tree(plugins)
    with looking(engine) as connection:
        heads = known_heads(connection, tree)
    # A revision that another one depends on has no row of its own.
    if heads != set(tree.get_heads(consider_depends_on=True)):
        raise SchemaBehind(path)


@contextmanager
def looking(engine: Engine) -> Iterator[Connection]:
    """Connect without a trace: the engine itself puts a SQLite file into WAL mode."""
    if engine.dialect.name == "sqlite" and engine.url.database not in {None, "", ":memory:"}:
        engine = create_engine(engine.url, poolclass=NullPool, hide_parameters=True)
    with engine.connect() as connection:
        yield connection


def known_heads(connection: Connection, tree: ScriptDirectory) -> set[str]:
    """Return the revisions that the database records.

    Raises:
        SchemaUnknown: one is not in the tree, or there is none but tables with names of ours.
    """
    heads = _recorded(connection)
    if not heads and (tables := _tables_of_our_names(connection)):
        heads = _recorded(connection)  # again: another process may have made them meanwhile
        if not heads:
            raise SchemaUnknown(f"{_named('table', tables)} without a record of migrations")
    if unknown := heads - {script.revision for script in tree.walk_revisions()}:
        raise SchemaUnknown(_named("revision", unknown))
    return heads


def _recorded(connection: Connection) -> set[str]:
    return set(MigrationContext.configure(connection).get_current_heads())


def _tables_of_our_names(connection: Connection) -> set[str]:
    return Base.metadata.tables.keys() & set(inspect(connection).get_table_names())


def _named(noun: str, names: Collection[str]) -> str:
    """Return ``the revisions 'a', 'b'``."""
    listed = ", ".join(f"'{name}'" for name in sorted(names))
    return f"the {noun}{'s' if len(names) > 1 else ''} {listed}"
