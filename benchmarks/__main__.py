"""Measure, print the figures, and write them into README.md."""

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import api, commands, imports, permissions, publishing, serving, uploads
from benchmarks.figures import Figure, NotRun
from benchmarks.machine import describe
from benchmarks.report import text_line, write_section

Measure = Callable[[Path, int], Sequence[Figure | NotRun]]
"""Takes an empty folder and how many pairs to measure."""

GROUPS: dict[str, Measure] = {
    "uploads": uploads.measure,
    "publishing": publishing.measure,
    "serving": serving.measure,
    "api": api.measure,
    "permissions": permissions.measure,
    "imports": imports.measure,
    "commands": commands.measure,
}
SLOW: dict[str, Measure] = {"newcomers": commands.measure_slow}


def main() -> None:
    options = _parse()
    groups = GROUPS | SLOW if options.groups or options.slow else GROUPS
    for group in options.groups or groups:
        with tempfile.TemporaryDirectory(dir=options.folder, prefix="benchmark-") as folder:
            heading = f"{datetime.now(UTC):%Y-%m-%d}, {describe(Path(folder))}: `{_command()}`"
            print(f"\n{group}: {heading}")
            figures = groups[group](Path(folder), options.rounds)
        for figure in figures:
            print(text_line(figure), flush=True)
        write_section(group, heading, figures)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    names = ", ".join(GROUPS | SLOW)
    parser.add_argument("groups", nargs="*", metavar="group", help=f"{names}; all by default")
    parser.add_argument(
        "--slow", action="store_true", help="run newcomers by default, too: minutes"
    )
    parser.add_argument("--rounds", type=int, default=5, help="pairs for each figure")
    parser.add_argument("--folder", type=Path, help="where to put 6 GB of files: on a disk")
    options = parser.parse_args()
    if unknown := set(options.groups) - set(GROUPS | SLOW):
        parser.error(f"no group is called {', '.join(unknown)}; there are {names}")
    return options


def _command() -> str:
    return " ".join(["python -m benchmarks", *sys.argv[1:]])


if __name__ == "__main__":
    main()
