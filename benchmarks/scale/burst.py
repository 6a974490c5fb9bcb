"""Five hundred uploads from several clients at once: how often indexes flip, and when all show."""

import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

from benchmarks.client import connected
from benchmarks.figures import Figure
from benchmarks.records import SUBDIR
from benchmarks.scale.adding import check_shown
from benchmarks.scale.bench import Bench, Channel, Package
from benchmarks.servers import Running, wait_until_published
from quetz.services.publishing import REPODATA

RECORDS = 100_000
UPLOADS = 500
CLIENTS = 8
LOOK_SECONDS = 0.02

Flips = list[tuple[int, int]]
"""The number of a generation, and when it was published, in Unix milliseconds."""


def measure(bench: Bench) -> Iterator[Figure]:
    channel = bench.channel(RECORDS)
    names = list(channel.sizes)[: bench.scaled(UPLOADS, 20)]
    packages = [bench.pack(name) for name in names]
    with bench.server() as server:
        with _watched(bench, channel) as flips:
            began = time.time()
            _upload(bench, server, channel, packages)
            last = time.time()
            wait_until_published(bench.deployment)
            shown = time.time() - last
        with connected(server.port) as connection:
            check_shown(connection, channel, *packages)
    for package in packages:
        package.path.unlink()
    basis = f"{len(packages)} uploads from {CLIENTS} clients in {last - began:.1f} s"
    yield _flip_rate(channel, flips, basis)
    name = f"burst in {channel}: from the last 201 until all forms show all"
    yield Figure(name, [shown], "s", 2, basis)


def _upload(bench: Bench, server: Running, channel: Channel, packages: Sequence[Package]) -> None:
    requests = [bench.upload_request(channel, package) for package in packages]

    def upload(some: Sequence[bytes]) -> None:
        with connected(server.port) as connection:
            for request in some:
                connection.ask(request).expect(201)

    with ThreadPoolExecutor(CLIENTS) as clients:
        list(clients.map(upload, [requests[number::CLIENTS] for number in range(CLIENTS)]))


@contextmanager
def _watched(bench: Bench, channel: Channel) -> Iterator[Flips]:
    """Note each generation of the json family meanwhile."""
    flips: Flips = []
    over = threading.Event()

    def watch() -> None:
        with closing(sqlite3.connect(bench.deployment / "quetz.sqlite")) as database:
            before = _generation(database, channel)
            is_over = False
            while not is_over:
                is_over = over.wait(LOOK_SECONDS)  # and look once more after that
                now = _generation(database, channel)
                if now != before:
                    flips.append(now)
                    before = now

    with ThreadPoolExecutor(1) as watcher:
        watching = watcher.submit(watch)
        try:
            yield flips
        finally:
            over.set()
        watching.result()


def _generation(database: sqlite3.Connection, channel: Channel) -> tuple[int, int]:
    query = (
        "SELECT generation, published_at FROM index_state"
        " WHERE channel_id = ? AND subdir = ? AND family = ?"
    )
    found: tuple[int, int] = database.execute(query, (channel.id, SUBDIR, REPODATA)).fetchone()
    return found


def _flip_rate(channel: Channel, flips: Flips, basis: str) -> Figure:
    """Count the flips after the first one, by the time since that."""
    name = f"burst in {channel}: flips of the json family a second"
    (oldest, first), (newest, last) = flips[0], flips[-1]
    rate = (newest - oldest) / max((last - first) / 1e3, 1)
    basis = f"{newest - oldest + 1} flips; {basis}"
    return Figure(name, [rate], "a second", 3, basis)
