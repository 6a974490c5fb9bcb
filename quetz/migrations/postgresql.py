"""PostgreSQL: one migrates, the others wait."""

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, text

from quetz.errors.migrations import (
    MigrationLocked,
)

LOCK_SECONDS = 300
LONGEST_PAUSE = 1.0

# The first number says that the lock is ours, the second tells schemas of one database apart.
_TRY_LOCK = text(
    "SELECT pg_try_advisory_lock(1903523186, hashtext(coalesce(current_schema(), '')))"
)


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """Open a connection while nobody else migrates; no transaction is open on it.

    Raises:
        MigrationLocked: somebody else does, for too long.
    """
    with engine.connect() as connection:
        connection.detach()  # closed at the end, however it ends, which gives the lock back
        _lock(connection)
        yield connection


def _lock(connection: Connection) -> None:
    """Poll: a session that waits in the database would stall CREATE INDEX CONCURRENTLY."""
    deadline = time.monotonic() + LOCK_SECONDS
    pause = 0.05
    while not connection.scalar(_TRY_LOCK):
        connection.rollback()
        if time.monotonic() > deadline:
            raise MigrationLocked(LOCK_SECONDS)
        time.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 (so that waiters spread)
        pause = min(2 * pause, LONGEST_PAUSE)
    connection.commit()
