"""Use a server in all ways for an hour, and see whether it grows: ``python -m benchmarks.soak``."""

import argparse
import itertools
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

import msgspec
import psycopg
from sqlalchemy.engine import URL

from benchmarks.client import Answer, UnexpectedAnswer, connected, get, post
from benchmarks.crash.places import DATABASES, deployed
from benchmarks.figures import Figure
from benchmarks.machine import Session, Usage
from benchmarks.report import report_campaign
from quetz.testing.crashes.driver import database_of
from quetz.testing.packages import build_package
from quetz.testing.servers import running_server

MINUTES = 60.0
CHANNEL = "soak"
FOLDER = f"/get/{CHANNEL}/noarch"
NAMES = 40
FILES = 300
"""How many the channel has: whatever comes beyond pushes the oldest out."""
CLIENTS = 6
PAUSE_SECONDS = 0.05
"""Between two requests of a client, on average."""
SAMPLES = 240
LEAST_SAMPLE_SECONDS = 1.0
WARM_UP = 0.25
COMMANDS = (("gc",), ("fsck", "--deep"))
COMMAND_SECONDS = 20.0
MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class Sample:
    at: float
    processes: dict[int, Usage]
    connections: int


@dataclass
class Load:
    """What the clients share: the files there are, and what came of the requests."""

    port: int
    key: str
    folder: Path
    over: threading.Event = field(default_factory=threading.Event)
    statuses: Counter[int] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    commands: Counter[int] = field(default_factory=Counter)
    _files: deque[str] = field(default_factory=deque)
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def work(self, number: int) -> None:
        """Be one client, until it is over."""
        chance = random.Random(number)
        kinds: dict[Callable[[random.Random], None], int] = {
            self._upload: 10,
            self._replace: 3,
            self._read_index: 30,
            self._read_again: 20,
            self._read_package: 15,
            self._list: 6,
            self._use_a_key: 2,
        }
        while not self.over.wait(chance.random() * 2 * PAUSE_SECONDS):
            [kind] = chance.choices(list(kinds), list(kinds.values()))
            try:
                kind(chance)
            except (UnexpectedAnswer, OSError) as error:
                self.faults.append(f"{kind.__name__}: {error!r}")
            with self._lock:
                self.kinds[kind.__name__.strip("_").replace("_", " ")] += 1

    def run_commands(self, deployment: Path) -> None:
        for command in itertools.cycle(COMMANDS):
            if self.over.wait(COMMAND_SECONDS):
                return
            self._run(deployment, *command)

    def check(self, deployment: Path) -> None:
        self._run(deployment, "fsck", "--deep")

    def _run(self, deployment: Path, name: str, *options: str) -> None:
        line = [sys.executable, "-m", "quetz", name, str(deployment), *options]
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        self.commands[done.returncode] += 1
        if done.returncode:
            self.faults.append(f"{name}: {done.stdout[-500:]} {done.stderr[-500:]}")

    def _ask(self, request: bytes, *statuses: int) -> Answer:
        with connected(self.port) as connection:
            answer = connection.ask(request)
        with self._lock:
            self.statuses[answer.status] += 1
        return answer.expect(*statuses)

    def _head(self, method: str, path: str) -> bytes:
        return get(path, X_API_Key=self.key).replace(b"GET", method.encode(), 1)

    def _upload(self, chance: random.Random) -> None:
        name = f"name{chance.randrange(NAMES)}"
        filename = f"{name}-{next(self._numbers)}-0.conda"
        self._send(filename, chance)
        with self._lock:
            self._files.append(filename)
            oldest = self._files.popleft() if len(self._files) > FILES else None
        if oldest is not None:
            package = oldest.partition("-")[0]
            path = f"/api/channels/{CHANNEL}/packages/{package}/versions/noarch/{oldest}"
            self._ask(self._head("DELETE", path), 200)

    def _replace(self, chance: random.Random) -> None:
        # It may have been deleted meanwhile, and is then brought back with other bytes.
        if (filename := self._pick(chance)) is not None:
            self._send(filename, chance)

    def _send(self, filename: str, chance: random.Random) -> None:
        name, version, _ = filename.split("-")
        payload = {"share/payload": chance.randbytes(chance.choice([500, 20_000, 300_000]))}
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            body = build_package(Path(folder), name, version, files=payload).read_bytes()
        wait = chance.choice(["", "&wait_for_index=5"])
        path = f"/api/channels/{CHANNEL}/upload/{filename}?force=true{wait}"
        self._ask(post(path, len(body), X_API_Key=self.key) + body, 201)

    def _pick(self, chance: random.Random) -> str | None:
        with self._lock:
            # Not of the oldest, which go soon.
            return chance.choice(list(self._files)[20:]) if len(self._files) > 50 else None

    def _read_index(self, chance: random.Random) -> None:
        self._ask(self._index(chance), 200)

    def _index(self, chance: random.Random, **headers: str) -> bytes:
        form = chance.choice(
            [
                *["repodata.json", "repodata.json.zst", "repodata.json.gz"],
                *["repodata_shards.msgpack.zst", "run_exports.json", "../channeldata.json"],
            ]
        )
        path = f"{FOLDER}/{form}".replace("noarch/../", "")
        encoding = chance.choice(["identity", "gzip", "zstd"])
        return get(path, Accept_Encoding=encoding, **headers)

    def _read_again(self, chance: random.Random) -> None:
        state = chance.getstate()
        etag = self._ask(self._index(chance), 200).etag.decode()
        chance.setstate(state)
        self._ask(self._index(chance, If_None_Match=etag), 200, 304)

    def _read_package(self, chance: random.Random) -> None:
        if (filename := self._pick(chance)) is not None:
            self._ask(get(f"{FOLDER}/{filename}", X_API_Key=self.key), 200, 404)

    def _list(self, chance: random.Random) -> None:
        name = f"name{chance.randrange(NAMES)}"
        path = chance.choice(
            [
                f"/api/packages/search/?q={name}",
                "/api/channels/search/?q=so",
                f"/api/channels/{CHANNEL}/packages",
                f"/api/paginated/channels/{CHANNEL}/packages?q={name}",
                f"/api/channels/{CHANNEL}",
                f"{FOLDER}/",
                "/api/api-keys",
            ]
        )
        self._ask(self._head("GET", path), 200)

    def _use_a_key(self, _chance: random.Random) -> None:
        body = b'{"description": "for a moment", "roles": []}'
        made = self._ask(post("/api/api-keys", len(body), X_API_Key=self.key) + body, 201)
        key = msgspec.json.decode(made.body)["key"]
        self._ask(get("/api/api-keys", X_API_Key=key), 200)
        self._ask(self._head("DELETE", f"/api/api-keys/{key}"), 200)


def measure(folder: Path, database: str, minutes: float) -> Iterator[Figure]:
    with ExitStack() as opened:
        driver = opened.enter_context(deployed(database, folder / database))
        server = opened.enter_context(running_server(driver.path))
        load = Load(urlsplit(server.url).port or 0, driver.key, folder)
        load._ask(_channel(driver.key), 201)
        with _loaded(load, driver.path):
            session = Session(server.process.pid)
            samples = list(_samples(session, database_of(driver.path), minutes * 60))
        load.check(driver.path)
    began = samples[0].at + WARM_UP * minutes * 60
    yield from _figures(load, [sample for sample in samples if sample.at >= began])


def _channel(key: str) -> bytes:
    body = msgspec.json.encode({"name": CHANNEL, "private": False})
    return post("/api/channels", len(body), X_API_Key=key, Content_Type="application/json") + body


@contextmanager
def _loaded(load: Load, deployment: Path) -> Iterator[None]:
    with ThreadPoolExecutor(CLIENTS + 1) as threads:
        running: list[Future[None]] = [
            threads.submit(load.work, number) for number in range(CLIENTS)
        ]
        running.append(threads.submit(load.run_commands, deployment))
        try:
            yield
        finally:
            load.over.set()
        for one in running:
            one.result()


def _samples(session: Session, url: URL, seconds: float) -> Iterator[Sample]:
    pause = max(seconds / SAMPLES, LEAST_SAMPLE_SECONDS)
    ends = time.monotonic() + seconds
    while (now := time.monotonic()) < ends:
        usage = session.usage()
        yield Sample(now, usage, _count_connections(usage, url))
        time.sleep(pause)


def _count_connections(usage: dict[int, Usage], url: URL) -> int:
    """Count the server's connections to its database: on SQLite, how often it is open."""
    if url.get_backend_name() == "sqlite":
        return sum(file.endswith("/quetz.sqlite") for one in usage.values() for file in one.files)
    address = url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(address) as connection:
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        [count] = connection.execute(query).fetchone() or [0]
    return int(count)


def _figures(load: Load, samples: Sequence[Sample]) -> Iterator[Figure]:
    asked = ", ".join(f"{count:,} x {kind}" for kind, count in sorted(load.kinds.items()))
    alive = sorted(set.intersection(*(set(sample.processes) for sample in samples)))
    for number, pid in enumerate(alive):
        sizes = [(sample.at, sample.processes[pid].anonymous) for sample in samples]
        slope = _slope(sizes) * 3600 / MEBIBYTE
        first, last = (sizes[end][1] / MEBIBYTE for end in (0, -1))
        basis = f"{len(sizes)} samples, from {first:.1f} to {last:.1f} MiB"
        name = f"REL-29 growth of the memory of process {number + 1} of {len(alive)}"
        yield Figure(name, [slope], "MiB/h", 1, basis)
    files = [sum(len(one.files) for one in sample.processes.values()) for sample in samples]
    yield _growth("REL-29 descriptors that are left behind", files)
    connections = [sample.connections for sample in samples]
    yield _growth("REL-29 connections to the database that are left behind", connections)
    errors = sum(count for status, count in load.statuses.items() if status >= 500)
    yield Figure("REL-29 answers that are 5xx", [errors], "answers", 0, asked)
    basis = f"{load.commands.total()} runs of gc and fsck --deep"
    basis += "".join(f"; {fault}" for fault in load.faults[:1])
    name = "REL-29 other answers than expected, and commands that failed"
    yield Figure(name, [len(load.faults)], "faults", 0, basis)


def _slope(points: Sequence[tuple[float, float]]) -> float:
    """Return the median slope of all pairs, which single peaks do not move (Theil and Sen)."""
    pairs = itertools.combinations(points, 2)
    return median((after - before) / (end - start) for (start, before), (end, after) in pairs)


def _growth(name: str, counts: Sequence[int]) -> Figure:
    third = max(1, len(counts) // 3)
    first, last = min(counts[:third]), min(counts[-third:])
    basis = f"at least {first}, later at least {last}; at most {max(counts)}"
    return Figure(name, [last - first], "", 0, basis)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=MINUTES, help="an hour by default")
    parser.add_argument("--database", choices=DATABASES, default="sqlite")
    parser.add_argument("--folder", type=Path, help="where to put the files: on a disk")
    options = parser.parse_args()
    command = " ".join(["python -m benchmarks.soak", *sys.argv[1:]])
    group = "soak" if options.database == "sqlite" else "soak-postgresql"
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="soak-") as name:
        measured = measure(Path(name), options.database, options.minutes)
        whole = options.minutes >= MINUTES
        return report_campaign(group, command, Path(name), measured, whole=whole)


if __name__ == "__main__":
    sys.exit(main())
