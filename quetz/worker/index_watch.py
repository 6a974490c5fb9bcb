"""The watch of the index: a thread that tells waiting requests that their changes are published."""

import logging
import threading
import time

from quetz.deployment import Deployment

_log = logging.getLogger("quetz.index_watch")

POLL_SECONDS = 0.005
"""How often, while somebody waits, it is asked whether the database has changed at all."""

PAUSE_SECONDS = 0.01
"""The least time between two looks at the marks: each of them is for all who wait."""

LONGEST_REST_SECONDS = 0.5

REST = 4
"""How many times as long as a look took the watch rests, so that a thousand waits harm nobody."""


class IndexWatch(threading.Thread):
    """Runs in every process that answers requests; sleeps while nobody waits."""

    def __init__(self, deployment: Deployment) -> None:
        super().__init__(name="index-watch", daemon=True)
        self._deployment = deployment
        self._wake = deployment.waits.wake
        self._stopping = False

    def stop(self) -> None:
        self._stopping = True
        self._wake.set()
        self.join()

    def run(self) -> None:
        seen = 0
        while True:
            woken = self._wake.wait(POLL_SECONDS if self._deployment.waits else None)
            self._wake.clear()  # before the look: a wait that is new later sets it again
            if self._stopping:  # looked at after the clearing, or a stop could be overheard
                return
            number = self._deployment.changes.number()
            if woken or number != seen:
                seen = number
                self._look()

    def _look(self) -> None:
        began = time.monotonic()
        try:
            self._tell()
        except Exception:  # noqa: BLE001  the watch outlives every fault
            _log.exception("cannot look for index marks; trying again")
            time.sleep(LONGEST_REST_SECONDS)
        took = time.monotonic() - began
        time.sleep(max(PAUSE_SECONDS, min(REST * took, LONGEST_REST_SECONDS)))

    def _tell(self) -> None:
        if not self._deployment.waits:
            return
        with self._deployment.transaction() as session:
            published = self._deployment.waits.list_published(session)
        if published:
            # Another process may have published, whose notification is still under way: who is
            # told must find the new index here.
            self._deployment.changes.committed()
        for future in published:
            if future.set_running_or_notify_cancel():
                self._deployment.waits.drop(future)
                future.set_result(None)
