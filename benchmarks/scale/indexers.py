"""One more against other ways to index: a whole rebuild, and indexers of folders."""

import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import limits
from benchmarks.client import connected, get
from benchmarks.figures import Figure, NotRun, speedup
from benchmarks.machine import SERVER_CPU, pinned
from benchmarks.records import SUBDIR, builds
from benchmarks.scale import whole_rebuild
from benchmarks.scale.adding import add_one
from benchmarks.scale.bench import Bench, Channel
from benchmarks.servers import Running
from quetz.testing.packages import build_package, info_files, pack_conda, pack_tar

MOST_ROUNDS = 3
"""A round takes up to twenty seconds, and the goals are a hundredfold."""


def measure_rebuild(bench: Bench) -> Iterator[Figure]:
    """Compare with building repodata.json, .bz2 and .gz anew."""
    channel = bench.channel(100_000)
    rounds = min(bench.rounds, MOST_ROUNDS)
    ours, rebuilt = [], []
    with bench.server() as server:
        document = _old_repodata(bench, server, channel)
        for number in range(rounds):
            ours.append(_one_more(bench, server, channel))
            rebuilt.append(_rebuild(document, number))
    yield speedup(
        f"one more of {channel}, in all forms, to a whole rebuild",
        ours,
        rebuilt,
        goal=300,
        unit="ms",
        against="json.loads of it all, json.dumps(indent=2), bz2 -9 and gzip -9",
    )


def _old_repodata(bench: Bench, server: Running, channel: Channel) -> Path:
    with connected(server.port) as connection:
        answer = connection.ask(get(f"{channel.folder}/repodata.json")).expect(200)
    path = bench.folder / "rebuilt" / "repodata.json"
    path.parent.mkdir()
    path.write_bytes(whole_rebuild.encode(json.loads(answer.body)))
    return path


def _rebuild(document: Path, number: int) -> float:
    added = next(builds(1, seed=number + 1))
    arguments = [str(document), f"more-{number}-{added.filename}", json.dumps(added.record)]
    return _run_program("whole_rebuild", *arguments)


def _one_more(bench: Bench, server: Running, channel: Channel) -> float:
    [name] = bench.chance.choices(list(channel.sizes), list(channel.sizes.values()))
    return add_one(bench, server, channel, name).everything


def _run_program(name: str, *arguments: str) -> float:
    """Run a program of this folder on the server's processor; return the ms that it measured."""
    command = [sys.executable, "-m", f"benchmarks.scale.{name}", *arguments]
    with pinned(SERVER_CPU):
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout) * 1e3


# Indexers of folders


def measure_folders(bench: Bench) -> Iterator[Figure | NotRun]:
    """Compare with indexing a folder of archives again after one was added."""
    channel = bench.channel(20_000)
    folder = bench.folder / "archives"
    _write_archives(folder / SUBDIR, channel.records)
    (folder / "noarch").mkdir()
    conda_index = _conda_index()
    name = f"one more of {channel}, in all forms, to"
    with bench.server() as server:
        ours, theirs = _rounds(bench, server, channel, folder)
        against = "its second run, on a folder of as many archives and one more, zst and shards"
        yield speedup(f"{name} rattler-index", ours, theirs, goal=100, unit="ms", against=against)
        if conda_index is None:
            yield NotRun(f"{name} conda-index", "it is not installed", optional=True)
            return
        ours, theirs = _rounds(bench, server, channel, folder, [*conda_index, str(folder)])
        against = "its second run, on the same folder"
        yield speedup(f"{name} conda-index", ours, theirs, unit="ms", against=against)
    shutil.rmtree(folder)


def _rounds(
    bench: Bench, server: Running, channel: Channel, folder: Path, command: Sequence[str] = ()
) -> tuple[list[float], list[float]]:
    """Return the milliseconds of both sides; without a ``command`` the other is rattler-index."""

    def index() -> float:
        return _run(command) if command else _run_program("rattler_index", str(folder))

    index()
    ours, theirs = [], []
    for _ in range(min(bench.rounds, MOST_ROUNDS)):
        ours.append(_one_more(bench, server, channel))
        build_package(folder / SUBDIR, "more", str(next(bench.numbers)), subdir=SUBDIR)
        theirs.append(index())
    return ours, theirs


def _run(command: Sequence[str]) -> float:
    with pinned(SERVER_CPU):
        return (
            limits.seconds(lambda: subprocess.run(command, check=True, capture_output=True)) * 1e3
        )


def _conda_index() -> list[str] | None:
    if importlib.util.find_spec("conda_index"):
        return [sys.executable, "-m", "conda_index"]
    found = shutil.which("conda-index")
    return [found] if found else None


def _write_archives(folder: Path, count: int) -> None:
    """Write a small archive for each record of a channel."""
    folder.mkdir(parents=True)
    payload = pack_tar({})
    for build in builds(count):
        index = {
            key: value
            for key, value in build.record.items()
            if key not in {"indexed_timestamp", "md5", "sha256", "size"}
        }
        stem = build.filename.removesuffix(".conda")
        archive = pack_conda(stem, pack_tar(info_files(index, {})), payload)
        (folder / build.filename).write_bytes(archive)
