"""Servers under attack: a real ``quetz start`` on a deployment of its own, and who asks it."""

import http.client
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from benchmarks.machine import Session
from quetz.deployment import Deployment
from quetz.services.accounts import create_user
from quetz.services.api_keys import create_api_key
from quetz.services.permissions import OPERATOR, Role
from quetz.testing.packages import build_package
from quetz.testing.servers import running_server

T = TypeVar("T")
Limits = Mapping[str, int | str]

CHANNEL = "forge"
SECRET_CHANNEL = "closed"
CONFIG = """\
[general]
dev = true

[session]
https_only = false
"""
_NO_LIMITS: Limits = {}


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Place:
    """A running server with a public and a private channel; ``key`` is of the server's owner."""

    port: int
    key: str
    deployment: Path
    log: Path
    session: Session

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        key: str | None = None,
        **headers: str,
    ) -> Reply:
        """Send one request on a connection of its own; ``key`` "" sends none, None the owner's."""
        connection = http.client.HTTPConnection("localhost", self.port, timeout=120)
        try:
            return send(connection, method, path, body, self.key if key is None else key, **headers)
        finally:
            connection.close()

    def post_json(self, path: str, value: Any, *, key: str | None = None) -> Reply:
        return self.ask("POST", path, json.dumps(value).encode(), key=key)

    def make_key(self, username: str, role: str | None = None) -> str:
        """Make a user with a role on the server; return a new key of his."""
        deployment = Deployment.open(self.deployment)
        try:
            with deployment.transaction(write=True) as session:
                user = create_user(session, OPERATOR, username, role=Role(role) if role else None)
                made = create_api_key(
                    session, OPERATOR, user, description="", expires_at=None, scopes=None
                )
            return made.key
        finally:
            deployment.close()


def send(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: bytes | None = None,
    key: str = "",
    **headers: str,
) -> Reply:
    lines = {name.replace("_", "-"): value for name, value in headers.items()}
    if key:
        lines["X-API-Key"] = key
    connection.request(method, path, body, lines)
    answer = connection.getresponse()
    fields = {name.lower(): value for name, value in answer.getheaders()}
    return Reply(answer.status, fields, answer.read())


@contextmanager
def running(
    folder: Path, *options: str, database_url: str | None = None, limits: Limits = _NO_LIMITS
) -> Iterator[Place]:
    """Make a deployment in ``folder`` and run its server; all of it is removed at the end."""
    path = folder / "deployment"
    path.mkdir(parents=True)
    url = database_url or "sqlite:///quetz.sqlite"
    text = f"{CONFIG}\n[sqlalchemy]\ndatabase_url = {json.dumps(url)}\n\n[limits]\n"
    text += "".join(f"{name} = {json.dumps(value)}\n" for name, value in limits.items())
    (path / "config.toml").write_text(text)
    command = [sys.executable, "-m", "quetz", "create", str(path), "--dev"]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    key = next(line for line in output.splitlines() if line.startswith("QUETZ_API_KEY="))[14:]
    try:
        with running_server(path, "--log-level", "warning", *options) as server:
            port = urlsplit(server.url).port
            assert port is not None
            place = Place(port, key, path, server.log, Session(server.process.pid))
            for name, private in ((CHANNEL, False), (SECRET_CHANNEL, True)):
                reply = place.post_json("/api/channels", {"name": name, "private": private})
                assert reply.status == 201, reply
            yield place
    finally:
        shutil.rmtree(folder)


def package(
    folder: Path, name: str = "pkg", version: str = "1.0", **more: Any
) -> tuple[str, bytes]:
    """Return the name and the bytes of a sound package."""
    path = build_package(folder, name, version, **more)
    content = path.read_bytes()
    path.unlink()
    return path.name, content


def together(work: Callable[[int], T], numbers: Sequence[int], threads: int) -> list[T]:
    """Call ``work`` with each number, in ``threads`` threads that begin at one moment."""
    barrier = threading.Barrier(min(threads, len(numbers)))

    def first(share: Sequence[int]) -> list[T]:
        barrier.wait()
        return [work(number) for number in share]

    shares = [numbers[start::threads] for start in range(min(threads, len(numbers)))]
    with ThreadPoolExecutor(len(shares)) as pool:
        return [result for results in pool.map(first, shares) for result in results]


def form(boundary: str, *parts: tuple[str, bytes]) -> bytes:
    """Return a multipart body of parts, each of a header block and a content."""
    body = b"".join(
        b"--%s\r\n%s\r\n\r\n%s\r\n" % (boundary.encode(), head.encode(), content)
        for head, content in parts
    )
    return body + b"--%s--\r\n" % boundary.encode()


def file_form(filename: str, content: bytes) -> tuple[bytes, str]:
    """Return the body and the content type of a form with one package file."""
    head = f'Content-Disposition: form-data; name="files"; filename="{filename}"'
    return form("quetz", (head, content)), "multipart/form-data; boundary=quetz"
