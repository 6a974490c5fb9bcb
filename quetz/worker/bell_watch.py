"""The watch of the bell: a thread that wakes this process when another one changed something."""

import logging
import os
import select
import threading
from contextlib import suppress

from quetz.deployment import Deployment

_log = logging.getLogger("quetz.bell_watch")

LOOK_SECONDS = 1.0
"""How often it is seen to that the bell is still there."""

RINGS_AT_ONCE = 4096


class BellWatch(threading.Thread):
    """Runs where changes of other processes are published and sealed."""

    def __init__(self, deployment: Deployment) -> None:
        super().__init__(name="bell-watch", daemon=True)
        self._deployment = deployment
        self._stopped, self._stopper = os.pipe()

    def stop(self) -> None:
        os.close(self._stopper)
        self.join()

    def run(self) -> None:
        bell = self._deployment.bell
        try:
            while self._listen(opened := bell.open()):
                os.close(opened)
            os.close(opened)
            bell.take_away()
        except OSError as error:
            _log.warning("changes are published up to two seconds later: %s", error)
        os.close(self._stopped)

    def _listen(self, bell: int) -> bool:
        """Wake this process at each ring; return True when the bell is gone, False in the end."""
        waiting = select.poll()
        waiting.register(bell, select.POLLIN)
        waiting.register(self._stopped)
        while True:
            ready = dict(waiting.poll(LOOK_SECONDS * 1000))
            if self._stopped in ready:
                return False
            if ready:
                with suppress(BlockingIOError):  # another server took the ring
                    os.read(bell, RINGS_AT_ONCE)
                    self._deployment.wake()
            elif not self._deployment.bell.is_at(bell):
                return True
