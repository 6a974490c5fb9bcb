"""A backup while clients upload, delete and overwrite, restored elsewhere and checked there."""

import contextlib
import hashlib
import http.client
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from benchmarks.crash.places import DATABASES, deployed
from benchmarks.figures import Figure
from quetz.testing.crashes import Driver
from quetz.testing.crashes.driver import database_of
from quetz.testing.packages import build_package
from quetz.testing.servers import Server, running_server

CLIENTS = 8
SECONDS = 6
CHANNEL = "backed"
REST_SECONDS = 0.05


class Load:
    """Clients of one server, and what it had acknowledged to them, by file name."""

    def __init__(self, server: Server, key: str, folder: Path) -> None:
        self.uploads: dict[str, bytes] = {}
        self.changed: set[str] = set()
        self.seconds: list[tuple[float, float]] = []
        self.failed = 0
        self._netloc = urlsplit(server.url).netloc
        self._key = key
        self._folder = folder
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=self._work, args=(number,)) for number in range(CLIENTS)
        ]

    def __enter__(self) -> Self:
        self.ask("POST", "/api/channels", json.dumps({"name": CHANNEL, "private": False}).encode())
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(self._netloc, timeout=60)
        with contextlib.closing(connection):
            headers = {"X-API-Key": self._key, "Content-Type": "application/json"}
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def _work(self, client: int) -> None:
        folder = self._folder / str(client)
        folder.mkdir()
        number = 0
        while not self._ended.wait(REST_SECONDS):
            number += 1
            name = self._upload(folder, f"name{client}", str(number))
            if number % 5 == 0:
                self.changed.add(name)
                self._delete(f"name{client}", name)
            elif number % 7 == 0:
                self.changed.add(name)
                self._upload(folder, f"name{client}", str(number), force="&force=true")

    def _upload(self, folder: Path, name: str, version: str, *, force: str = "") -> str:
        path = build_package(folder, name, version, files={"payload": os.urandom(20_000)})
        data = path.read_bytes()
        path.unlink()
        target = f"/api/channels/{CHANNEL}/upload/{path.name}"
        began = time.monotonic()
        status, _ = self.ask(
            "POST", f"{target}?sha256={hashlib.sha256(data).hexdigest()}{force}", data
        )
        self.seconds.append((began, time.monotonic() - began))
        if status == http.HTTPStatus.CREATED:
            self.uploads[path.name] = data
        else:
            self.failed += 1
        return path.name

    def _delete(self, name: str, filename: str) -> None:
        path = f"/api/channels/{CHANNEL}/packages/{name}/versions/noarch/{filename}"
        self.failed += self.ask("DELETE", path)[0] != http.HTTPStatus.OK


def measure(scale: float, folder: Path) -> Iterator[Figure]:
    """REL-28."""
    for kind in DATABASES:
        with deployed(kind, folder / kind) as driver:
            yield from _measure(kind, driver, folder / kind, scale)


def _measure(kind: str, driver: Driver, folder: Path, scale: float) -> Iterator[Figure]:
    deployment, restored, backups = driver.path, folder / "restored", folder / "backups"
    packages = folder / "packages"
    packages.mkdir()
    with running_server(deployment) as server, Load(server, driver.key, packages) as load:
        time.sleep(SECONDS * scale)
        known = dict(load.uploads)
        began = time.monotonic()
        first = _timed("backup", backups, deployment)
        ended = time.monotonic()
        time.sleep(SECONDS * scale)
        changed = set(load.changed)
        second = _timed("backup", backups, deployment)
    options = []
    if kind == "postgresql":
        other = driver.new_database(database_of(deployment))
        options = ["--database-url", other.render_as_string(hide_password=False)]
    _timed("restore", min(backups.glob("2*")), restored, *options)
    with running_server(restored, "--log-level", "warning") as server:
        faults = _lost(server, known, changed)
    check = _quetz("fsck", "--deep", "--json", restored)
    found = json.loads(check.stdout)
    before = _p99(spent for began_at, spent in load.seconds if began_at < began)
    beside = _p99(spent for began_at, spent in load.seconds if began <= began_at <= ended)
    basis = f"{len(known)} uploads before the backup, {len(load.uploads)} in all, {CLIENTS} clients"
    yield Figure(
        f"REL-28 backup under load on {kind}, restored: lost, changed or unsound",
        [faults + found["errors"] + load.failed],
        "faults",
        0,
        basis,
    )
    yield Figure(
        f"p99 of uploads during a backup on {kind}, to before",
        [beside / before],
        "x",
        basis=f"{beside * 1000:.0f} ms against {before * 1000:.0f} ms; it took {first:.2f} s",
    )
    yield Figure(f"a second backup on {kind}, to the first", [second / first], "x")


def _lost(server: Server, known: dict[str, bytes], changed: set[str]) -> int:
    """Count the files, neither deleted nor overwritten later, that are gone or other bytes."""
    lost = 0
    netloc = urlsplit(server.url).netloc
    for filename, data in known.items():
        if filename in changed:
            continue
        connection = http.client.HTTPConnection(netloc, timeout=60)
        with contextlib.closing(connection):
            connection.request("GET", f"/get/{CHANNEL}/noarch/{filename}")
            lost += connection.getresponse().read() != data
    return lost


def _timed(*arguments: object) -> float:
    began = time.monotonic()
    ended = _quetz(*arguments)
    if ended.returncode != 0:
        raise RuntimeError(f"quetz {arguments[0]} ended with {ended.returncode}: {ended.stderr}")
    return time.monotonic() - began


def _quetz(*arguments: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "quetz", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _p99(spent: Iterator[float]) -> float:
    ordered = sorted(spent)
    return ordered[int(len(ordered) * 0.99)] if ordered else 0.0
