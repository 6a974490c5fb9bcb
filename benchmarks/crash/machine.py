"""Any requests in any order, with kills, garbage collection and checks, beside a model."""

import time
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy.engine import URL

from benchmarks.figures import Figure
from quetz.testing.crashes import create_deployment
from quetz.testing.databases import create_database
from quetz.testing.postgresql import server_folder, server_url
from quetz.testing.state_machine import run_machine
from quetz.testing.worlds import World

SECONDS = 80
"""For each database."""
EXAMPLES, STEPS, KILLS = 3, 60, 3
"""In each run of the machine, on one deployment."""


def measure(scale: float, folder: Path) -> Iterator[Figure]:
    yield _figure("SQLite", folder / "sqlite", scale, None)
    with server_folder() as server:
        url = create_database(server_url(server), "machine")
        yield _figure("PostgreSQL", folder / "postgresql", scale, url)


def _figure(kind: str, folder: Path, scale: float, url: URL | None) -> Figure:
    folder.mkdir()
    path = folder / "deployment"
    if url is not None:
        path.mkdir()
        text = url.render_as_string(hide_password=False)
        settings = f'[general]\ndev = true\n\n[sqlalchemy]\ndatabase_url = "{text}"\n'
        (path / "config.toml").write_text(settings)
    world = World(path, create_deployment(path), kills=0)
    faults = []
    number = 0
    ends = time.monotonic() + SECONDS * scale
    while time.monotonic() < ends:
        number += 1
        world.kills = KILLS
        try:
            run_machine(world, examples=EXAMPLES, steps=STEPS, number=number)
        except (AssertionError, ExceptionGroup) as error:
            faults.append(f"seed {number}: {error!r}")
    basis = f"{world.done['steps']} steps, {world.done['kills']} kills, {number} seeds"
    basis += "".join(f"; {fault[:500]}" for fault in faults[:1])
    name = f"random requests, kills, collections and checks on {kind}: seeds that break the model"
    return Figure(name, [len(faults)], "seeds", 0, basis)
