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
        self._warned = False

    def stop(self) -> None:
        os.close(self._stopper)
        self.join()

    def run(self) -> None:
        goes_on = True
        while goes_on:
            try:
                bell = self._deployment.bell.open()
            except OSError as error:
                self._warn(error)
                goes_on = self._stopped not in self._wait_for(self._stopped)
                continue
            goes_on = self._listen(bell)
            os.close(bell)
        with suppress(OSError):
            self._deployment.bell.take_away()
        os.close(self._stopped)

    def _listen(self, bell: int) -> bool:
        """Wake this process at each ring; return True when the bell is gone, False in the end."""
        while True:
            ready = self._wait_for(bell, self._stopped)
            if self._stopped in ready:
                return False
            if ready:
                with suppress(BlockingIOError):  # another server took the ring
                    os.read(bell, RINGS_AT_ONCE)
                    self._deployment.wake()
            elif not self._deployment.bell.is_at(bell):
                return True

    def _wait_for(self, *files: int) -> set[int]:
        waiting = select.poll()
        for file in files:
            waiting.register(file, select.POLLIN)
        return {file for file, _ in waiting.poll(LOOK_SECONDS * 1000)}

    def _warn(self, error: OSError) -> None:
        if not self._warned:
            _log.warning("what other processes change is published and sealed later: %s", error)
        self._warned = True
