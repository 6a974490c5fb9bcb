"""REL-5: every cell of the permission matrix, by each way to send a key, on both databases."""

from collections.abc import Iterator
from pathlib import Path

from benchmarks.figures import Figure
from quetz.testing.databases import Databases, DbInit, PostgresqlDatabases, SqliteDatabases
from quetz.testing.postgresql import server_folder, server_url
from quetz.tests.services.permission_matrix import EXPECTED
from quetz.tests.web.permission_requests import NO_ROUTE
from quetz.tests.web.permission_world import CARRIERS, Matrix, matrix_on


def measure(scale: float, folder: Path) -> Iterator[Figure]:
    """Ask the first principals alone if ``scale`` is less than 1."""
    names = list(EXPECTED)[: max(3, int(len(EXPECTED) * scale))]
    with server_folder() as server:
        kinds: dict[str, Databases] = {
            "SQLite": SqliteDatabases(folder, DbInit.USE_MIGRATIONS),
            "PostgreSQL": PostgresqlDatabases(
                server_url(server), "quetz_matrix", DbInit.USE_MIGRATIONS
            ),
        }
        for kind, databases in kinds.items():
            work = folder / kind
            work.mkdir()
            with matrix_on(databases.ready(), work) as matrix:
                faults = [fault for name in names for fault in _faults(matrix, name)]
            print(*faults[:20], sep="\n", end="\n" if faults else "", flush=True)
            cells = sum(len(EXPECTED[name]) for name in names)
            basis = f"{cells} cells, {len(NO_ROUTE)} operations of them without a route"
            yield Figure(
                f"REL-5 {kind}: cells answered otherwise", [len(faults)], "cells", 0, basis
            )


def _faults(matrix: Matrix, name: str) -> list[str]:
    carriers = CARRIERS if matrix.callers[name].key is not None else CARRIERS[:1]
    return [
        f"{name} by {carrier}: {fault}"
        for carrier in carriers
        for fault in matrix.faults(name, EXPECTED[name], carrier)
    ]
