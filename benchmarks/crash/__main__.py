"""Run the campaign, print one line a goal, and write them into benchmarks/README.md."""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from benchmarks.crash import (
    backing,
    blind,
    faults,
    histories,
    kills,
    machine,
    power,
    readers,
    seeded,
)
from benchmarks.figures import Figure, NotRun
from benchmarks.report import report_campaign

# How much of its full size a goal is run at, and where to put its files.
Goal = Callable[[float, Path], Iterable[Figure | NotRun]]

GOALS: dict[str, Goal] = {
    "rel2": kills.measure,
    "rel3": blind.measure,
    "rel4": faults.measure,
    "histories": histories.measure,
    "machine": machine.measure,
    "rel13": readers.measure,
    "rel26": power.measure,
    "rel28": backing.measure,
    "rel30": seeded.measure,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.crash", description=__doc__)
    parser.add_argument("goals", nargs="*", metavar="goal", help=f"{', '.join(GOALS)}; all if none")
    parser.add_argument("--scale", type=float, default=1, help="1 is the size that the goals name")
    parser.add_argument("--folder", type=Path, help="where to put the files: on a disk")
    options = parser.parse_args()
    if unknown := set(options.goals) - set(GOALS):
        parser.error(f"no goal is called {', '.join(unknown)}; there are {', '.join(GOALS)}")
    command = " ".join(["python -m benchmarks.crash", *sys.argv[1:]])
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="crash-") as name:
        folder = Path(name)
        measured = _measure(options.goals or GOALS, options.scale, folder)
        whole = not options.goals and options.scale == 1
        return report_campaign("crash", command, folder, measured, whole=whole)


def _measure(goals: Iterable[str], scale: float, folder: Path) -> Iterator[Figure | NotRun]:
    for name in goals:
        work = folder / name
        work.mkdir()
        yield from GOALS[name](scale, work)


if __name__ == "__main__":
    sys.exit(main())
