"""One migrates, the others wait: a lock file beside an SQLite file, an advisory lock of PostgreSQL.

Both are given back by the system when their process dies.
"""

import fcntl
import getpass
import os
import random
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from quetz.errors.migrations import MigrationLocked
from quetz.migrations.positions import file_of
from quetz.migrations.progress import Progress, Watch, silent
from quetz.migrations.sessions import settle

LOCK_SECONDS = 300.0
LONGEST_PAUSE = 0.25
LOCK_SUFFIX = ".migrate-lock"
_LONGEST_BUSY = 2_000_000  # seconds: SQLite takes a C int of milliseconds

# The first number says that the lock is ours, the second tells schemas of one database apart.
_KEY = "1903523186, hashtext(coalesce(current_schema(), ''))"
_TRY_LOCK = text(f"SELECT pg_try_advisory_lock({_KEY})")
_LOCKS = """
    FROM pg_locks AS lock JOIN pg_database AS base ON base.oid = lock.database
    WHERE lock.locktype = 'advisory' AND lock.granted AND lock.classid = 1903523186
    AND base.datname = current_database()
    AND lock.objid::bigint = hashtext(coalesce(current_schema(), ''))::bigint & 4294967295
"""
_HOLDER = text(f"""
    SELECT application_name FROM pg_stat_activity WHERE pid IN (SELECT lock.pid {_LOCKS})
""")  # noqa: S608 (our own text)
_IS_HELD = text(f"SELECT count(*) {_LOCKS} AND lock.pid = pg_backend_pid()")
_SAY_WHO = text("SELECT set_config('application_name', :name, false)")


@contextmanager
def alone(
    engine: Engine, seconds: float = LOCK_SECONDS, watch: Watch = silent
) -> Iterator[Connection]:
    """Open a connection while nobody else migrates; no transaction is open on it.

    Raises:
        MigrationLocked: somebody else does, for longer than ``seconds``.
        NoSchema: PostgreSQL has none for this role.
    """
    file = file_of(engine)
    if engine.dialect.name == "postgresql":
        with engine.connect() as connection:
            try:
                _lock_postgresql(connection, seconds, watch)
                yield connection
            finally:
                connection.invalidate()  # it is closed, which gives the lock back
    elif file is None:  # in memory: nobody else sees it
        with engine.execution_options(write=True).connect() as connection:
            yield connection
    else:
        with (
            _locked(lock_file(file), seconds, watch),
            engine.execution_options(write=True).connect() as connection,
        ):
            connection.detach()  # closed at the end, with the pragmas of a migration
            _wait_for_writers(connection, seconds)
            yield connection


def holder_of(engine: Engine) -> str:
    """Return who migrates at this moment, or ""."""
    if engine.dialect.name == "postgresql":
        with engine.connect() as connection:
            return connection.scalar(_HOLDER) or ""
    file = file_of(engine)
    return _holder_of_file(lock_file(file)) if file else ""


def lock_file(file: Path) -> Path:
    """Return the lock of an SQLite file, the same by whatever links it is reached."""
    file = file.resolve()
    return file.with_name(file.name + LOCK_SUFFIX)


def holds_lock(connection: Connection) -> bool:
    """Tell whether this PostgreSQL connection is still the one that took the lock."""
    return bool(connection.scalar(_IS_HELD))


def _lock_postgresql(connection: Connection, seconds: float, watch: Watch) -> None:
    """Poll: a session that waits in the database would stall CREATE INDEX CONCURRENTLY."""

    def is_locked() -> bool:
        locked = bool(connection.scalar(_TRY_LOCK))
        connection.commit()
        return locked

    def holder() -> str:
        name: str = connection.scalar(_HOLDER) or ""
        connection.commit()
        return name

    settle(connection, local=False)
    connection.commit()
    _poll(is_locked, holder, seconds, watch)
    connection.execute(_SAY_WHO, {"name": _who()[:63]})
    connection.commit()


@contextmanager
def _locked(file: Path, seconds: float, watch: Watch) -> Iterator[None]:
    with os.fdopen(os.open(file, os.O_RDWR | os.O_CREAT, 0o600), "r+") as opened:

        def is_locked() -> bool:
            return _try_flock(opened.fileno(), fcntl.LOCK_EX)

        _poll(is_locked, lambda: _holder_of_file(file), seconds, watch)
        opened.truncate()
        opened.write(_who())
        opened.flush()
        try:
            yield
        finally:
            opened.seek(0)
            opened.truncate()


def _poll(
    is_locked: Callable[[], bool], holder: Callable[[], str], seconds: float, watch: Watch
) -> None:
    deadline = time.monotonic() + seconds
    pause = 0.05
    told = False
    while not is_locked():
        name = holder() or "somebody else"
        if time.monotonic() >= deadline:
            raise MigrationLocked(seconds, name)
        if not told:
            watch(Progress("waiting", f"Waiting: {name} migrates the database", {"holder": name}))
            told = True
        time.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 (so that waiters spread)
        pause = min(2 * pause, LONGEST_PAUSE, max(deadline - time.monotonic(), 0.01))


def _wait_for_writers(connection: Connection, seconds: float) -> None:
    """Let BEGIN wait for the servers that write, too; past SQLAlchemy, which would begin."""
    driver = connection.connection.cursor()
    driver.execute(f"PRAGMA busy_timeout={int(min(seconds, _LONGEST_BUSY) * 1000)}")
    driver.close()


def is_busy(error: BaseException) -> bool:
    """Tell whether another connection held SQLite's write lock for too long."""
    return isinstance(error, DBAPIError) and "database is locked" in str(error.orig)


def _try_flock(number: int, kind: int) -> bool:
    try:
        fcntl.flock(number, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder_of_file(file: Path) -> str:
    with suppress(FileNotFoundError, PermissionError), file.open() as opened:
        who = opened.read()
        # To try the lock is to hold it for a moment, in the way of others; so only if there is
        # a name, which one that was killed may have left.
        if who and not _try_flock(opened.fileno(), fcntl.LOCK_SH):
            return who
    return ""  # nobody, or another user's


def _who() -> str:
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        user = str(os.getuid())
    return f"process {os.getpid()} of {user} on {socket.gethostname()}"
