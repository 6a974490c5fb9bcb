"""MIG-2: many at once on one database; all end well, and each revision is applied once."""

from collections.abc import Iterator
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.migrations.databases import Databases, applied_once, state_of
from benchmarks.migrations.nursery import Ended, Nursery, Order
from benchmarks.migrations.starts import init_db, make_start

CROWD = 32
ROUNDS = 50  # on each kind of database: half of them empty, half behind


def measure(databases: Databases, nursery: Nursery, folder: Path) -> list[Figure]:
    start = make_start(databases, nursery, folder)
    figures = []
    for name, template in [("empty", None), ("behind", start.template)]:
        faults: list[str] = []
        for number in range(ROUNDS // 2):
            deployment = databases.deployment(folder / "crowded", template)
            ended = nursery.run(Order(init_db(deployment), crowd=CROWD))
            found = [f"round {number}: {fault}" for fault in _faults(deployment, ended)]
            if template and state_of(deployment) != start.states[-1]:
                found.append(f"round {number}: another state than that of one process")
            print(*found, sep="\n", end="\n" if found else "", flush=True)
            faults += found
        title = f"MIG-2 {databases.kind}, {name}: {CROWD} at once that failed or did work twice"
        figures.append(Figure(title, [len(faults)], "faults", 0, f"{ROUNDS // 2} rounds"))
    return figures


def _faults(deployment: Path, ended: list[Ended]) -> Iterator[str]:
    for process in ended:
        if process.code != 0:
            yield f"exit code {process.code}: {process.output}"
    if not applied_once(deployment):
        yield "the ledger has a revision twice"
