"""REL-26: cut the power at each sync, three ways, and start again on what was left."""

import json
import logging
import multiprocessing
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import groupby, islice
from pathlib import Path

from benchmarks.figures import Figure
from quetz.cli.creation import Creation
from quetz.testing.databases import create_database
from quetz.testing.postgresql import server_folder, server_url
from quetz.testing.power.commits import check_commits
from quetz.testing.power.replays import Cut, cuts, replay
from quetz.testing.power.scenarios import Recorded, run_scenario

PROCESSES = 2
SEED = 20261127


def measure(scale: float, folder: Path) -> Iterator[Figure]:
    """Replay all prefixes; ``scale`` is the share of them."""
    yield from _with_sqlite(scale, folder)
    yield from _with_postgresql(folder)


def _with_sqlite(scale: float, folder: Path) -> Iterator[Figure]:
    Creation(folder / "sqlite", create_conf=True).run()
    scratch = folder / "packages"
    scratch.mkdir()
    recorded = run_scenario(folder / "sqlite", scratch)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(PROCESSES, context) as pool:
        parts = [
            pool.submit(_replay_part, recorded, scale, part, folder) for part in range(PROCESSES)
        ]
        replayed = [result for part in parts for result in part.result()]
    faults = [fault for _, found in replayed for fault in found]
    print(*faults[:20], sep="\n", end="\n" if faults else "", flush=True)
    prefixes = len({number for number, _ in replayed})
    basis = f"three losses each, {len(replayed)} disks that differ"
    yield Figure("REL-26 prefixes replayed, SQLite", [prefixes], "prefixes", basis=basis)
    yield Figure("REL-26 violations after a power cut, SQLite", [len(faults)], "violations", 0)


def _replay_part(
    recorded: Recorded, scale: float, part: int, folder: Path
) -> list[tuple[int, list[str]]]:
    """Return what was wrong at the cuts of every ``PROCESSES``-th prefix, with their numbers."""
    logging.getLogger("quetz.recovery").setLevel(logging.ERROR)  # it tells of each torn index
    results = []
    with tempfile.TemporaryDirectory(dir=folder) as name:
        prefixes = groupby(cuts(recorded.recording, share=scale, seed=SEED), lambda cut: cut.number)
        for number, losses in islice(prefixes, part, None, PROCESSES):
            for cut in _differing(losses):
                found = replay(cut, Path(name) / "deployment", recorded.key)
                results.append((number, [f"{number} {cut.loss}: {fault}" for fault in found]))
    return results


def _differing(losses: Iterator[Cut]) -> list[Cut]:
    """Leave out losses that make the same disk: nothing was unsynced, or nothing of a file."""
    differing: list[Cut] = []
    for cut in losses:
        if all(cut.disk != other.disk for other in differing):
            differing.append(cut)
    return differing


def _with_postgresql(folder: Path) -> Iterator[Figure]:
    """Look at the store alone; the database is trusted to keep its commits."""
    with server_folder() as server:
        url = create_database(server_url(server), "quetz_power", "")
        config = folder / "config.toml"
        text = json.dumps(url.render_as_string(hide_password=False))
        config.write_text(f"[sqlalchemy]\ndatabase_url = {text}\n")
        Creation(folder / "postgresql", copy_conf=config).run()
        scratch = folder / "packages-postgresql"
        scratch.mkdir()
        recorded = run_scenario(folder / "postgresql", scratch)
    lost = list(check_commits(recorded.recording, seed=SEED))
    faults = [fault for found in lost for fault in found]
    basis = "the store beside all commits of the database"
    yield Figure("REL-26 cuts looked at, PostgreSQL", [len(lost)], "cuts", basis=basis)
    yield Figure("REL-26 violations after a power cut, PostgreSQL", [len(faults)], "violations", 0)
