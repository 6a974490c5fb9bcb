"""Real clients solve from a channel of 500,000 while it is uploaded into: each solve succeeds."""

import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.client import Connection, connected
from benchmarks.figures import Figure, shown
from benchmarks.scale.bench import Bench, Channel
from benchmarks.servers import Running, wait_until_published
from quetz.testing.clients import ClientHome, create_with_conda, solve_with_rattler

RECORDS = 500_000
SECONDS = 120
CONDA_SOLVES = 2
"""At least: conda reads all of repodata.json each time."""
PATIENCE_SECONDS = 600
UPLOAD_SECONDS = 0.5

APP = "scale-app"
BASE = "scale-base"
"""Every client asks for the app, which depends on the base; of both there are ever more."""


@dataclass
class Solves:
    """What the runs of a client came to; ``solve`` returns the version that it found of the app."""

    client: str
    solve: Callable[[], str]
    taken: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    newest: int = 0

    def run(self) -> None:
        """Solve once. An older version than the last time is a fault, too."""
        started = time.perf_counter()
        try:
            found = int(self.solve().rpartition(".")[2])
        except Exception as error:  # noqa: BLE001  whatever it was, this solve failed
            self.faults.append(" ".join(str(error)[-500:].split()))
            return
        self.taken.append(time.perf_counter() - started)
        if found < self.newest:
            self.faults.append(f"version {found} after {self.newest}")
        self.newest = found

    def figure(self, basis: str) -> Figure:
        first = f"; {self.faults[0]}" if self.faults else ""
        median = shown(sorted(self.taken)[len(self.taken) // 2]) if self.taken else "none"
        basis = f"{len(self.taken)} solves, {median} s each; {basis}{first}"
        name = f"{self.client} while it is uploaded into: solves that failed"
        return Figure(name, [len(self.faults)], "solves", 0, basis)


def measure(bench: Bench) -> Iterator[Figure]:
    channel = bench.channel(RECORDS)
    with bench.server() as server:
        with connected(server.port) as connection:
            for name in (BASE, APP):
                _upload(bench, connection, channel, name)
        wait_until_published(bench.deployment)
        url = f"http://127.0.0.1:{server.port}/get/{channel.name}"
        rattler, conda = _rattler(bench.folder, url), _conda(bench.folder, url)
        ends = time.monotonic() + bench.scaled(SECONDS, 10)
        with ThreadPoolExecutor(2) as threads:
            slow = threads.submit(_repeat, conda, lambda: _is_enough(conda, ends))
            quick = threads.submit(_repeat, rattler, slow.done)
            uploads = _upload_until(slow.done, bench, server, channel)
        for run in (slow, quick):
            run.result()
    for solves in (rattler, conda):
        yield solves.figure(f"{uploads} uploads into {channel} meanwhile")


def _repeat(solves: Solves, is_over: Callable[[], bool]) -> None:
    while not is_over():
        solves.run()


def _is_enough(solves: Solves, ends: float) -> bool:
    return time.monotonic() > ends and len(solves.taken) + len(solves.faults) >= CONDA_SOLVES


def _rattler(folder: Path, url: str) -> Solves:
    home = ClientHome(folder / "rattler", PATIENCE_SECONDS)
    home.folder.mkdir()

    def solve() -> str:
        found = solve_with_rattler(home, url, APP)
        assert found.keys() == {APP, BASE}, found
        return str(found[APP]["version"])

    return Solves("py-rattler, from shards,", solve)


def _conda(folder: Path, url: str) -> Solves:
    home = ClientHome(folder / "conda", PATIENCE_SECONDS)
    home.folder.mkdir()
    prefix = folder / "environment"

    def solve() -> str:
        linked = create_with_conda(home, prefix, url, APP)
        shutil.rmtree(prefix)
        versions = {package["name"]: package["version"] for package in linked}
        assert versions.keys() == {APP, BASE}, linked
        return str(versions[APP])

    return Solves("conda 24.7, from repodata.json.zst,", solve)


def _upload_until(
    is_over: Callable[[], bool], bench: Bench, server: Running, channel: Channel
) -> int:
    """Upload to one name after another, and to the app in between; return how many."""
    names = list(channel.sizes)
    count = 0
    with connected(server.port) as connection:
        while not is_over():
            name = APP if count % 4 == 0 else bench.chance.choice(names)
            _upload(bench, connection, channel, name)
            count += 1
            time.sleep(UPLOAD_SECONDS)
    return count


def _upload(bench: Bench, connection: Connection, channel: Channel, name: str) -> None:
    depends = [BASE] if name == APP else []
    bench.upload(connection, channel, bench.pack(name, depends=depends))
