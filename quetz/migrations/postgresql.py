"""PostgreSQL: each revision is a transaction, and gives way to those who use a table."""

import itertools
import random
import time
from collections.abc import Callable

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from quetz.migrations.locks import holds_lock
from quetz.migrations.progress import Progress, Watch
from quetz.migrations.sessions import settle

# Whoever waits for a table's lock holds up all who come after; so a revision waits not for long.
LOCK_TIMEOUT = "2s"
ATTEMPTS = 10
_PASSING = {"55P03", "40P01"}  # lock_not_available, deadlock_detected
_GIVE_WAY = text("SELECT set_config('lock_timeout', :lock, false)")


class LockLost(Exception):
    """The connection is not the one that took the lock."""

    def __init__(self) -> None:
        super().__init__(
            "the lock on migrations was lost; if the database is reached through a connection "
            "pooler, set [sqlalchemy] migration_url to the database itself"
        )


def begin_step(connection: Connection, *, transactional: bool) -> None:
    """Make ready for a revision; commits what was done before.

    An index that is built beside its readers waits for all of them, however long.

    Raises:
        LockLost: somebody else may migrate now.
    """
    settle(connection, local=False)  # again: the revision before may have set anything
    connection.execute(_GIVE_WAY, {"lock": LOCK_TIMEOUT if transactional else "0"})
    held = holds_lock(connection)
    connection.commit()
    if not held:
        raise LockLost


def persist(
    work: Callable[[], None], connection: Connection, watch: Watch, may_repeat: Callable[[], bool]
) -> None:
    """Do the work again as long as somebody else uses the tables that it needs."""
    for attempt in itertools.count(1):
        try:
            work()
        except DBAPIError as error:
            if not is_passing(error) or attempt == ATTEMPTS or not may_repeat():
                raise
            connection.rollback()
            pause = min(0.1 * 2**attempt, 5.0) * random.uniform(0.5, 1)  # noqa: S311 (so that others get in)
            sentence = f"A table is in use; trying again in {pause:.1f} s ({attempt}/{ATTEMPTS})"
            watch(Progress("waiting", sentence, {"attempt": attempt, "seconds": pause}))
            time.sleep(pause)
        else:
            return


def is_passing(error: BaseException) -> bool:
    """Tell whether somebody else stood in the way, who will be gone."""
    return getattr(getattr(error, "orig", None), "sqlstate", None) in _PASSING
