"""The access log: a line for each request that was answered.

Written one by one they would take as long as small answers do, so a thread writes what has come
together. A crash loses the last tenth of a second.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

NAME = "quetz.access"
WRITE_SECONDS = 0.1
STOP_SECONDS = 5.0

MOST = 50_000
"""How many lines are kept where the log takes none."""

WRITTEN_AT_ONCE = 3_500
"""Characters. What several processes write to a pipe is mixed up beyond 4,096 bytes (pipe(7))."""

_log = logging.getLogger("quetz.web")


class Answered(NamedTuple):
    """A request that was answered at ``at``, in seconds since 1970."""

    at: float
    address: str
    method: str
    path: str
    status: int
    seconds: float


class AccessLog(threading.Thread):
    """Keeps lines from its start on, if requests are to be logged at all."""

    def __init__(self) -> None:
        super().__init__(name="access-log", daemon=True)
        self._logger = logging.getLogger(NAME)
        self._stopping = threading.Event()
        self._kept = False
        self._left_out = 0
        self._answered = deque[Answered]()

    def start(self) -> None:
        self._kept = True
        super().start()

    def note(self, scope: Mapping[str, Any], status: int, seconds: float) -> None:
        """Note a request; its ``path`` is as it may be shown, without a token."""
        if len(self._answered) >= MOST:
            self._left_out += 1
        elif self._kept and self._logger.isEnabledFor(logging.INFO):
            address = scope["client"][0] if scope.get("client") else "-"
            method, path = scope["method"], scope["path"]
            self._answered.append(Answered(time.time(), address, method, path, status, seconds))

    def stop(self) -> None:
        """Write the last lines, and return when the log has taken them, or takes none."""
        self._stopping.set()
        self.join(STOP_SECONDS)

    def run(self) -> None:
        while not self._stopping.wait(WRITE_SECONDS):
            self._write()
        self._write()

    def _write(self) -> None:
        answered = [self._answered.popleft() for _ in range(len(self._answered))]
        left_out, self._left_out = self._left_out, 0
        try:
            for lines in _cut(_lines(answered)):
                self._logger.info("requests", extra={"lines": lines})
            if left_out:
                _log.warning("%d requests were not logged: the log is too slow", left_out)
        except Exception:  # noqa: BLE001  the log outlives every fault
            _log.exception("cannot write the access log")


def _cut(lines: Iterable[str]) -> Iterator[list[str]]:
    """Yield lines that are written at once."""
    some: list[str] = []
    size = 0
    for line in lines:
        # Other characters are escaped, or take several bytes.
        length = len(line) if line.isascii() and line.isprintable() else 6 * len(line)
        if some and size + length > WRITTEN_AT_ONCE:
            yield some
            some, size = [], 0
        some.append(line)
        size += length + 1
    if some:
        yield some


def _lines(answered: Iterable[Answered]) -> Iterator[str]:
    second, text = -1, ""
    for one in answered:
        if int(one.at) != second:
            second = int(one.at)
            text = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second))
        yield (
            f"{text},{int(one.at % 1 * 1000):03d} {one.address} "
            f'"{one.method} {one.path}" {one.status} {one.seconds * 1000:.1f} ms'
        )
