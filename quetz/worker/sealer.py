"""The sealer: a thread that gives committed events their positions and seals."""

import logging
import threading
import time
from collections.abc import Callable

from quetz.crashpoints import crashpoint
from quetz.db.queries.events import has_unsealed
from quetz.deployment import Deployment
from quetz.services.seals import seal_events

_log = logging.getLogger("quetz.sealer")

GATHER_SECONDS = 0.05
"""How long events are gathered, so that a burst costs one commit."""

POLL_SECONDS = 1.0
"""How long an event may wait whose writer could not wake a sealer."""

RETRY_SECONDS = 5.0

REST_SECONDS = 0.1
"""The least rest between two batches: a writer who waits for SQLite's lock tries it so often."""


class Sealer(threading.Thread):
    """One for each server; the transaction itself lets one seal at a time."""

    def __init__(self, deployment: Deployment) -> None:
        super().__init__(name="sealer", daemon=True)
        self._deployment = deployment
        self._wake = threading.Event()
        self._stopping = threading.Event()

    def start(self) -> None:
        self._deployment.sleepers.append(self._wake)
        super().start()

    def stop(self) -> None:
        """Seal what was recorded last, and return."""
        self._stopping.set()
        self._wake.set()
        self.join()
        self._deployment.sleepers.remove(self._wake)

    def run(self) -> None:
        stopping = False
        while not stopping:
            stopping = (
                self._stopping.is_set()
            )  # looked at first: what was recorded before is sealed
            self._wake.clear()
            pause = self._attempt()
            if not self._stopping.is_set() and self._wake.wait(pause):
                time.sleep(GATHER_SECONDS)

    def _attempt(self) -> float:
        """Seal what waits, if it may be; return the seconds to wait for more."""
        if self._deployment.schema.changed:  # a server writes nothing then, until its restart
            return RETRY_SECONDS
        try:
            seal_waiting(self._deployment, rest=self._stopping.wait)
        except Exception:  # noqa: BLE001  the sealer outlives every fault
            _log.exception("cannot seal events; trying again")
            return RETRY_SECONDS
        return POLL_SECONDS


def seal_waiting(
    deployment: Deployment, *, rest: Callable[[float], object] = lambda _seconds: None
) -> None:
    """Seal every event that waits, a batch in each transaction.

    After each but the last it calls ``rest`` with the seconds in which others may write.
    """
    with deployment.transaction() as session:
        if not has_unsealed(session):
            return
    last: int | None = 0
    while last is not None:
        began = time.monotonic()
        with deployment.transaction(write=True) as session:
            last = seal_events(session, after=last)
            crashpoint("seal.sealing")
        crashpoint("seal.sealed")
        if last is not None:
            rest(max(REST_SECONDS, time.monotonic() - began))
