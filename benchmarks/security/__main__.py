"""Run the campaign, print one line a goal, and write them into benchmarks/README.md."""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.figures import Figure, NotRun
from benchmarks.machine import describe
from benchmarks.report import text_line, write_section
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
    began = time.monotonic()
    figures: list[Figure | NotRun] = []
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="security-") as folder:
        command = " ".join(["python -m benchmarks.security", *sys.argv[1:]])
        heading = f"{datetime.now(UTC):%Y-%m-%d}, {describe(Path(folder))}: `{command}`"
        for name in options.goals or GOALS:
            work = Path(folder) / name
            work.mkdir()
            for figure in GOALS[name](options.scale, work):
                print(text_line(figure), flush=True)
                figures.append(figure)
    print(f"{time.monotonic() - began:.0f} s")
    if not options.goals and options.scale == 1:
        write_section("security", heading, figures)
    missed = [f for f in figures if isinstance(f, NotRun) or "missed" in f.verdict]
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
