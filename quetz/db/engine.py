"""Engines with the settings that durability and locking rest on."""

import sqlite3
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
    url: URL, *, echo: bool = False, pool_size: int = POOL_SIZE, max_overflow: int = MAX_OVERFLOW
) -> Engine:
    """Open an engine on SQLite or PostgreSQL.

    A connection with the execution option ``write=True`` takes SQLite's write lock when it
    begins: a read transaction that starts to write later fails at once, without waiting.
    """
    options: dict[str, Any] = {"echo": echo, "hide_parameters": True}
    if url.get_backend_name() == "sqlite":
        options["connect_args"] = {"isolation_level": None, "timeout": BUSY_SECONDS}
    if url.database not in (None, "", ":memory:"):
        options |= {"pool_size": pool_size, "max_overflow": max_overflow, "pool_pre_ping": True}
    engine = create_engine(url, **options)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _set_pragmas)
        event.listen(engine, "begin", _begin)
        event.listen(engine, "reset", _roll_back)
    return engine


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
