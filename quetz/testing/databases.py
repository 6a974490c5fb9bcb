"""Real databases for tests: SQLite files, and databases on a PostgreSQL server."""

import os
import shutil
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, NullPool, create_engine, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ProgrammingError

from quetz.db.base import Base
from quetz.db.engine import open_engine
from quetz.migrations import upgrade
from quetz.migrations.trees import load_tree
from quetz.plugins import load_plugins


class DbInit(StrEnum):
    """How the schema of the test databases is made."""

    CREATE_TABLES = "create-tables"
    USE_MIGRATIONS = "use-migrations"


def chosen_dbinit(environment: Mapping[str, str] = os.environ) -> DbInit:
    """Read QUETZ_TEST_DBINIT, in any case; without it the tables are created.

    Raises:
        ValueError: it has another value.
    """
    value = environment.get("QUETZ_TEST_DBINIT", DbInit.CREATE_TABLES)
    try:
        return DbInit(value.lower())
    except ValueError:
        values = " or ".join(DbInit)
        raise ValueError(f"QUETZ_TEST_DBINIT must be {values}, not {value!r}") from None


def given_url(environment: Mapping[str, str] = os.environ) -> URL | None:
    """Read QUETZ_TEST_DATABASE: the one database to test on, or None.

    Raises:
        ValueError: it names neither a SQLite file nor a PostgreSQL database.
    """
    value = environment.get("QUETZ_TEST_DATABASE")
    if not value:
        return None
    url = make_url(value)
    if url.get_backend_name() == "postgresql" and url.database:
        return url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:"):
        return url.set(drivername="sqlite")
    raise ValueError("QUETZ_TEST_DATABASE must be sqlite:///<file> or postgresql://.../<database>")


def build_schema(url: URL, dbinit: DbInit) -> None:
    """Make all tables in an empty database."""
    engine = open_engine(url)
    plugins = load_plugins([])
    try:
        if dbinit is DbInit.USE_MIGRATIONS:
            upgrade(engine, plugins)
            return
        with engine.execution_options(write=True).begin() as connection:
            Base.metadata.create_all(connection)
            # A deployment opens only if all revisions are recorded.
            MigrationContext.configure(connection).stamp(load_tree(plugins), "heads")
    finally:
        engine.dispose()


class Databases(Protocol):
    """Makes the databases of tests, one after another."""

    def ready(self) -> URL:
        """Return a database with all tables, without a row."""

    def empty(self) -> URL:
        """Return a database without a table."""


class SqliteDatabases:
    """Each test's database is a copy of one template file."""

    def __init__(self, folder: Path, dbinit: DbInit, file: Path | None = None) -> None:
        self._template = folder / "template.sqlite"
        self._file = file or folder / "quetz.sqlite"
        self._dbinit = dbinit

    def ready(self) -> URL:
        if not self._template.exists():
            build_schema(_sqlite_url(self._template), self._dbinit)
        self._remove()
        shutil.copyfile(self._template, self._file)
        return _sqlite_url(self._file)

    def empty(self) -> URL:
        self._remove()
        return _sqlite_url(self._file)

    def holds_tables(self) -> bool:
        return self._file.exists() and self._file.stat().st_size > 0

    def _remove(self) -> None:
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self._file}{suffix}").unlink(missing_ok=True)


def _sqlite_url(path: Path) -> URL:
    return URL.create("sqlite", database=str(path))


class PostgresqlDatabase:
    """One database of a server: its tables are made once, its rows deleted for each test."""

    def __init__(self, url: URL, dbinit: DbInit) -> None:
        self._url = url
        self._dbinit = dbinit
        self._engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        self._tables: str | None = None

    def ready(self) -> URL:
        with self._engine.connect() as connection:
            connection.execute(text(END_OTHERS))
            tables = connection.scalar(text(TABLES))
            if tables and tables == self._tables and _delete_rows(connection):
                return self._url
        self.empty()
        build_schema(self._url, self._dbinit)
        with self._engine.connect() as connection:
            self._tables = connection.scalar(text(TABLES))
        return self._url

    def empty(self) -> URL:
        """Drop whatever was made in the database, with its schemas."""
        with self._engine.connect() as connection:
            connection.execute(text(END_OTHERS))
            connection.execute(text(DROP_ALL))
        return self._url

    def holds_tables(self) -> bool:
        with self._engine.connect() as connection:
            return connection.scalar(text(TABLES)) is not None


def _delete_rows(connection: Connection) -> bool:
    """Return False if a model was imported after the tables were made."""
    names = [table.name for table in reversed(Base.metadata.sorted_tables)]
    try:
        connection.execute(text("; ".join(f'DELETE FROM "{name}"' for name in names)))
    except ProgrammingError:
        return False
    return True


# Connections that a test left open would hold their locks for ever.
END_OTHERS = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""

TABLES = """
SELECT string_agg(oid || ':' || relnatts, ',' ORDER BY oid) FROM pg_class
WHERE relkind = 'r' AND oid >= 16384
"""

DROP_ALL = """
DO $$
DECLARE
    name text;
BEGIN
    FOR name IN SELECT nspname FROM pg_namespace
        WHERE nspname <> 'information_schema' AND nspname NOT LIKE 'pg\\_%'
    LOOP
        EXECUTE format('DROP SCHEMA %I CASCADE', name);
    END LOOP;
    CREATE SCHEMA public;
END $$
"""


# Like most databases in use, and unlike the server's default, these do not collate by "C".
COLLATED = "TEMPLATE template0 LOCALE_PROVIDER builtin BUILTIN_LOCALE 'PG_UNICODE_FAST'"


class PostgresqlDatabases:
    """Two databases on the tests' own server: one with the tables, another without them."""

    def __init__(self, server: URL, name: str, dbinit: DbInit) -> None:
        self._ready = PostgresqlDatabase(create_database(server, name), dbinit)
        self._empty = PostgresqlDatabase(create_database(server, f"{name}_empty"), dbinit)

    def ready(self) -> URL:
        return self._ready.ready()

    def empty(self) -> URL:
        return self._empty.empty()


def create_database(server: URL, name: str, options: str = COLLATED) -> URL:
    """Make a database beside the one that ``server`` names."""
    engine = create_engine(server, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f'CREATE DATABASE "{name}" {options}'))
    return server.set(database=name)


def database_at(
    url: URL, folder: Path, dbinit: DbInit = DbInit.CREATE_TABLES
) -> SqliteDatabases | PostgresqlDatabase:
    """Return the one database of a URL, as it is; ``folder`` is for a template of it."""
    if url.get_backend_name() == "sqlite":
        return SqliteDatabases(folder, dbinit, Path(str(url.database)).absolute())
    return PostgresqlDatabase(url, dbinit)


def given_databases(url: URL, folder: Path, dbinit: DbInit) -> Databases:
    """Test on a database of the user's; whatever it holds is dropped.

    Raises:
        ValueError: it holds tables, and its name does not say that it is for tests.
    """
    database = database_at(url, folder, dbinit)
    name = Path(str(url.database)).name
    if database.holds_tables() and "test" not in name:
        raise ValueError(
            f"QUETZ_TEST_DATABASE: '{name}' holds tables, which the tests would drop; "
            "use an empty database, or one with 'test' in its name"
        )
    return database
