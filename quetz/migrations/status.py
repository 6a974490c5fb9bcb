"""Tells what state a database is in, without changing it."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from sqlalchemy import Engine

from quetz.errors.migrations import SchemaAhead, SchemaUnknown
from quetz.migrations.ledger import Entry, applied_by_ledger
from quetz.migrations.locks import holder_of
from quetz.migrations.positions import Position, file_of, looking, read_position
from quetz.plugins import Plugins

State = Literal["current", "behind", "empty", "ahead", "unknown", "missing"]
OwnerState = Literal["current", "behind", "orphaned", "broken"]


@dataclass(frozen=True)
class OwnerStatus:
    """The revisions of quetz, or of a plugin, each after what it needs.

    ``version`` is the one installed, or the one that was. ``orphaned`` are applied, and their
    files are gone. ``reason`` says what is broken.
    """

    owner: str
    version: str
    state: OwnerState
    applied: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()
    orphaned: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class Status:
    """The state of the schema; ``reason`` says why it is not served.

    ``holder`` migrates at this moment. ``edited`` has the files of the revisions that were changed
    after they had been applied.
    """

    state: State
    owners: tuple[OwnerStatus, ...] = ()
    heads: tuple[str, ...] = ()
    last_run: Entry | None = None
    holder: str = ""
    reason: str = ""
    edited: Mapping[str, str] = field(default_factory=dict)

    @property
    def pending(self) -> int:
        return sum(len(owner.pending) for owner in self.owners)

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        last_run = self.last_run and self.last_run.document()
        return asdict(self) | {"pending": self.pending, "last_run": last_run}


def read_status(engine: Engine, plugins: Plugins, *, with_edited: bool = False) -> Status:
    """Look at a database, which is left as it is.

    What was edited is told only if it is asked for: it takes longer than all else.

    Raises:
        DatabaseUnreadable: the SQLite file cannot be opened, or is none.
    """
    file = file_of(engine)
    if file is not None and not file.exists():  # to connect would make it
        return Status("missing", reason=f"the database file '{file}' is missing")
    holder = holder_of(engine)
    try:
        with looking(engine) as connection:
            position = read_position(connection, plugins)
    except SchemaAhead as error:
        return Status("ahead", holder=holder, reason=error.seen)
    except SchemaUnknown as error:
        return Status("unknown", holder=holder, reason=error.seen)
    owners = tuple(_owners(position, plugins))
    state: State = "behind" if position.pending else "current"
    return Status(
        "empty" if not position.heads and state == "behind" else state,
        owners,
        tuple(sorted(position.heads)),
        position.entries[-1] if position.entries else None,
        holder,
        edited=position.edited() if with_edited else {},
    )


def _owners(position: Position, plugins: Plugins) -> Iterator[OwnerStatus]:
    tree = position.tree
    broken = plugins.broken | tree.broken
    by_revision = applied_by_ledger(position.entries)
    order = [script.revision for script in reversed(list(tree.walk_revisions()))]
    pending = set(position.pending)
    others = {*tree.owners.values(), *broken} - plugins.migrations.keys()
    for owner in [*plugins.migrations, *sorted(others)]:
        own = [revision for revision in order if tree.owners[revision] == owner]
        orphaned = tuple(revision for revision in own if revision in tree.orphans)
        if owner in broken:
            state: OwnerState = "broken"
        elif owner in plugins.migrations:
            state = "current" if position.applied.issuperset(own) else "behind"
        else:
            state = "orphaned"
        former = by_revision[orphaned[-1]].dist_version if orphaned else ""
        yield OwnerStatus(
            owner,
            plugins.versions.get(owner, former),
            state,
            tuple(revision for revision in own if revision in position.applied),
            tuple(revision for revision in own if revision in pending),
            orphaned,
            broken[owner].reason if owner in broken else "",
        )
