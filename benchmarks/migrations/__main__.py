"""Run the campaign, print one line a goal, and write them into benchmarks/README.md."""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.migrations import backing, behind, costs, crowds, kills, million, suites
from benchmarks.migrations.databases import both_kinds
from benchmarks.migrations.nursery import nursery
from benchmarks.report import report_campaign
from quetz.migrations.trees import load_tree
from quetz.plugins import load_plugins

PARTS = ("kills", "crowds", "million", "costs", "suites")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.migrations", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"{', '.join(PARTS)}; all if none")
    parser.add_argument("--rounds", type=int, default=5, help="repetitions of what is timed")
    parser.add_argument("--folder", type=Path, help="where to put 4 GB of files: on a disk")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no part is called {', '.join(unknown)}; there are {', '.join(PARTS)}")
    command = " ".join(["python -m benchmarks.migrations", *sys.argv[1:]])
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="campaign-") as name:
        folder = Path(name)
        measured = _measure(options.parts or PARTS, folder, options.rounds)
        whole = not options.parts
        return report_campaign("migrations", command, folder, measured, whole=whole)


def _measure(parts: tuple[str, ...], folder: Path, rounds: int) -> Iterator[Figure]:
    if "kills" in parts or "crowds" in parts:
        yield from _processes(parts, folder)
    if "million" in parts:
        deployment = million.make_million(folder)
        yield from backing.measure(deployment, folder, rounds)
        yield from million.measure(deployment, folder)
    if "costs" in parts:
        yield from costs.measure(folder, rounds)
    if "suites" in parts:
        yield from suites.measure()


def _processes(parts: tuple[str, ...], folder: Path) -> Iterator[Figure]:
    site = folder / "plugins"
    [core] = load_tree(load_plugins([])).heads_of("quetz")
    behind.install(site, core)
    with nursery(site) as runner, both_kinds() as kinds:
        for databases in kinds:
            for part in (kills, crowds):
                if part.__name__.rpartition(".")[2] in parts:
                    work = folder / f"{part.__name__}-{databases.kind}"
                    work.mkdir()
                    yield from part.measure(databases, runner, work)


if __name__ == "__main__":
    sys.exit(main())
