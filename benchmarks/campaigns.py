"""Campaigns of goals: any of them at any share of its size, or all, which rewrites the table."""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from benchmarks.figures import Figure, NotRun
from benchmarks.report import report_campaign

# How much of its full size a goal is run at, and where to put its files.
Goal = Callable[[float, Path], Iterable[Figure | NotRun]]


def run_goals(campaign: str, about: str | None, goals: Mapping[str, Goal]) -> int:
    """Run the goals that the command line names; return the exit code."""
    program = f"python -m benchmarks.{campaign}"
    parser = argparse.ArgumentParser(prog=program, description=about)
    parser.add_argument("goals", nargs="*", metavar="goal", help=f"{', '.join(goals)}; all if none")
    parser.add_argument("--scale", type=float, default=1, help="1 is the size that the goals name")
    parser.add_argument("--folder", type=Path, help="where to put the files: on a disk, 4 GB")
    options = parser.parse_args()
    if unknown := set(options.goals) - goals.keys():
        parser.error(f"no goal is called {', '.join(unknown)}; there are {', '.join(goals)}")
    command = " ".join([program, *sys.argv[1:]])
    with tempfile.TemporaryDirectory(dir=options.folder, prefix=f"{campaign}-") as name:
        folder = Path(name)
        chosen = {goal: goals[goal] for goal in options.goals or goals}
        whole = not options.goals and options.scale == 1
        measured = _measure(chosen, options.scale, folder)
        return report_campaign(campaign, command, folder, measured, whole=whole)


def _measure(goals: Mapping[str, Goal], scale: float, folder: Path) -> Iterator[Figure | NotRun]:
    for name, measure in goals.items():
        work = folder / name
        work.mkdir()
        yield from measure(scale, work)
