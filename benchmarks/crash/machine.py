"""Any requests in any order, with kills, garbage collection and checks, beside a model."""

import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.crash.places import DATABASES, deployed
from benchmarks.figures import Figure
from quetz.testing.state_machine import run_machine
from quetz.testing.worlds import World

SECONDS = 80
"""For each database."""
EXAMPLES, STEPS, KILLS = 3, 60, 3
"""In each run of the machine, on one deployment."""


def measure(scale: float, folder: Path) -> Iterator[Figure]:
    for kind in DATABASES:
        with deployed(kind, folder / kind) as driver:
            yield _figure(kind, World(driver.path, driver.key, kills=0), SECONDS * scale)


def _figure(kind: str, world: World, seconds: float) -> Figure:
    faults = []
    number = 0
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        number += 1
        world.kills = KILLS
        try:
            run_machine(world, examples=EXAMPLES, steps=STEPS, number=number)
        except AssertionError as error:
            faults.append(f"seed {number}: {error!r}")
        except ExceptionGroup as error:  # the same requests, with other kills, went well
            faults.append(f"seed {number}: {error.exceptions[0]!r}")
    basis = f"{world.done['steps']} steps, {world.done['kills']} kills, {number} seeds"
    basis += "".join(f"; {fault[:500]}" for fault in faults[:1])
    name = f"random requests and kills on {kind}: seeds that break the model"
    return Figure(name, [len(faults)], "seeds", 0, basis)
