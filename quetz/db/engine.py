"""Engines with the settings that durability and locking rest on."""

import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL

# Web workers run sync code in up to 40 threads; a smaller pool makes them time out.
POOL_SIZE = 10
MAX_OVERFLOW = 50
BUSY_SECONDS = 30

UNICODE_LOWER = "quetz_lower"
"""A function of our SQLite connections. ``lower`` itself stays: indexes may be made with it."""


def open_engine(
    url: URL,
    *,
    echo: bool = False,
    pool_size: int = POOL_SIZE,
    max_overflow: int = MAX_OVERFLOW,
    makes_file: bool = True,
) -> Engine:
    """Open an engine on SQLite or PostgreSQL.

    A connection with the execution option ``write=True`` takes SQLite's write lock when it
    begins: a read transaction that starts to write later fails at once, without waiting.

    Only the first connection makes a SQLite file that is not there, and none without
    ``makes_file``. Once that file was removed or replaced, there are no connections any more.
    """
    options: dict[str, Any] = {"echo": echo, "hide_parameters": True}
    if url.get_backend_name() == "sqlite":
        options["connect_args"] = {"isolation_level": None, "timeout": BUSY_SECONDS}
    if url.database not in (None, "", ":memory:"):
        options |= {"pool_size": pool_size, "max_overflow": max_overflow, "pool_pre_ping": True}
    engine = create_engine(url, **options)
    if engine.dialect.name == "sqlite":
        if "pool_pre_ping" in options and "uri" not in url.query:
            _SqliteFile(str(url.database), makes=makes_file).watch(engine)
        event.listen(engine, "connect", _set_pragmas)
        event.listen(engine, "begin", _begin)
        event.listen(engine, "reset", _roll_back)
    return engine


class _SqliteFile:
    """Holds the connections of an engine to the file that it found at its path.

    A file that was removed lives on with its connections, and what they write is lost with them.
    A new connection would make another, empty one; and what was put in its place is torn by the
    log of the file before.
    """

    def __init__(self, path: str, *, makes: bool) -> None:
        self._path = Path(path).absolute()
        self._makes = makes
        self._found: tuple[int, int] | None = None

    def watch(self, engine: Engine) -> None:
        event.listen(engine, "do_connect", self._choose_mode)
        event.listen(engine, "connect", self._check)
        event.listen(engine, "checkout", self._check)
        event.listen(engine, "engine_disposed", self._forget)

    def _choose_mode(
        self, _dialect: object, _record: object, arguments: list[str], options: dict[str, Any]
    ) -> None:
        self._found = self._found or self._look()
        arguments[0] = sqlite_uri(self._path, "rwc" if self._makes and not self._found else "rw")
        options["uri"] = True

    def _check(self, *_event: object) -> None:
        found = self._look()
        self._found = self._found or found
        if found is None or found != self._found:
            raise sqlite3.OperationalError(f"'{self._path}' was removed or replaced")

    def _forget(self, _engine: Engine) -> None:
        """Take what is there next for the file: no connection to another one is left."""
        self._found = None

    def _look(self) -> tuple[int, int] | None:
        with suppress(OSError):
            found = self._path.stat()
            return found.st_dev, found.st_ino
        return None


def sqlite_uri(path: str | Path, mode: str) -> str:
    """Return how to open a file with ``sqlite3.connect(..., uri=True)``: ``rw`` makes none."""
    return f"{Path(path).absolute().as_uri()}?mode={mode}"


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
