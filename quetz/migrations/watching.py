"""Notices that somebody migrates a database under a running server, or puts back a backup."""

import logging
import threading
from contextlib import suppress

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from quetz.errors import DatabaseUnreadable
from quetz.migrations.positions import file_of, looking, recorded_heads
from quetz.migrations.status import Status

LOOK_SECONDS = 5.0
STOP_SECONDS = 5.0

_log = logging.getLogger("quetz.migrations")


class SchemaWatch(threading.Thread):
    """Compares the revisions on record with those that the process was started on.

    ``changed`` is False again when they are the same again. A database that is away is not
    changed.
    """

    def __init__(self, engine: Engine, status: Status) -> None:
        super().__init__(name="schema", daemon=True)
        self.status = status
        self.changed = False
        self._engine = engine
        self._stopping = threading.Event()

    def run(self) -> None:
        while not self._stopping.wait(LOOK_SECONDS):
            with suppress(DatabaseUnreadable, SQLAlchemyError):
                self.look()

    def stop(self) -> None:
        self._stopping.set()
        self.join(STOP_SECONDS)  # not for ever: the database may be away

    def look(self) -> bool:
        """Read the revisions on record, and return whether they changed.

        Raises:
            DatabaseUnreadable: the SQLite file is gone, or cannot be opened.
        """
        file = file_of(self._engine)
        if file is not None and not file.exists():  # to connect would make it
            raise DatabaseUnreadable(file, "it is missing")
        with looking(self._engine) as connection:
            changed = recorded_heads(connection) != set(self.status.heads)
        if changed and not self.changed:
            _log.error("the database was migrated under this server, which takes no changes now")
        elif self.changed and not changed:
            _log.warning("the database is again as this server knows it; it takes changes")
        self.changed = changed
        return changed
