"""Run the campaign, print one line a figure, and write them into benchmarks/README.md."""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from benchmarks import imports, serving
from benchmarks.figures import Figure, NotRun
from benchmarks.report import report_campaign
from benchmarks.scale import (
    burst,
    crowd,
    first_index,
    forms,
    growing,
    indexers,
    memory,
    solving,
)
from benchmarks.scale.bench import Bench

Part = Callable[[Bench], Iterable[Figure | NotRun]]


def measure_serving(bench: Bench) -> Iterable[Figure | NotRun]:
    folder = bench.folder / "serving"
    folder.mkdir()
    for figure in serving.measure(folder, bench.rounds):
        # All that it may not find is nginx.
        yield replace(figure, optional=True) if isinstance(figure, NotRun) else figure


def measure_imports(bench: Bench) -> Iterable[Figure | NotRun]:
    folder = bench.folder / "imports"
    folder.mkdir()
    return imports.measure(folder, bench.rounds)


PARTS: dict[str, Part] = {
    "first-index": first_index.measure,
    "one-more": growing.measure,
    "rebuild": indexers.measure_rebuild,
    "folders": indexers.measure_folders,
    "burst": burst.measure,
    "crowd": crowd.measure,
    "solving": solving.measure,
    "memory": memory.measure,
    "forms": forms.measure,  # of all that the parts before it have done
    "serving": measure_serving,
    "imports": measure_imports,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--only", action="append", choices=PARTS, help="a part; all by default")
    parser.add_argument("--scale", type=float, default=1, help="1 is the size that the goals name")
    parser.add_argument("--rounds", type=int, default=5, help="pairs for each figure")
    parser.add_argument("--folder", type=Path, help="where to put 12 GB of files: on a disk")
    options = parser.parse_args()
    command = " ".join(["python -m benchmarks.scale", *sys.argv[1:]])
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="scale-") as name:
        bench = Bench(Path(name), options.scale, options.rounds)
        measured = _measure(bench, options.only or list(PARTS))
        whole = not options.only and options.scale == 1
        return report_campaign("scale", command, bench.folder, measured, whole=whole)


def _measure(bench: Bench, parts: list[str]) -> Iterator[Figure | NotRun]:
    """Run the parts, and what checks them after all that fill channels."""
    for part in parts:
        began = time.monotonic()
        yield from PARTS[part](bench)
        print(f"{part}: {time.monotonic() - began:.0f} s", flush=True)
    if bench.channels and "forms" not in parts:
        yield from forms.measure(bench)


if __name__ == "__main__":
    sys.exit(main())
