"""Databases of the migrations' own making, to compare models with and to try a revision out on.

Neither the state of a deployment nor its kind of database gets into a comparison.
"""

import secrets
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from alembic.operations.ops import UpgradeOps
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from quetz.db.engine import open_engine
from quetz.errors.migrations import MigrationFailed, MigrationUnfit
from quetz.migrations.authoring.portability import Change, Reflection
from quetz.migrations.authoring.rendering import Code, render
from quetz.migrations.authoring.seeds import clear, count_rows, seed
from quetz.migrations.ledger import owners_of_tables, read_entries
from quetz.migrations.runs import downgrade, upgrade
from quetz.migrations.schemas.comparisons import compare
from quetz.migrations.schemas.fingerprints import fingerprint
from quetz.plugins import Plugins

Warn = Callable[[str], None]

LOCK_SECONDS = 10
_PREFIX = "quetz_scratch_"
_SCHEMAS = text(
    "SELECT nspname FROM pg_namespace WHERE nspname ~ ('^' || :prefix || '[0-9a-f]{12}$')"
    " ORDER BY nspname"
)
# The first number tells these locks from others of quetz.
_KEY = "1903523187, hashtext(:name)"
_LOCK = text(f"SELECT pg_advisory_lock({_KEY})")
_TRY_LOCK = text(f"SELECT pg_try_advisory_lock({_KEY})")
_UNLOCK = text(f"SELECT pg_advisory_unlock({_KEY})")


class Scratch:
    """One database that nobody else uses."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    @property
    def is_sqlite(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    @property
    def place(self) -> str:
        return "SQLite" if self.is_sqlite else "PostgreSQL"

    def build(self, plugins: Plugins, revisions: Collection[str]) -> None:
        """Apply the revisions, with all that they need.

        Raises:
            MigrationUnfit: one cannot be applied.
        """
        try:
            for revision in sorted(revisions):
                upgrade(self.engine, plugins, to=revision, by_models=False)
        except MigrationFailed as error:
            raise MigrationUnfit(error.migration, error.reason, self.place) from error

    def changes(self, plugins: Plugins, owner: str) -> UpgradeOps:
        """Return what the owner's models have and the database has not, or the reverse."""
        with self.engine.connect() as connection:
            return compare(connection, plugins, owner)

    def reflection(self) -> Reflection:
        with self.engine.connect() as connection:
            return Reflection.of(connection)

    def render(self, change: Change) -> Code:
        with self.engine.connect() as connection:
            return render(change, connection)

    def makers(self) -> dict[str, str]:
        """Return the revision that made each table."""
        with self.engine.connect() as connection:
            makers = owners_of_tables(read_entries(connection))
        return {table: revision for table, (_owner, revision) in makers.items()}

    def fingerprint(self) -> set[str]:
        with self.engine.connect() as connection:
            return fingerprint(connection)

    def seed(self, *, without: Collection[str] = ()) -> dict[str, int]:
        """Put rows into empty tables, and return how many each table has.

        None stay in those ``without``, nor in what refers to them.
        """
        with self.engine.execution_options(write=True).begin() as connection:
            seed(connection)
            if without:
                clear(connection, without)
            return count_rows(connection)

    def rows(self) -> dict[str, int]:
        with self.engine.connect() as connection:
            return count_rows(connection)

    def downgrade(self, plugins: Plugins, target: str) -> None:
        downgrade(self.engine, plugins, target)


@contextmanager
def scratch_databases(like: Engine | None, warn: Warn) -> Iterator[list[Scratch]]:
    """Open SQLite in memory and, if ``like`` is a PostgreSQL database, a schema of its own there.

    Both are gone afterwards. ``warn`` is told why there is no schema.
    """
    with ExitStack() as stack:
        databases = [stack.enter_context(_in_memory())]
        if like is not None and like.dialect.name == "postgresql":
            beside = stack.enter_context(scratch_like(like, warn))
            databases += [beside] if beside else []
        yield databases


@contextmanager
def scratch_like(engine: Engine, warn: Warn) -> Iterator[Scratch | None]:
    """Open a database of the same kind; None, with a warning, if PostgreSQL allows no schema."""
    with ExitStack() as stack:
        if engine.dialect.name == "sqlite":
            yield stack.enter_context(_in_memory())
            return
        try:
            scratch = Scratch(stack.enter_context(_schema(engine)))
        except DBAPIError as error:
            reason = " ".join(str(error.orig).split())
            warn(f"nothing was tried on PostgreSQL, since no schema could be made there: {reason}")
            yield None
            return
        yield scratch


@contextmanager
def _in_memory() -> Iterator[Scratch]:
    engine = open_engine(URL.create("sqlite"))
    try:
        yield Scratch(engine)
    finally:
        engine.dispose()


@contextmanager
def _schema(like: Engine) -> Iterator[Engine]:
    """Make a schema, which is locked for as long as this process lives and uses it."""
    with _autocommit(like) as connection:
        _drop_dead(connection)
        name = f"{_PREFIX}{secrets.token_hex(6)}"
        connection.execute(_LOCK, {"name": name})
        connection.exec_driver_sql(f"CREATE SCHEMA {name}")
        try:
            engine = open_engine(like.url)

            def see_nothing_else(connection: Any, _record: object) -> None:
                connection.autocommit = True  # or a rollback would take it back
                connection.execute(f"SET search_path TO {name}")
                connection.autocommit = False

            # First of all, since SQLAlchemy then asks for the name of the schema.
            event.listen(engine, "connect", see_nothing_else, insert=True)
            try:
                yield engine
            finally:
                engine.dispose()
        finally:
            _drop(connection, name)


@contextmanager
def _autocommit(engine: Engine) -> Iterator[Connection]:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.detach()  # its settings and its locks end with it
        yield connection


def _drop_dead(connection: Connection) -> None:
    """Drop the schemas of processes that were killed: nobody holds their locks."""
    for name in connection.execute(_SCHEMAS, {"prefix": _PREFIX}).scalars().all():
        if connection.execute(_TRY_LOCK, {"name": name}).scalar_one():
            # Another user's, or one that another process drops just now, is none of ours.
            with suppress(DBAPIError):
                _drop(connection, name)
            connection.execute(_UNLOCK, {"name": name})


def _drop(connection: Connection, name: str) -> None:
    connection.exec_driver_sql(f"SET lock_timeout = '{LOCK_SECONDS}s'")
    connection.exec_driver_sql(f"DROP SCHEMA {name} CASCADE")
