"""Kills a real server while clients upload, and checks what it kept.

One round: start the server, upload from several threads until it dies, start it again, and hold
what it serves against what it had acknowledged.
"""

import contextlib
import hashlib
import http.client
import itertools
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import zstandard

from quetz.testing.packages import build_package
from quetz.testing.servers import Server, doomed_server, running_server
from quetz.testing.shard_reader import read_all

CHANNEL = "crash"
SUBDIR = "noarch"
UPLOADERS = 4
QUIET_SECONDS = 60.0


class CrashFailure(AssertionError):
    """The server lost what it had acknowledged, or served what is broken."""


@dataclass
class History:
    """What the clients know: files by name, and which of them the server acknowledged."""

    sent: dict[str, bytes] = field(default_factory=dict)
    acknowledged: set[str] = field(default_factory=set)
    in_flight: set[str] = field(default_factory=set)

    @property
    def unknown(self) -> set[str]:
        return set(self.sent) - self.acknowledged


class Driver:
    """Uploads to one deployment, through any number of crashes of its server."""

    def __init__(self, deployment: Path, key: str, scratch: Path) -> None:
        self.history = History()
        self._deployment = deployment
        self._key = key
        self._scratch = scratch
        self._numbers = itertools.count()
        self._random = random.Random(20261122)

    def create_channel(self) -> None:
        """Make the channel that the packages go to."""
        with running_server(self._deployment) as server:
            status = self.make_channel(server, CHANNEL)
        if status != http.HTTPStatus.CREATED:
            raise CrashFailure(f"the channel was not created: {status}")

    def make_channel(self, server: Server, name: str) -> int:
        """Create a public channel, and return the status of the answer."""
        body = msgspec.json.encode({"name": name, "private": False})
        return self._request(server.url, "POST", "/api/channels", body)[0]

    def crash(self, point: str | None) -> bool:
        """Let the server die under load; say whether it died of ``point``, and not of us.

        Without a point it is killed from outside at a random moment with uploads in flight.
        """
        hits = self._random.randint(1, 6)
        with (
            _environment(QUETZ_CRASHPOINT=f"{point}:{hits}" if point else ""),
            doomed_server(self._deployment) as server,
        ):
            died = self._load(server, until_dead=point is not None)
            if not died:
                os.killpg(server.process.pid, signal.SIGKILL)
            for thread in self._threads:
                thread.join()
        return died

    def check(self) -> None:
        """Start the server again and check it, then send again what was left unanswered.

        Raises:
            CrashFailure: saying what is lost or broken.
        """
        with running_server(self._deployment) as server:
            self._read_index(server)  # must be whole from the first answer on
            self._wait_until_listed(server, self.history.acknowledged)
            self._check_bytes(server)
            for filename in sorted(self.history.unknown):
                self._send_again(server, filename)
            self._wait_until_listed(server, set(self.history.sent))
            self._check_bytes(server)

    def _load(self, server: Server, *, until_dead: bool) -> bool:
        self._dead = threading.Event()
        self._threads = [
            threading.Thread(target=self._upload_until_dead, args=(server,))
            for _ in range(UPLOADERS)
        ]
        for thread in self._threads:
            thread.start()
        if until_dead:
            return self._dead.wait(QUIET_SECONDS)
        time.sleep(self._random.uniform(0.2, 1.0))
        while not self.history.in_flight:
            time.sleep(0.0005)
        return False

    def _upload_until_dead(self, server: Server) -> None:
        while not self._dead.is_set():
            filename, data = self._new_package()
            self.history.sent[filename] = data
            self.history.in_flight.add(filename)
            try:
                status = self._upload(server.url, filename, data)
            except (OSError, http.client.HTTPException):
                self._dead.set()
                return
            finally:
                self.history.in_flight.discard(filename)
            if status != http.HTTPStatus.CREATED:
                raise CrashFailure(f"upload of {filename} was answered {status}")
            self.history.acknowledged.add(filename)

    def _new_package(self) -> tuple[str, bytes]:
        number = next(self._numbers)
        size = 1_000_000 if number % 7 == 0 else 1_000
        path = build_package(
            self._scratch,
            name=f"name{number % 13}",
            version=str(number),
            files={"share/payload": os.urandom(size)},
        )
        data = path.read_bytes()
        path.unlink()
        return path.name, data

    def _upload(self, url: str, filename: str, data: bytes) -> int:
        digest = hashlib.sha256(data).hexdigest()
        path = f"/api/channels/{CHANNEL}/upload/{filename}?sha256={digest}"
        return self._request(url, "POST", path, data)[0]

    def _send_again(self, server: Server, filename: str) -> None:
        status = self._upload(server.url, filename, self.history.sent[filename])
        if status not in {http.HTTPStatus.OK, http.HTTPStatus.CREATED}:
            raise CrashFailure(f"{filename} was sent again and answered {status}")
        self.history.acknowledged.add(filename)

    def _request(self, url: str, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
        try:
            headers = {"X-API-Key": self._key, "Content-Type": "application/json"}
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def _get(self, server: Server, path: str) -> bytes:
        status, body = self._request(server.url, "GET", path)
        if status != http.HTTPStatus.OK:
            raise CrashFailure(f"{path} was answered {status}")
        return body

    def _read_index(self, server: Server) -> Mapping[str, Mapping[str, object]]:
        folder = f"{server.url}/get/{CHANNEL}/{SUBDIR}/"
        records = read_all(lambda url: self._get(server, urlsplit(url).path), folder)
        self._read_repodata(server)
        return records

    def _read_repodata(self, server: Server) -> set[str]:
        packed = self._get(server, f"/get/{CHANNEL}/{SUBDIR}/repodata.json.zst")
        document = msgspec.json.decode(zstandard.ZstdDecompressor().decompress(packed))
        return set(document["packages.conda"])

    def _wait_until_listed(self, server: Server, filenames: set[str]) -> None:
        deadline = time.monotonic() + QUIET_SECONDS
        while True:
            missing = filenames - self._read_repodata(server)
            missing |= filenames - set(self._read_index(server))
            if not missing:
                return
            if time.monotonic() > deadline:
                raise CrashFailure(f"acknowledged, and not listed: {sorted(missing)[:5]}")
            time.sleep(0.05)

    def _check_bytes(self, server: Server) -> None:
        for filename, record in self._read_index(server).items():
            data = self._get(server, f"/get/{CHANNEL}/{SUBDIR}/{filename}")
            if data != self.history.sent[filename]:
                raise CrashFailure(f"{filename} is served with other bytes than were sent")
            if record["sha256"] != hashlib.sha256(data).digest():
                raise CrashFailure(f"the record of {filename} has another hash than its file")


def create_deployment(path: Path) -> str:
    """Create a deployment on SQLite, and return the key of its owner."""
    command = [sys.executable, "-m", "quetz", "create", str(path), "--dev"]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    line = next(line for line in output.splitlines() if line.startswith("QUETZ_API_KEY="))
    return line.partition("=")[2]


@contextlib.contextmanager
def _environment(**variables: str) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
