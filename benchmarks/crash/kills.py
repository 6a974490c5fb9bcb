"""REL-2: kill the server, or a command, at each crash point, on SQLite and on PostgreSQL."""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

from benchmarks.crash.places import DATABASES, deployed
from benchmarks.figures import Figure
from quetz.testing.crashes import crash_at_each, list_points, points_of

POINTS = 40


class Outcome(NamedTuple):
    point: str
    reached: bool
    fault: str


def measure(scale: float, folder: Path) -> Iterator[Figure]:
    processes = get_context("spawn")
    with ProcessPoolExecutor(len(DATABASES), mp_context=processes) as pool:
        running = {
            backend: pool.submit(_crash, backend, folder / backend, scale) for backend in DATABASES
        }
        outcomes = {backend: future.result() for backend, future in running.items()}
    reached = {one.point for each in outcomes.values() for one in each if one.reached}
    tried = {one.point for each in outcomes.values() for one in each}
    kills = sum(one.reached for each in outcomes.values() for one in each)
    basis = f"{kills} kills on {' and '.join(DATABASES)}, of {len(list_points())} points"
    yield Figure(
        "REL-2 crash points at which it was killed",
        [len(reached)],
        "points",
        min(POINTS, len(tried)),
        basis,
        more_is_better=True,
    )
    faults = [
        f"{backend}: {one.point}: {one.fault or 'was not reached'}"
        for backend, each in outcomes.items()
        for one in each
        if one.fault or not one.reached
    ]
    print(*faults, sep="\n", end="\n" if faults else "", flush=True)
    name = "REL-2 kills that did not land, or lost or broke a thing"
    yield Figure(name, [len(faults)], "faults", 0, basis)


def _crash(backend: str, folder: Path, scale: float) -> list[Outcome]:
    plan = points_of(backend)[:: max(1, round(1 / scale))]
    with deployed(backend, folder) as driver:
        return [Outcome(*one) for one in crash_at_each(driver, plan)]
