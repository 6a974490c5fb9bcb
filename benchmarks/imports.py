"""Imports: from a folder of small packages to a channel that clients see, in all index forms."""

import random
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread

from benchmarks.figures import Figure, ratio
from benchmarks.records import SUBDIR, builds
from benchmarks.servers import create_deployment
from quetz.testing.packages import build_package

COUNT = 10_000
PAYLOAD = 8_600
"""Bytes that do not compress: with its metadata, a package has 10 KB."""

CHANNEL = "imported"
POLL_SECONDS = 0.01
WRITER_SECONDS = 0.05

INDEX = """\
import asyncio, os, sys
from rattler.index import index_fs
asyncio.run(index_fs(sys.argv[1]))
os._exit(0)  # py-rattler 0.28 was seen to abort when the interpreter ends by itself
"""


@dataclass
class Times:
    """Seconds of each round."""

    published: list[float] = field(default_factory=list)
    committed: list[float] = field(default_factory=list)
    again: list[float] = field(default_factory=list)
    indexed: list[float] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)


def measure(folder: Path, rounds: int) -> list[Figure]:
    source = folder / "source"
    size = write_packages(source, COUNT)
    times = Times()
    for number in range(rounds):
        deployment = folder / f"deployment-{number}"
        create_deployment(deployment)
        times.indexed.append(_index(source))
        _import(source, deployment, size, times)
        busy = folder / f"busy-{number}"
        create_deployment(busy)
        with _writing(busy / "quetz.sqlite") as waits:
            _run_import(source, busy)
        times.waits.append(max(waits) * 1e3)
    return _figures(times)


def write_packages(source: Path, count: int) -> int:
    """Write a static channel without repodata; return how many bytes its packages have."""
    chance = random.Random(1)
    (source / "noarch").mkdir(parents=True)
    (source / SUBDIR).mkdir()
    size = 0
    for build in builds(count):
        record = build.record
        path = build_package(
            source / SUBDIR,
            record["name"],
            record["version"],
            record["build"],
            build_number=record["build_number"],
            subdir=SUBDIR,
            depends=record["depends"],
            constrains=record["constrains"],
            files={"share/payload": chance.randbytes(PAYLOAD)},
            license=record["license"],
            license_family=record["license_family"],
        )
        size += path.stat().st_size
    return size


def _index(source: Path) -> float:
    """Index the folder as if for the first time, and take the indexes away."""
    took = _seconds(lambda: _run([sys.executable, "-c", INDEX, str(source)]))
    for path in [*source.glob("*/*"), source / ".tmp"]:
        if path.is_dir():
            shutil.rmtree(path)
        elif not path.name.endswith(".conda"):
            path.unlink(missing_ok=True)
    return took


def _import(source: Path, deployment: Path, size: int, times: Times) -> None:
    """Import, and see when the last file is committed; then once more, which changes nothing."""
    began = time.perf_counter()
    with subprocess.Popen(_command(source, deployment), stderr=subprocess.DEVNULL) as command:
        with closing(sqlite3.connect(deployment / "quetz.sqlite")) as database:
            while command.poll() is None:
                [(stored,)] = database.execute(
                    "SELECT coalesce(sum(size), 0) FROM channels WHERE name = ?", (CHANNEL,)
                )
                if stored == size:
                    break
                time.sleep(POLL_SECONDS)
        times.committed.append(time.perf_counter() - began)
    times.published.append(time.perf_counter() - began)
    assert command.returncode == 0
    times.again.append(_seconds(lambda: _run_import(source, deployment)))


def _run_import(source: Path, deployment: Path) -> None:
    _run(_command(source, deployment))


def _command(source: Path, deployment: Path) -> list[str]:
    command = [sys.executable, "-m", "quetz", "import", "--create"]
    return [*command, str(source), CHANNEL, str(deployment)]


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True)


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


@contextmanager
def _writing(database: Path) -> Iterator[list[float]]:
    """Write now and then meanwhile; give how many seconds each write had to wait."""
    waits: list[float] = []
    stopping = Event()

    def write() -> None:
        with closing(sqlite3.connect(database, isolation_level=None, timeout=30)) as connection:
            while not stopping.wait(WRITER_SECONDS):
                began = time.perf_counter()
                connection.execute("BEGIN IMMEDIATE")
                waits.append(time.perf_counter() - began)
                connection.execute("COMMIT")

    writer = Thread(target=write)
    writer.start()
    try:
        yield waits
    finally:
        stopping.set()
        writer.join()


def _figures(times: Times) -> list[Figure]:
    against = "rattler-index 0.28, first run on the same folder; both as commands"
    return [
        ratio(
            "import of 10,000 packages of 10 KB, until all indexes are published",
            times.published,
            times.indexed,
            goal=1,
            unit="s",
            against=against,
        ),
        ratio(
            "the same, until all rows are committed",
            times.committed,
            times.indexed,
            unit="s",
            against=against,
        ),
        Figure("the same import once more, which changes nothing", times.again, "s"),
        Figure(
            "longest wait of another writer on SQLite meanwhile",
            times.waits,
            "ms",
            100,
            "one every 50 ms",
        ),
    ]
