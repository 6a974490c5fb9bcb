"""Lets the server or a command of one deployment die, and checks what is left.

One round: start it with a crash point, ask for changes until it dies, start it again, and hold
what it serves against what it had acknowledged.
"""

import hashlib
import http.client
import itertools
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

import msgspec
import zstandard
from sqlalchemy import URL, text

from quetz.deployment import Deployment, database_url
from quetz.services.publishing import list_marked
from quetz.settings import load_settings
from quetz.testing.crashes.histories import Change, History, Place, Request, State, States
from quetz.testing.databases import create_database
from quetz.testing.packages import build_package
from quetz.testing.servers import Server, doomed_server, spawned_server
from quetz.testing.shard_reader import read_all
from quetz.worker.checks.findings import Finding, Severity
from quetz.worker.fsck import check_deployment

CHANNEL = "crash"
SUBDIR = "noarch"
CLIENTS = 2
REACHED_SECONDS = 60.0
QUIET_SECONDS = 60.0
REPAIRED = 1
"""What ``quetz fsck`` ends with when it mended all it found."""

Act = Callable[["Driver"], object]


class CrashFailure(AssertionError):
    """The deployment lost what was acknowledged, or has what is broken."""


class Driver:
    """Asks one deployment for changes, through any number of crashes.

    ``url`` is that of the server that runs at the moment.
    """

    def __init__(self, path: Path, key: str, scratch: Path, *, seed: int = 20261122) -> None:
        self.path = path
        self.key = key
        self.scratch = scratch
        self.history = History()
        self.random = random.Random(seed)
        self.url = ""
        self.last_command: list[str] = []
        self._numbers = itertools.count(1)

    # Changes that clients ask for

    def new_file(self, size: int = 200) -> tuple[str, bytes]:
        """Return a package that nobody has, and its name."""
        return self.build(f"name{next(self._numbers)}", size=size)

    def build(
        self,
        name: str,
        version: str = "1.0",
        *,
        size: int = 200,
        files: Mapping[str, bytes] = MappingProxyType({}),
    ) -> tuple[str, bytes]:
        """Return the name of a package's file, and bytes that differ each time."""
        folder = self.scratch / f"{threading.get_ident()}"
        folder.mkdir(parents=True, exist_ok=True)
        payload = {"share/payload": os.urandom(size), **files}
        path = build_package(folder, name=name, version=version, files=payload)
        data = path.read_bytes()
        path.unlink()
        return path.name, data

    def number(self) -> int:
        return next(self._numbers)

    def attempt(self, change: Change) -> bool:
        """Send a change, and say whether it was answered."""
        return self.history.attempt(change, lambda request: self.request(request)[0])

    def try_to_get(self, path: str, headers: Mapping[str, str] = MappingProxyType({})) -> None:
        """Read from a server that may die of it."""
        with suppress(OSError, http.client.HTTPException):
            self.request(Request("GET", path), headers)

    def request(
        self, request: Request, headers: Mapping[str, str] = MappingProxyType({})
    ) -> tuple[int, bytes]:
        """Return the status and the body of the answer."""
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=30)
        try:
            ours = {"X-API-Key": self.key, "Content-Type": request.content_type}
            connection.request(request.method, request.path, request.body, ours | dict(headers))
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def change_rows(self, statement: str) -> None:
        """Change the database behind the back of the server."""
        with (
            closing(Deployment.open(self.path)) as deployment,
            deployment.transaction(write=True) as session,
        ):
            session.execute(text(statement))

    def make_channel(self, name: str, **settings: object) -> int:
        """Create a public channel, unless there is one of the name; return the status."""
        body = msgspec.json.encode({"name": name, "private": False, **settings})
        status, _ = self.request(Request("POST", "/api/channels", body, "application/json"))
        if status not in {http.HTTPStatus.CREATED, http.HTTPStatus.CONFLICT}:
            raise CrashFailure(f"channel {name} was not created: {status}")
        return status

    # Crashes

    @contextmanager
    def serving(self) -> Iterator[Server]:
        """Run a server that nothing stops; in the end it is killed."""
        with doomed_server(self.path) as server:
            self.url = server.url
            yield server

    def crash_server(self, point: str, act: Act | None, hits: int = 1) -> bool:
        """Start the server and act until it dies of the point; say whether it did.

        Whichever of its processes dies, the others are killed a moment later.
        """
        log = self.path.with_name(f"{self.path.name}.log")
        start = log.stat().st_size if log.exists() else 0
        reached = threading.Event()
        with spawned_server(self.path, QUETZ_CRASHPOINT=f"{point}:{hits}") as server:
            self.url = server.url
            threads = [
                threading.Thread(target=self._act_until, args=(act, reached))
                for _ in range(CLIENTS if act else 0)
            ]
            landed = _wait_for(log, start, point, server, threads)
            reached.set()
        for thread in threads:
            if thread.ident is not None:
                thread.join()
        return landed

    def crash_command(self, point: str, arguments: Iterable[str], hits: int = 1) -> bool:
        """Run a command that shall die of the point; say whether it did."""
        done = self.run(*arguments, QUETZ_CRASHPOINT=f"{point}:{hits}")
        return done.returncode == -signal.SIGKILL and _told(point) in done.stderr

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run ``python -m ...``, such as ``quetz gc``."""
        command = [sys.executable, "-m", *arguments]
        environment = os.environ | variables
        return subprocess.run(
            command, capture_output=True, text=True, check=False, env=environment, timeout=120
        )

    def run_well(self, *arguments: str) -> None:
        """Run a command.

        Raises:
            CrashFailure: it fails.
        """
        done = self.run(*arguments)
        if done.returncode not in {0, REPAIRED}:
            raise CrashFailure(f"{arguments} ends with {done.returncode}: {done.stderr[-500:]}")

    def run_again(self) -> None:
        """Run the command that died; now it has done what it shall do."""
        self.run_well(*self.last_command)
        for change in list(self.history.unanswered):
            if change.request is None:
                self.history.settle(change)

    def new_database(self, beside: URL) -> URL:
        """Make an empty database on the server of another."""
        return create_database(beside, f"{beside.database}_{self.number()}")

    def accept(self) -> None:
        """Take what is there for what should be, after a fault was found."""
        with self.serving():
            self.history.settled |= dict.fromkeys(self._places()) | dict(self.look())
            self.history.unanswered.clear()

    def _places(self) -> set[Place]:
        return {
            *self.history.settled,
            *itertools.chain(*(c.after for c in self.history.unanswered)),
        }

    def _act_until(self, act: Act | None, reached: threading.Event) -> None:
        assert act is not None
        while not reached.is_set():
            before = len(self.history.unanswered)
            act(self)
            if len(self.history.unanswered) > before:
                reached.wait(0.05)  # it died, and the log is about to say of what

    # Checks

    def check(self, *, full: bool = False) -> None:
        """Hold what the running server has against the history, then ask again.

        With ``full`` each file of the history is read, else those of the last changes.

        Raises:
            CrashFailure: saying what is lost or broken.
        """
        self._read_indexes()  # must be whole from the first answer on
        self.become_quiet()
        self._check_deployment()
        changes = list(self.history.unanswered)
        touched = {place for change in changes for place in change.after}
        self._compare(None if full else touched)
        for change in changes:
            if change.request is None:
                continue
            status, _ = self.request(change.request)
            if status not in change.again:
                raise CrashFailure(f"{change.request.path} was asked again and answered {status}")
            self.history.settle(change)
        if changes:
            self.become_quiet()
            self._compare(touched)

    def look(self, places: Iterable[Place] | None = None) -> States:
        """Return the states of all files that the history knows; bytes are read of ``places``."""
        known = self._places()
        listed = self._listed({place.channel for place in known})
        wanted = known if places is None else set(places)
        return {
            place: self._read(place, listed) if place in wanted else listed[place]
            for place in known
            if place in wanted or place in listed
        }

    def _read(self, place: Place, listed: States) -> State | None:
        status, body = self.request(Request("GET", f"/get/{'/'.join(place)}"))
        if status == http.HTTPStatus.NOT_FOUND:
            return listed.get(place)
        if status != http.HTTPStatus.OK:
            raise CrashFailure(f"{'/'.join(place)} was answered {status}")
        sha256 = hashlib.sha256(body).hexdigest()
        record = listed.get(place)
        if record is not None and record.sha256 != sha256:
            raise CrashFailure(f"the record of {'/'.join(place)} has another hash than its file")
        return State(sha256, offered=record is not None)

    def _listed(self, channels: Iterable[str]) -> dict[Place, State]:
        found = {}
        for channel in channels:
            for filename, sha256 in self._repodata(channel).items():
                found[Place(channel, SUBDIR, filename)] = State(sha256)
        return found

    def _repodata(self, channel: str) -> dict[str, str]:
        path = f"/get/{channel}/{SUBDIR}/repodata.json.zst"
        status, packed = self.request(Request("GET", path))
        if status == http.HTTPStatus.NOT_FOUND:
            return {}  # the channel was deleted
        if status != http.HTTPStatus.OK:
            raise CrashFailure(f"{path} was answered {status}")
        document = msgspec.json.decode(zstandard.ZstdDecompressor().decompress(packed))
        return {name: row["sha256"] for name, row in document["packages.conda"].items()}

    def _read_indexes(self) -> None:
        self._repodata(CHANNEL)
        read_all(self._get, f"{self.url}/get/{CHANNEL}/{SUBDIR}/")

    def _get(self, url: str) -> bytes:
        status, body = self.request(Request("GET", urlsplit(url).path))
        if status != http.HTTPStatus.OK:
            raise CrashFailure(f"{url} was answered {status}")
        return body

    def become_quiet(self) -> None:
        """Return once everything is published."""
        deadline = time.monotonic() + QUIET_SECONDS
        with closing(Deployment.open(self.path)) as deployment:
            while True:
                with deployment.transaction() as session:
                    marked = list_marked(session)
                if not marked:
                    return
                if time.monotonic() > deadline:
                    raise CrashFailure(f"nobody publishes {marked}")
                time.sleep(0.02)

    def _check_deployment(self) -> None:
        faults = fsck(self.path)
        if faults:
            raise CrashFailure(f"fsck: {faults[:5]}")

    def _compare(self, places: Iterable[Place] | None) -> None:
        faults = self.history.faults(self.look(places))
        if faults:
            raise CrashFailure("; ".join(faults[:5]))


def database_of(path: Path) -> URL:
    """Return the URL of a deployment's database."""
    return database_url(path, load_settings(path))


def fsck(path: Path) -> list[str]:
    """Return the errors that ``quetz fsck --deep`` finds."""
    faults = []

    def tell(finding: Finding, _mended: bool) -> None:  # noqa: FBT001 - as fsck calls it
        if finding.severity is Severity.ERROR:
            faults.append(f"{finding.invariant} {finding.subject}: {finding.what}")

    with closing(Deployment.open(path)) as deployment:
        check_deployment(deployment, deep=True, repair=False, tell=tell, watch=lambda *_: None)
    return faults


def _told(point: str) -> str:
    return f"died at crash point {point}\n"


def _wait_for(
    log: Path, start: int, point: str, server: Server, threads: list[threading.Thread]
) -> bool:
    """Say whether the log tells of the point in time; threads start once the server is ready."""
    deadline = time.monotonic() + REACHED_SECONDS
    told, waiting = _told(point).encode(), list(threads)
    while time.monotonic() < deadline:
        with log.open("rb") as file:
            file.seek(start)
            if told in file.read():
                return True
        if waiting and server.is_ready():
            for thread in waiting:
                thread.start()
            waiting = []
        time.sleep(0.02)
    return False


def create_deployment(path: Path, database_url: str = "") -> str:
    """Create a deployment, on SQLite unless a URL is given, and return the key of its owner."""
    if database_url:
        path.mkdir()
        (path / "config.toml").write_text(
            "[general]\ndev = true\n[session]\nhttps_only = false\n"
            f'[sqlalchemy]\ndatabase_url = "{database_url}"\n'
        )
    command = [sys.executable, "-m", "quetz", "create", str(path), "--dev"]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = re.search(r"^QUETZ_API_KEY=(\S+)", output, re.MULTILINE)
    assert found is not None, output
    return found[1]
