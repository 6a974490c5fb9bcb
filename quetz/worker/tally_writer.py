"""The tally writer: a thread that writes down what was read and by whom."""

import logging
import threading

from quetz.crashpoints import crashpoint
from quetz.deployment import Deployment

_log = logging.getLogger("quetz.tallies")

TALLY_SECONDS = 2.0


class TallyWriter(threading.Thread):
    """Runs in every process that answers requests."""

    def __init__(self, deployment: Deployment) -> None:
        super().__init__(name="tallies", daemon=True)
        self._deployment = deployment
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Write the last tallies and return."""
        self._stopping.set()
        self.join()
        self._attempt()

    def run(self) -> None:
        while not self._stopping.wait(TALLY_SECONDS):
            self._attempt()

    def _attempt(self) -> None:
        if self._deployment.schema.changed:  # a server writes nothing then, until its restart
            return
        try:
            write_tallies(self._deployment)
        except Exception:  # noqa: BLE001  the writer outlives every fault
            _log.exception("cannot write tallies; trying again later")


def write_tallies(deployment: Deployment) -> None:
    taken = deployment.tallies.take()
    if not taken:
        return
    try:
        with deployment.transaction(write=True) as session:
            taken.write(session)
            crashpoint("tally.writing")
    except Exception:
        deployment.tallies.put_back(taken)
        raise
