"""Kill a server under load thirty-two times, and check after each crash what it kept."""

from collections.abc import Iterable
from pathlib import Path

from benchmarks.figures import Figure, NotRun
from quetz.testing.crashes import Driver, create_deployment

PLAN = (
    ["upload.stored"] * 6
    + ["upload.recording"] * 3
    + ["upload.recorded"] * 3
    + ["publish.built"] * 4
    + ["publish.flipping"] * 4
    + ["publish.flipped"] * 3
    + [None] * 9
)

def measure(scale: float, folder: Path) -> Iterable[Figure | NotRun]:
    """REL-2: each kill has to land, and what was acknowledged has to be there after it."""
    deployment = folder / "deployment"
    scratch = folder / "scratch"
    scratch.mkdir()
    driver = Driver(deployment, create_deployment(deployment), scratch)
    driver.create_channel()
    plan = PLAN[:: round(1 / scale)]
    missed = 0
    for point in plan:
        missed += not (driver.crash(point) or point is None)
        driver.check()
    basis = f"{len(plan)} kills, {len(driver.history.sent)} uploads"
    yield Figure("REL-2 kills that did not land, or lost or broke a thing", [missed], "faults", 0, basis)
