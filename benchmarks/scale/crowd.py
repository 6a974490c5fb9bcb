"""A thousand readers for a minute, with uploads going on: nothing fails, nothing is torn."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import sha256

import msgspec

from benchmarks import limits
from benchmarks.client import connected, get
from benchmarks.figures import Figure
from benchmarks.scale.bench import Bench, Channel
from benchmarks.scale.readers import Plan, Tally, percentile
from benchmarks.servers import Running, wait_until_published

RECORDS = 100_000
READERS = 1_000
SECONDS = 60
PACKAGES = 20
UPLOAD_SECONDS = 0.5
HEALTH_SECONDS = 0.05

NAMES = {"index": "a shard index", "304": "a 304"}
Beside = Callable[[Running, Channel, threading.Event], object]


def measure(bench: Bench, records: int = RECORDS, beside: Beside | None = None) -> Iterator[Figure]:
    """Let ``beside`` run in a thread of its own, until its event is set."""
    channel = bench.channel(records)
    with bench.server() as server:
        plan = _plan(bench, server, channel)
        over = threading.Event()
        with _readers(plan) as read, ThreadPoolExecutor(3) as others:
            if beside is not None:
                others.submit(beside, server, channel, over)
            uploading = others.submit(_upload, bench, server, channel, over)
            looking = others.submit(_look_at_health, server, over)
            try:
                tally = read()
            finally:
                over.set()
        yield from _figures(plan, tally, uploading.result(), looking.result())


def _plan(bench: Bench, server: Running, channel: Channel) -> Plan:
    packages = {}
    with connected(server.port) as connection:
        for name in list(channel.sizes)[:PACKAGES]:
            package = bench.pack(name)
            path = f"{channel.folder}/{package.filename}"
            packages[path] = sha256(package.path.read_bytes()).hexdigest()
            bench.upload(connection, channel, package)
    wait_until_published(bench.deployment)
    return Plan(
        port=server.port,
        folder=channel.folder,
        clients=bench.scaled(READERS, 20),
        seconds=bench.scaled(SECONDS, 5),
        packages=packages,
        records=channel.records + len(packages),
    )


@contextmanager
def _readers(plan: Plan) -> Iterator[Callable[[], Tally]]:
    """Give what lets the readers read, who are in a process of their own and connected."""
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.scale.readers"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:

        def tell(line: bytes) -> bytes:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(line + b"\n")
            process.stdin.flush()
            return process.stdout.readline()

        assert tell(msgspec.json.encode(plan)) == b"ready\n"
        yield lambda: msgspec.json.decode(tell(b""), type=Tally)


def _upload(bench: Bench, server: Running, channel: Channel, over: threading.Event) -> int:
    """Upload one now and then; return how many."""
    names = list(channel.sizes)
    count = 0
    with connected(server.port) as connection:
        while not over.wait(UPLOAD_SECONDS):
            bench.upload(connection, channel, bench.pack(bench.chance.choice(names)))
            count += 1
    return count


def _look_at_health(server: Running, over: threading.Event) -> list[float]:
    """Return how many milliseconds each answer took."""
    taken = []
    request = get("/health/live")
    with connected(server.port) as connection:
        while not over.wait(HEALTH_SECONDS):
            taken.append(limits.seconds(lambda: connection.ask(request).expect(200)) * 1e3)
    return taken


def _figures(plan: Plan, tally: Tally, uploads: int, health: list[float]) -> Iterator[Figure]:
    who = f"{plan.clients:,} readers for {plan.seconds:.0f} s"
    answers = ", ".join(f"{count:,} x {kind}" for kind, count in sorted(tally.answers.items()))
    first = "".join(f"; {fault}" for fault in [*tally.errors[:1], *tally.torn[:1]])
    basis = f"{answers}; {uploads} uploads{first}"
    yield Figure(f"{who}: requests that failed", [len(tally.errors)], "requests", 0, basis)
    basis = f"{tally.bodies} different repodata.json.zst"
    yield Figure(f"{who}: bodies that were torn", [len(tally.torn)], "bodies", 0, basis)
    for kind, goal in (("index", 250), ("304", 50)):
        basis = f"{tally.answers[kind]:,} answers; {plan.records:,} records"
        yield Figure(f"{who}: p99 of {NAMES[kind]}", [tally.p99[kind]], "ms", goal, basis)
    p99 = percentile(health, 0.99)
    basis = f"{len(health)} answers on a connection of its own"
    yield Figure(f"{who}: p99 of /health/live", [p99], "ms", 100, basis)
