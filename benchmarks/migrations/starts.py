"""Deployments to start from: behind, with rows, and how they look at each whole revision."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.orm import Session

from benchmarks.migrations import behind
from benchmarks.migrations.databases import Databases, State, connected, state_of
from benchmarks.migrations.nursery import Ended, Nursery, Order
from benchmarks.records import insert_channel

RECORDS = 500
BOOKS = 3_000


@dataclass(frozen=True)
class Start:
    """A deployment to clone; ``states`` are those it passes through, its own first."""

    databases: Databases
    template: Path
    states: Sequence[State]


def init_db(deployment: Path, *options: str) -> tuple[str, ...]:
    return ("init-db", str(deployment), *options)


def check(processes: Sequence[Ended]) -> None:
    """Raise what a process said that did not end well."""
    for process in processes:
        if process.code != 0:
            raise RuntimeError(f"a process ended with {process.code}: {process.output}")


def make_start(databases: Databases, nursery: Nursery, folder: Path) -> Start:
    template = databases.deployment(folder / f"behind_{databases.kind.lower()}")
    check(nursery.run(Order(init_db(template, "--to", behind.FIRST_REVISION))))
    with connected(template) as connection:
        insert_channel(Session(connection), "forge", RECORDS)
        rows = [
            {"id": number, "name": f"Shelf {number}", "title": f"Book {number}"}
            for number in range(BOOKS)
        ]
        for statement in behind.FILL:
            connection.execute(text(statement), rows)
    return Start(databases, template, _states(databases, nursery, template, folder))


def _states(
    databases: Databases, nursery: Nursery, template: Path, folder: Path
) -> Sequence[State]:
    """Apply one revision after the other, each from the start."""
    states = [state_of(template)]
    for revision in behind.REVISIONS[1:]:
        deployment = databases.deployment(folder / "step", template)
        check(nursery.run(Order(init_db(deployment, "--to", revision))))
        states.append(state_of(deployment))
    return states
