"""A database that fails once, at a statement or a commit that a test names."""

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from enum import Enum, auto
from types import TracebackType
from typing import Any, Self

import psycopg
from sqlalchemy import Engine, event

from quetz.testing.faults.triggers import Trigger

COMMIT = "COMMIT"
TERMINATE_MS = 5_000


class DatabaseFault(Enum):
    """What goes wrong with one statement, or with a commit."""

    BEFORE = auto()
    """The connection is lost, or the disk has an error; nothing was done."""

    AFTER = auto()
    """It was done, or committed, and an error is all that the caller hears."""

    LOCKED = auto()
    """SQLite's file is locked for too long; PostgreSQL ends a deadlock."""

    FULL = auto()
    """There is no room on the disk."""

    TERMINATED = auto()
    """``pg_terminate_backend`` ends the connection before; PostgreSQL only."""


_SQLITE = {
    DatabaseFault.BEFORE: ("disk I/O error", sqlite3.SQLITE_IOERR),
    DatabaseFault.AFTER: ("disk I/O error", sqlite3.SQLITE_IOERR),
    DatabaseFault.LOCKED: ("database is locked", sqlite3.SQLITE_BUSY),
    DatabaseFault.FULL: ("database or disk is full", sqlite3.SQLITE_FULL),
}
# PostgreSQL itself raises these, so that the transaction is as aborted as by real ones.
_RAISE = "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{}', MESSAGE = '{}'; END $$"
_POSTGRESQL = {
    DatabaseFault.LOCKED: ("40P01", "deadlock detected"),
    DatabaseFault.FULL: ("53100", "could not extend file: No space left on device"),
}


def faults_on(engine: Engine) -> list[DatabaseFault]:
    """Return what may go wrong with a database of the engine's kind."""
    is_sqlite = engine.dialect.name == "sqlite"
    return [one for one in DatabaseFault if one in _SQLITE or not is_sqlite]


class FaultyDatabase:
    """While it is entered, counts the statements and commits of an engine, and lets one fail.

    What is raised is what the driver raises, below SQLAlchemy. Calls are named by their first word,
    such as ``INSERT`` or ``COMMIT``.
    """

    def __init__(self, engine: Engine) -> None:
        self.trigger: Trigger[DatabaseFault] = Trigger()
        self._engine = engine
        self._is_sqlite = engine.dialect.name == "sqlite"

    def fail(self, fault: DatabaseFault, *, at: int = 1, statement: str | None = None) -> None:
        """Let the call number ``at`` from now on fail, of any kind or of one, such as ``COMMIT``.

        Raises:
            ValueError: the fault cannot happen to this database.
        """
        if fault not in faults_on(self._engine):
            raise ValueError(f"{fault} does not happen to {self._engine.dialect.name}")
        self.trigger.arm(fault, at=at, name=statement)

    def __enter__(self) -> Self:
        dialect = self._engine.dialect
        event.listen(self._engine, "do_execute", self._execute)
        event.listen(self._engine, "do_executemany", self._execute_many)
        # The event "commit" comes before; here the effect itself has to be in our hands.
        commit = dialect.do_commit
        vars(dialect)["do_commit"] = lambda connection: self._commit(connection, commit)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        del vars(self._engine.dialect)["do_commit"]
        event.remove(self._engine, "do_execute", self._execute)
        event.remove(self._engine, "do_executemany", self._execute_many)

    def _execute(self, cursor: Any, statement: str, parameters: Any, _context: Any) -> bool:
        fault = self._count(statement)
        if fault is None:
            return False
        self._fail(fault, cursor.connection, lambda: cursor.execute(statement, parameters))
        return True

    def _execute_many(self, cursor: Any, statement: str, parameters: Any, _context: Any) -> bool:
        fault = self._count(statement)
        if fault is None:
            return False
        self._fail(fault, cursor.connection, lambda: cursor.executemany(statement, parameters))
        return True

    def _commit(self, proxied: Any, commit: Callable[[Any], None]) -> None:
        fault = self.trigger.count(COMMIT)
        if fault is None:
            commit(proxied)
        else:
            self._fail(fault, proxied.dbapi_connection, lambda: commit(proxied), ends=True)

    def _count(self, statement: str) -> DatabaseFault | None:
        return self.trigger.count(statement.split(None, 1)[0].upper())

    def _fail(
        self,
        fault: DatabaseFault,
        connection: Any,
        effect: Callable[[], Any],
        *,
        ends: bool = False,
    ) -> None:
        if fault is DatabaseFault.AFTER:
            effect()
        if self._is_sqlite:
            raise _sqlite_error(fault)
        if fault is DatabaseFault.TERMINATED:
            self._terminate(connection.info.backend_pid)
            effect()  # which fails
        elif fault in _POSTGRESQL:
            try:
                connection.execute(_RAISE.format(*_POSTGRESQL[fault]))
            finally:
                if ends:  # as every COMMIT does that fails
                    connection.rollback()
        else:
            with suppress(psycopg.Error):
                connection.close()
            raise psycopg.OperationalError("server closed the connection unexpectedly")

    def _terminate(self, pid: int) -> None:
        url = self._engine.url.set(drivername="postgresql")
        conninfo = url.render_as_string(hide_password=False)
        with psycopg.connect(conninfo, autocommit=True) as connection:
            connection.execute("SELECT pg_terminate_backend(%s, %s)", (pid, TERMINATE_MS))


def _sqlite_error(fault: DatabaseFault) -> sqlite3.OperationalError:
    message, code = _SQLITE[fault]
    error = sqlite3.OperationalError(message)
    error.sqlite_errorcode = code
    return error
