"""Which call fails."""

import threading
from typing import Generic, TypeVar

Fault = TypeVar("Fault")


class Trigger(Generic[Fault]):
    """Counts calls by name in their order, and gives the fault to the one that is to fail."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.met: str | None = None
        """The name of the call that got the fault; None until then."""

        self._lock = threading.Lock()
        self._fault: Fault | None = None
        self._name: str | None = None
        self._left = 0

    def arm(self, fault: Fault, *, at: int, name: str | None) -> None:
        """Let the call number ``at`` from now on fail; of those called ``name``, if it is given."""
        if at < 1:
            raise ValueError("the first call is number 1")
        with self._lock:
            self.calls, self.met = [], None
            self._fault, self._name, self._left = fault, name, at

    def disarm(self) -> None:
        """Let no later call fail."""
        with self._lock:
            self._fault = None

    def count(self, name: str) -> Fault | None:
        """Count a call; return the fault if it is this one that fails."""
        with self._lock:
            self.calls.append(name)
            if self._fault is None or self._name not in (None, name):
                return None
            self._left -= 1
            if self._left:
                return None
            fault, self._fault, self.met = self._fault, None, name
            return fault
