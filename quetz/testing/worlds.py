"""A server that is killed and started again, and the packages that are sent to it."""

import contextlib
import http.client
import itertools
import os
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from quetz.testing.packages import build_package
from quetz.testing.servers import Server, doomed_server

FILES = [(name, version) for name in ("one", "two") for version in ("1", "2")]
CONTENTS = 2


@dataclass
class World:
    """One deployment with its server, for any number of machines, which share it.

    ``kills`` is how often the server may still be killed; ``done`` counts what was done.
    """

    path: Path
    key: str
    kills: float
    done: Counter[str] = field(default_factory=Counter)
    numbers: Iterator[int] = field(default_factory=itertools.count)
    packages: dict[tuple[str, int], bytes] = field(default_factory=dict)
    _running: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _server: Server | None = None

    def __post_init__(self) -> None:
        for number in range(CONTENTS):
            folder = self.path.with_name(f"contents-{number}")
            folder.mkdir()
            for name, version in FILES:
                files = {"share/number": str(number).encode()}
                package = build_package(folder, name, version, files=files)
                self.packages[package.name, number] = package.read_bytes()

    def start(self) -> Server:
        """Return the server, which is started if it is not there."""
        if self._server is None:
            self._server = self._running.enter_context(doomed_server(self.path))
        return self._server

    def kill(self) -> None:
        if self._server is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._server.process.pid, signal.SIGKILL)

    def bury(self) -> None:
        """Wait until a server that was killed is gone."""
        self.close()
        self.done["kills"] += 1

    def close(self) -> None:
        """Kill the server, if it runs; the next request starts it again."""
        self._server = None
        self._running.close()

    def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, str, bytes]:
        """Return the status, the ETag and the body of the answer."""
        address = urlsplit(self.start().url).netloc
        connection = http.client.HTTPConnection(address, timeout=60)
        try:
            headers = {"X-API-Key": self.key, "Content-Type": "application/json"}
            connection.request(method, path, body or None, headers)
            answer = connection.getresponse()
            return answer.status, answer.getheader("ETag", ""), answer.read()
        finally:
            connection.close()
