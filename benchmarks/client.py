"""A client that costs little: plain sockets, kept alive, requests written beforehand."""

import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

CONNECTIONS = 16

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_ETAG = re.compile(rb"\r\netag: *([^\r]+)", re.IGNORECASE)


class UnexpectedAnswer(Exception):
    pass


@dataclass(frozen=True)
class Answer:
    status: int
    head: bytes
    body: bytes

    @property
    def etag(self) -> bytes:
        match = _ETAG.search(self.head)
        if match is None:
            raise UnexpectedAnswer(f"no ETag in {self.head!r}")
        return match[1]

    def expect(self, *statuses: int) -> "Answer":
        if self.status not in statuses:
            raise UnexpectedAnswer(f"{self.head!r} {self.body[:500]!r}")
        return self


class Connection:
    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=120)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, request: bytes) -> None:
        self._socket.sendall(request)

    def ask(self, request: bytes) -> Answer:
        self._socket.sendall(request)
        return self.receive(has_body=not request.startswith(b"HEAD "))

    def send_file(self, head: bytes, path: Path) -> Answer:
        """Send a request whose body is a file, which costs this process next to nothing."""
        self._socket.sendall(head)
        with path.open("rb") as file:
            self._socket.sendfile(file)
        return self.receive()

    def receive(self, *, has_body: bool = True) -> Answer:
        data = bytearray(self._more())
        while (end := data.find(b"\r\n\r\n")) < 0:
            data += self._more()
        head, status = bytes(data[: end + 2]), int(data[9:12])
        match = _LENGTH.search(head)
        length = int(match[1]) if match and status != 304 and has_body else 0
        while len(data) < end + 4 + length:
            data += self._more()
        return Answer(status, head, bytes(memoryview(data)[end + 4 :]))

    def close(self) -> None:
        self._socket.close()

    def _more(self) -> bytes:
        data = self._socket.recv(1 << 18)
        if not data:
            raise UnexpectedAnswer("the server closed the connection")
        return data


@contextmanager
def connected(port: int) -> Iterator[Connection]:
    connection = Connection(port)
    try:
        yield connection
    finally:
        connection.close()


def get(path: str, **headers: str) -> bytes:
    return _head("GET", path, headers)


def head(path: str, **headers: str) -> bytes:
    return _head("HEAD", path, headers)


def post(path: str, length: int, **headers: str) -> bytes:
    """Return the head of a request with a body of ``length`` bytes."""
    return _head("POST", path, {**headers, "Content_Length": str(length)})


def _head(method: str, path: str, headers: dict[str, str]) -> bytes:
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: localhost", *lines, "", ""]).encode()


def hammer(
    port: int, request: bytes, seconds: float, *, status: int, connections: int = CONNECTIONS
) -> int:
    """Send ``request`` for ``seconds`` over several connections at once; return how often."""
    opened = [Connection(port) for _ in range(connections)]
    count = 0
    end = time.perf_counter() + seconds
    try:
        while time.perf_counter() < end:
            for connection in opened:
                connection.send(request)
            for connection in opened:
                connection.receive().expect(status)
            count += connections
    finally:
        for connection in opened:
            connection.close()
    return count
