"""A number that changes whenever the database may have changed, cheap enough for every request.

What is read from the database stays true as long as the number stays the same, so caches
ask for it first.
"""

import selectors
import socket
import sqlite3
import threading
from pathlib import Path
from typing import Protocol

import psycopg
from sqlalchemy import Engine, text
from sqlalchemy.engine import URL
from sqlalchemy.orm import Session

CHANNEL = "quetz_changes"
RECONNECT_SECONDS = 0.5
# For the transaction alone: behind a pooler another one's may use the connection next.
_ANNOUNCE = text(
    f"SELECT pg_notify('{CHANNEL}', ''), CASE current_setting('synchronous_commit') "
    "WHEN 'off' THEN set_config('synchronous_commit', 'on', true) END"
)


class Changes(Protocol):
    def number(self) -> int:
        """Return the number; after a later change of the database it is another one."""

    def announce(self, session: Session) -> None:
        """Tell every server that ``session`` is about to commit a change.

        The commit is on disk before it is answered, though PostgreSQL may be set up otherwise.
        """

    def committed(self) -> None:
        """Count a commit of this process at once: its own notification takes a moment."""

    def close(self) -> None: ...


class SqliteChanges:
    """``PRAGMA data_version`` of a connection that never writes sees every other's commits."""

    def __init__(self, url: URL) -> None:
        self._lock = threading.Lock()
        file = Path(str(url.database)).absolute().as_uri()
        self._connection = sqlite3.connect(
            f"{file}?mode=rw", uri=True, check_same_thread=False, isolation_level=None
        )
        self._cursor = self._connection.cursor()
        self._failures = 1

    def number(self) -> int:
        with self._lock:
            try:
                return int(self._cursor.execute("PRAGMA data_version").fetchone()[0])
            except sqlite3.Error:  # the file is away: nothing cached can be trusted
                self._failures += 1
                return -self._failures

    def announce(self, session: Session) -> None:
        """Nothing to do: SQLite counts commits by itself."""

    def committed(self) -> None:
        """Nothing to do: the pragma shows a commit as soon as it is made."""

    def close(self) -> None:
        with self._lock:
            self._connection.close()


class PostgresChanges:
    """Counts notifications that every write transaction of every server sends on commit."""

    def __init__(self, engine: Engine) -> None:
        self._conninfo = psycopg.conninfo.make_conninfo(
            engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
        )
        self._lock = threading.Lock()
        self._count = 0
        self._connected = False
        self._closing = threading.Event()
        # Closing one end wakes the thread, which waits for notifications at the other.
        self._woken, self._waker = socket.socketpair()
        self._thread = threading.Thread(target=self._listen, name="changes", daemon=True)
        self._thread.start()

    def number(self) -> int:
        if not self._connected:
            self.committed()  # notifications may be lost: nothing cached can be trusted
        return self._count

    def announce(self, session: Session) -> None:
        session.execute(_ANNOUNCE)

    def committed(self) -> None:
        with self._lock:
            self._count += 1

    def close(self) -> None:
        self._closing.set()
        self._waker.close()
        self._thread.join()
        self._woken.close()

    def _listen(self) -> None:
        while not self._closing.is_set():
            try:
                with psycopg.connect(self._conninfo, autocommit=True) as connection:
                    connection.execute(f"LISTEN {CHANNEL}")
                    self.committed()
                    self._connected = True
                    self._count_notifications(connection)
            except psycopg.Error:
                self._closing.wait(RECONNECT_SECONDS)
            finally:
                self._connected = False

    def _count_notifications(self, connection: psycopg.Connection) -> None:
        with selectors.DefaultSelector() as waiting:
            waiting.register(connection.fileno(), selectors.EVENT_READ)
            waiting.register(self._woken, selectors.EVENT_READ)
            while not self._closing.is_set():
                waiting.select()
                for _ in connection.notifies(timeout=0):
                    self.committed()


def watch_changes(engine: Engine) -> Changes:
    """Open the watch that fits the engine's database."""
    if engine.dialect.name == "sqlite":
        return SqliteChanges(engine.url)
    return PostgresChanges(engine)
