"""Run the campaign, print one line a goal, and write them into benchmarks/README.md."""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from benchmarks.figures import Figure, NotRun
from benchmarks.report import report_campaign
from benchmarks.security import (
    bodies,
    bombs,
    canaries,
    cardinality,
    crowds,
    floods,
    malformed,
    matrix,
    memory,
    openapi,
    pages,
    paths,
    races,
    revocation,
    timing,
)

# How much of its full size a goal is run at, and where to put its files.
Goal = Callable[[float, Path], Iterable[Figure | NotRun]]

GOALS: dict[str, Goal] = {
    "rel1": malformed.measure,
    "rel5": matrix.measure,
    "rel6": openapi.measure,
    "rel7": paths.measure,
    "rel8": bombs.measure,
    "rel9": memory.measure,
    "rel10": bodies.measure,
    "rel11": races.measure,
    "rel12": crowds.measure,
    "rel18": canaries.measure,
    "rel19": pages.measure,
    "rel21": revocation.measure,
    "rel22": timing.measure,
    "rel23": cardinality.measure,
    "rel24": floods.measure,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.security", description=__doc__)
    parser.add_argument("goals", nargs="*", metavar="goal", help=f"{', '.join(GOALS)}; all if none")
    parser.add_argument("--scale", type=float, default=1, help="1 is the size that the goals name")
    parser.add_argument("--folder", type=Path, help="where to put 4 GB of files: on a disk")
    options = parser.parse_args()
    if unknown := set(options.goals) - set(GOALS):
        parser.error(f"no goal is called {', '.join(unknown)}; there are {', '.join(GOALS)}")
    command = " ".join(["python -m benchmarks.security", *sys.argv[1:]])
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="security-") as name:
        folder = Path(name)
        measured = _measure(options.goals or GOALS, options.scale, folder)
        whole = not options.goals and options.scale == 1
        return report_campaign("security", command, folder, measured, whole=whole)


def _measure(goals: Iterable[str], scale: float, folder: Path) -> Iterator[Figure | NotRun]:
    for name in goals:
        work = folder / name
        work.mkdir()
        yield from GOALS[name](scale, work)


if __name__ == "__main__":
    sys.exit(main())
