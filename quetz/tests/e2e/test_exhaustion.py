"""Servers that run out of disk or descriptors: they refuse, read on, and recover.

These take ``running`` and not ``server``: the log says why something was refused.
"""

import http.client
import resource
import secrets
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from quetz.testing.packages import build_package

ROOM = 16 << 20
"""Bytes of the largest file that a server may write, more than its database has."""


class Caller:
    """Asks a server on one connection, which stays open."""

    def __init__(self, server, deployed):
        address = urlsplit(server.url)
        self._connection = http.client.HTTPConnection(address.hostname, address.port, timeout=60)
        self._headers = {"X-API-Key": deployed.api_key}

    def ask(self, method, path, body=None):
        self.send(method, path, body)
        return self.receive()

    def send(self, method, path, body=None):
        self._connection.request(method, path, body, self._headers)

    def receive(self):
        answer = self._connection.getresponse()
        return answer.status, answer.read()

    def close(self):
        self._connection.close()


@pytest.fixture
def caller(running, deployed):
    with closing(Caller(running, deployed)) as caller:
        yield caller


def processes(pid):
    """Return the process and those below it."""
    files = Path(f"/proc/{pid}/task").glob("*/children")
    children = [int(child) for file in files for child in file.read_text().split()]
    return [pid, *(one for child in children for one in processes(child))]


@contextmanager
def limited(server, kind, limit):
    """Give the server's workers less of a resource; ``limit`` tells how much, by process."""
    _, *workers = processes(server.process.pid)
    before = {pid: resource.prlimit(pid, kind) for pid in workers}
    for pid, (_, hard) in before.items():
        resource.prlimit(pid, kind, (limit(pid), hard))
    try:
        yield
    finally:
        for pid, limits in before.items():
            resource.prlimit(pid, kind, limits)


def held_descriptors(pid):
    return max(int(file.name) for file in Path(f"/proc/{pid}/fd").iterdir()) + 1


def url_of(channel, path):
    return f"/api/channels/{channel.name}/upload/{path.name}"


def staged(deployed):
    return {path for path in deployed.path.glob("store/staging/*/*") if path.name != "lock"}


def test_a_full_disk_refuses_an_upload_and_serves_on(running, deployed, channel, caller, tmp_path):
    small = build_package(tmp_path, "small")
    large = build_package(tmp_path, "large", files={"payload": secrets.token_bytes(ROOM + 1)})
    first = caller.ask("POST", url_of(channel, small), small.read_bytes())[0]
    objects = set(deployed.path.glob("store/objects/*/*"))

    with limited(running, resource.RLIMIT_FSIZE, lambda _: ROOM):
        refused = caller.ask("POST", url_of(channel, large), large.read_bytes())[0]
        read = caller.ask("GET", f"/get/{channel.name}/noarch/{small.name}")
        again = caller.ask("POST", url_of(channel, small), small.read_bytes())[0]
    left = set(deployed.path.glob("store/objects/*/*"))

    assert (first, refused, again) == (201, 507, 200)
    assert read == (200, small.read_bytes())
    assert (staged(deployed), left) == (set(), objects)
    assert caller.ask("POST", url_of(channel, large), large.read_bytes())[0] == 201


def test_a_server_without_descriptors_refuses_and_recovers(
    running, deployed, channel, caller, tmp_path
):
    package = build_package(tmp_path, "pkg")
    caller.ask("GET", "/health/ready")  # from now on the connection is open

    with limited(running, resource.RLIMIT_NOFILE, held_descriptors):
        refused = caller.ask("POST", url_of(channel, package), package.read_bytes())[0]
        late = Caller(running, deployed)
        late.send("GET", "/health/ready")  # it is connected, and has to wait
    with closing(late):
        answered = late.receive()[0]
        # On this connection: the server may have closed the other one, which was idle meanwhile.
        taken = late.ask("POST", url_of(channel, package), package.read_bytes())[0]
        read = late.ask("GET", f"/get/{channel.name}/noarch/{package.name}")

    assert (refused, answered, taken) == (503, 200, 201)
    assert read == (200, package.read_bytes())
    assert staged(deployed) == set()
