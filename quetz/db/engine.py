"""Engines with the settings that durability and locking rest on."""

import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, Dialect
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry

# Web workers run sync code in up to 40 threads; a smaller pool makes them time out.
POOL_SIZE = 10
MAX_OVERFLOW = 50
BUSY_SECONDS = 30

UNICODE_LOWER = "quetz_lower"
"""A function of our SQLite connections. ``lower`` itself stays: indexes may be made with it."""


def open_engine(
    url: URL, *, echo: bool = False, pool_size: int = POOL_SIZE, max_overflow: int = MAX_OVERFLOW
) -> Engine:
    """Open an engine on SQLite or PostgreSQL.

    A connection with the execution option ``write=True`` takes SQLite's write lock when it
    begins: a read transaction that starts to write later fails at once, without waiting.

    Only the first connection makes a SQLite file that is not there.
    """
    options: dict[str, Any] = {"echo": echo, "hide_parameters": True}
    if url.get_backend_name() == "sqlite":
        options["connect_args"] = {"isolation_level": None, "timeout": BUSY_SECONDS}
    if url.database not in (None, "", ":memory:"):
        options |= {"pool_size": pool_size, "max_overflow": max_overflow, "pool_pre_ping": True}
    engine = create_engine(url, **options)
    if engine.dialect.name == "sqlite":
        if options.get("pool_pre_ping"):
            _SqliteFile(str(url.database)).watch(engine)
        event.listen(engine, "connect", _set_pragmas)
        event.listen(engine, "begin", _begin)
        event.listen(engine, "reset", _roll_back)
    else:
        event.listen(engine, "connect", _commit_durably)
    return engine


class _SqliteFile:
    """Ties the connections of an engine to the file that is at its path.

    A file that was removed lives on with its connections, and what they write is lost with them;
    a new connection would make another, empty one.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path).absolute()
        self._was_there = False

    def watch(self, engine: Engine) -> None:
        event.listen(engine, "do_connect", self._name)
        event.listen(engine, "connect", self._note)
        event.listen(engine, "checkout", self._check)

    def _name(
        self, _dialect: Dialect, _record: object, arguments: list[str], options: dict[str, Any]
    ) -> None:
        mode = "rw" if self._was_there else "rwc"
        arguments[0] = f"{self._path.as_uri()}?mode={mode}"
        options["uri"] = True

    def _note(self, _connection: object, record: ConnectionPoolEntry) -> None:
        record.info[_SqliteFile] = self._identity()
        self._was_there = True

    def _check(self, _connection: object, record: ConnectionPoolEntry, _proxy: object) -> None:
        if record.info[_SqliteFile] != self._identity():
            raise DisconnectionError  # the pool connects anew, and that says what is wrong

    def _identity(self) -> tuple[int, int] | None:
        with suppress(OSError):
            found = self._path.stat()
            return found.st_dev, found.st_ino
        return None


def _commit_durably(connection: Any, _record: object) -> None:
    """Let a commit be on disk before it is answered, where a server is set up otherwise."""
    name = "'synchronous_commit'"
    connection.execute(
        f"SELECT set_config({name}, 'on', false) WHERE current_setting({name}) = 'off'"
    )
    connection.commit()


def _set_pragmas(connection: sqlite3.Connection, _record: object) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")  # a commit is on disk before it is answered
    connection.execute("PRAGMA foreign_keys=ON")
    connection.create_function(UNICODE_LOWER, 1, str.lower, deterministic=True)


def _begin(connection: Connection) -> None:
    write = connection.get_execution_options().get("write")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _roll_back(connection: sqlite3.Connection, _record: object, _state: object) -> None:
    """End what a failed COMMIT left open: SQLAlchemy takes it for ended, SQLite may not."""
    if connection.in_transaction:
        connection.rollback()
