"""A reverse proxy that writes down what clients ask, and what they are told."""

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

# These speak of one connection, not of the message (RFC 9110, 7.6.1).
_OF_THE_CONNECTION = {"connection", "keep-alive", "transfer-encoding"}


@dataclass(frozen=True)
class Exchange:
    """One request and its answer; the names of headers are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    status: int
    answer_headers: dict[str, str]


@dataclass
class Recording:
    """What went through the proxy at ``url``, oldest first."""

    url: str
    exchanges: list[Exchange] = field(default_factory=list)

    def take(self) -> list[Exchange]:
        """Give what was recorded since the last call."""
        taken, self.exchanges = self.exchanges, []
        return taken


@contextmanager
def recording_proxy(target: str) -> Iterator[Recording]:
    """Pass GET and HEAD on to the server at ``target``."""

    class Handler(_RecordingHandler):
        backend = urlsplit(target).netloc

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as proxy:
        proxy.daemon_threads = True
        port = proxy.server_address[1]
        Handler.recording = Recording(f"http://127.0.0.1:{port}{urlsplit(target).path}")
        thread = threading.Thread(target=proxy.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield Handler.recording
        finally:
            proxy.shutdown()
            thread.join()


class _RecordingHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 10
    backend: str
    recording: Recording

    def do_GET(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        connection = http.client.HTTPConnection(self.backend, timeout=30)
        try:
            # The path as it came: a proxy that decodes it would hide what the client sent.
            connection.request(
                self.command, self.path, headers=_without_connection_headers(headers)
            )
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        answer_headers = {name.lower(): value for name, value in answer.getheaders()}
        self.recording.exchanges.append(
            Exchange(self.command, self.path, headers, answer.status, answer_headers)
        )
        self._answer(answer.status, answer_headers, body)

    def do_HEAD(self) -> None:
        self.do_GET()

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response_only(status)
        # A kept connection would be reset by clients that leave without a word.
        self.send_header("connection", "close")
        for name, value in _without_connection_headers(headers).items():
            self.send_header(name, value)
        if "content-length" not in headers and status != http.HTTPStatus.NOT_MODIFIED:
            self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base's name
        """Say nothing: the recording is the log."""


def _without_connection_headers(headers: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name not in _OF_THE_CONNECTION}
