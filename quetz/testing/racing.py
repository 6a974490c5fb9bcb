"""Clients that upload, replace, delete and read the same few files of a real server at once."""

import hashlib
import http.client
import itertools
import random
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

from quetz.testing.form_reader import read_listing, read_shard_listing
from quetz.testing.histories import File, History, Kind, OpenCall
from quetz.testing.packages import build_package

SUBDIR = "noarch"
FILENAMES = ("one-1-0.conda", "one-2-0.conda", "two-1-0.conda")
FORMS = ("repodata.json", "repodata.json.zst", "repodata.json.gz")
WEIGHTS = {Kind.UPLOAD: 3, Kind.FORCE: 3, Kind.DELETE: 2, Kind.READ: 5}
INDEX_WEIGHT = 5


class Unexplained(Exception):
    """An answer has a status that no state of the file is a reason for."""


def race(
    url: str, key: str, channel: str, *, clients: int, seconds: float, number: int = 0
) -> History:
    """Let clients ask the server at ``url`` for some time; return what they were told.

    The channel is there, and empty. ``number`` seeds what they ask for, but not in which order.
    """
    history = History()
    ends = time.monotonic() + seconds
    with ThreadPoolExecutor(clients) as threads:
        racers = [
            _Racer(url, key, channel, f"client{who}", random.Random(number * clients + who))
            for who in range(clients)
        ]
        for done in [threads.submit(racer.run, history, ends) for racer in racers]:
            done.result()
    return history


class _Racer:
    def __init__(self, url: str, key: str, channel: str, name: str, chance: random.Random) -> None:
        self._url = url
        self._headers = {"X-API-Key": key}
        self._channel = channel
        self._name = name
        self._chance = chance
        self._numbers = itertools.count()

    def run(self, history: History, ends: float) -> None:
        while time.monotonic() < ends:
            [kind] = self._chance.choices([None, *WEIGHTS], [INDEX_WEIGHT, *WEIGHTS.values()])
            if kind is None:
                self._read_index(history)
            else:
                self._call(history, kind, self._chance.choice(FILENAMES))

    def _read_index(self, history: History) -> None:
        folder = f"{self._url}/get/{self._channel}/{SUBDIR}/"
        form = self._chance.choice([*FORMS, "shards"])

        def read() -> dict[str, str]:
            if form == "shards":
                return read_shard_listing(self._fetch, folder)
            return read_listing(self._fetch, folder, form)

        history.read_index(self._name, (self._channel, SUBDIR), form, read)

    def _call(self, history: History, kind: Kind, filename: str) -> None:
        file = File(self._channel, SUBDIR, filename)
        data = self._pack(filename) if kind in {Kind.UPLOAD, Kind.FORCE} else b""
        value = hashlib.sha256(data).hexdigest() if data else None
        ask: Callable[[OpenCall, str, bytes], None] = {
            Kind.UPLOAD: self._upload,
            Kind.FORCE: self._upload,
            Kind.DELETE: self._delete,
            Kind.READ: self._read,
        }[kind]
        force = "&force=true" if kind is Kind.FORCE else ""
        with history.call(self._name, kind, file, value) as call:
            ask(call, f"{filename}?{self._wait()}{force}", data)

    def _wait(self) -> str:
        return self._chance.choice(["", "wait_for_index=20"])

    def _pack(self, filename: str) -> bytes:
        """Make other bytes each time, or those that others send, too."""
        name, version, _ = filename.split("-")
        own = f"{self._name} {next(self._numbers)}"
        content = self._chance.choice([own, own, "shared"]).encode()
        with tempfile.TemporaryDirectory() as folder:
            package = build_package(Path(folder), name, version, files={"share/who": content})
            return package.read_bytes()

    def _upload(self, call: OpenCall, path: str, data: bytes) -> None:
        where = f"/api/channels/{self._channel}/upload/{path}"
        status, headers, _ = self._ask("POST", where, data)
        self._settle(call, status, headers, refused=409)

    def _delete(self, call: OpenCall, path: str, _data: bytes) -> None:
        package = path.partition("-")[0]
        where = f"/api/channels/{self._channel}/packages/{package}/versions/{SUBDIR}/{path}"
        status, headers, _ = self._ask("DELETE", where)
        self._settle(call, status, headers, refused=404)

    def _read(self, call: OpenCall, path: str, _data: bytes) -> None:
        status, _, body = self._ask("GET", f"/get/{self._channel}/{SUBDIR}/{path}")
        if status not in {200, 404}:
            raise Unexplained(status, body)
        call.read(hashlib.sha256(body).hexdigest() if status == 200 else None)

    def _settle(
        self, call: OpenCall, status: int, headers: http.client.HTTPMessage, *, refused: int
    ) -> None:
        if status == refused:
            call.fail()
        elif status in {200, 201}:
            created = None if call.value is None else status == 201
            call.ok(created=created, waited=headers.get("Quetz-Index") == "published")
        else:
            raise Unexplained(status)

    def _fetch(self, url: str) -> tuple[str, bytes]:
        status, headers, body = self._ask("GET", urlsplit(url).path)
        if status != 200:
            raise Unexplained(url, status, body)
        return headers["ETag"], body

    def _ask(
        self, method: str, path: str, body: bytes = b""
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        connection = http.client.HTTPConnection(urlsplit(self._url).netloc, timeout=60)
        try:
            connection.request(method, path, body or None, self._headers)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()
