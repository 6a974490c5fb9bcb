"""Lets a process use a database only if it has the schema of this version."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from sqlalchemy import Engine

from quetz.migrations.positions import check_schema, looking, recorded_heads
from quetz.migrations.status import Status, read_status
from quetz.plugins import Plugins

OnMismatch = Literal["refuse", "wait", "migrate", "ignore"]

WAIT_SECONDS = 600.0
LOOK_SECONDS = 1.0

_log = logging.getLogger("quetz.migrations")


@dataclass
class Gate:
    """The way to the database of the deployment ``path``; ``migrate`` brings it up to date."""

    engine: Engine
    plugins: Plugins
    path: object
    migrate: Callable[[], object]

    def enter(self, on_mismatch: OnMismatch) -> Status:
        """Return the state of the schema, as soon as it may be used.

        Raises:
            SchemaBehind: it lacks migrations; with ``wait``, for longer than ``WAIT_SECONDS``.
            SchemaUnknown, SchemaAhead: the database is not one of this version.
            DatabaseMissing, DatabaseUnreadable: there is none, in its SQLite file.
            QuetzError: with ``migrate``, whatever stopped the migration.
        """
        deadline = time.monotonic() + WAIT_SECONDS
        told = ""
        while (status := read_status(self.engine, self.plugins)).state != "current":
            if on_mismatch == "ignore" and status.state in {"behind", "ahead"}:
                return self._ignore(status)
            if on_mismatch == "migrate" and status.state in {"behind", "empty"}:
                self.migrate()
                on_mismatch = "refuse"  # what is still missing, no second attempt would bring
            elif on_mismatch == "wait" and _may_come(status) and time.monotonic() < deadline:
                told = self._tell(status.holder or "somebody", told)
                time.sleep(LOOK_SECONDS)
            else:
                check_schema(self.engine, self.plugins, self.path)
                time.sleep(LOOK_SECONDS)  # it was migrated meanwhile, or is at this moment
        return status

    def _ignore(self, status: Status) -> Status:
        _log.warning(
            "the database of '%s' is %s, which [sqlalchemy] on_mismatch says to ignore",
            self.path,
            "ahead of this version" if status.state == "ahead" else "behind this version",
        )
        with looking(self.engine) as connection:
            return replace(status, heads=tuple(sorted(recorded_heads(connection))))

    def _tell(self, holder: str, told: str) -> str:
        """Log who is waited for, unless that was ``told``; return who it is."""
        if holder != told:
            _log.warning(
                "the database of '%s' lacks migrations; waiting for %s to apply them",
                self.path,
                holder,
            )
        return holder


def _may_come(status: Status) -> bool:
    """Tell whether migrating would help; a database that is unknown or ahead stays so."""
    return status.state in {"behind", "empty", "missing"}
