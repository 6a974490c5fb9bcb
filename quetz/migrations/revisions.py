"""The tree of revisions, of quetz and of its plugins, and how a database compares with it."""

from argparse import Namespace
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from traceback import extract_tb

from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, NullPool, create_engine, inspect
from sqlalchemy.exc import DBAPIError

from quetz.db.base import Base
from quetz.errors import (
    DatabaseMissing,
    DatabaseUnreadable,
    PluginError,
)
from quetz.errors.migrations import (
    SchemaBehind,
    SchemaUnknown,
)
from quetz.plugins import CORE, Plugins


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
    """Read all revisions.

    Raises:
        PluginError: one of a plugin cannot be read.
    """
    tree = ScriptDirectory.from_config(make_config(plugins))
    try:
        tree.get_heads()  # Alembic reads the files when it is asked first
    except (Exception, SystemExit) as error:  # a plugin may raise anything
        owner, file = _at_fault(error, plugins)
        if owner == CORE:
            raise
        reason = f"cannot read the migration '{file}': {type(error).__name__}: {error}"
        raise PluginError(owner, reason) from error
    return tree


def _at_fault(error: BaseException, plugins: Plugins) -> tuple[str, str]:
    """Return the owner and the path of the revision that raised; the core's if it was none."""
    files = [frame.filename for frame in extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError):
        files.append(error.filename or "")
    owners = {folder: owner for owner, folder in plugins.migrations.items()}
    found = [(owners[Path(file).parent], file) for file in files if Path(file).parent in owners]
    return found[-1] if found else (CORE, "")


def check_schema(engine: Engine, plugins: Plugins, path: object) -> None:
    """Return if all migrations are applied to the database of the deployment ``path``.

    Raises:
        DatabaseMissing, DatabaseUnreadable: there is none, in its SQLite file.
        SchemaBehind: some are not.
        SchemaUnknown: the database is not one of this version.
    """
    tree = load_tree(plugins)
    file = _file_of(engine)
    if file is not None and not file.exists():  # to connect would make it
        raise DatabaseMissing(path, file)
    with looking(engine) as connection:
        heads = known_heads(connection, tree)
    # A revision that another one depends on has no row of its own.
    if heads != set(tree.get_heads(consider_depends_on=True)):
        raise SchemaBehind(path)


def is_in_use(engine: Engine) -> bool:
    """Tell whether there are users, channels or objects, at whatever revision the tables are."""
    with looking(engine) as connection:
        present = set(inspect(connection).get_table_names())
        return any(
            connection.exec_driver_sql(f"SELECT 1 FROM {table} LIMIT 1").first()  # noqa: S608 (our names)
            for table in ("users", "channels", "objects")
            if table in present
        )


@contextmanager
def looking(engine: Engine) -> Iterator[Connection]:
    """Connect without a trace: the engine itself puts a SQLite file into WAL mode.

    Raises:
        DatabaseUnreadable: the SQLite file cannot be opened, or is none.
    """
    file = _file_of(engine)
    if file is not None:
        engine = create_engine(engine.url, poolclass=NullPool, hide_parameters=True)
    try:
        with engine.connect() as connection:
            yield connection
    except DBAPIError as error:
        if file is None:
            raise
        raise DatabaseUnreadable(file, error.orig) from error


def _file_of(engine: Engine) -> Path | None:
    if engine.dialect.name != "sqlite" or engine.url.database in {None, "", ":memory:"}:
        return None
    return Path(str(engine.url.database))


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
