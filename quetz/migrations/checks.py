"""Checks a database against its migrations, its models, and its own record."""

from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, Engine

from quetz.errors import DatabaseMissing, QuetzError
from quetz.errors.migrations import (
    MigrationEdited,
    MigrationsMissing,
    PluginsUnchecked,
    SchemaDrifted,
)
from quetz.migrations.authoring.scratch import Scratch, Warn, scratch_like
from quetz.migrations.ledger import owners_of_tables
from quetz.migrations.positions import Position, file_of, looking, read_position
from quetz.migrations.schemas.comparisons import differences
from quetz.migrations.schemas.fingerprints import fingerprint
from quetz.migrations.schemas.integrity import broken_references, damage, leftover_tables
from quetz.migrations.trees import downs
from quetz.migrations.verification import invalid_indexes
from quetz.plugins import Plugins

Findings = tuple[str, ...]
_NO_FAULTS = ("unchecked", "broken", "pending")


@dataclass(frozen=True)
class Report:
    """What was found, in words; ``edited`` are revisions.

    ``drift`` is from what the applied migrations make, ``differences`` are from the models of
    those whose migrations are all applied. ``unchecked`` says what could not be looked at; it is
    no fault, as ``pending`` revisions are none. ``broken`` plugins are among what is unchecked.
    """

    drift: Findings = ()
    differences: Findings = ()
    edited: Findings = ()
    leftovers: Findings = ()
    invalid_indexes: Findings = ()
    broken_references: Findings = ()
    several_heads: Findings = ()
    damage: Findings = ()
    unchecked: Findings = ()
    broken: Findings = ()
    pending: Findings = ()

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self)

    def verdict(self, path: object) -> None:
        """Return if nothing was found in the database of the deployment ``path``.

        Raises:
            MigrationEdited: the file of an applied migration was changed.
            SchemaDrifted: something else was found.
            PluginsUnchecked, MigrationsMissing: there is nothing else.
        """
        if self.edited:
            raise MigrationEdited(self.edited)
        found = asdict(self)
        if count := sum(len(lines) for name, lines in found.items() if name not in _NO_FAULTS):
            raise SchemaDrifted(count)
        if self.broken:
            raise PluginsUnchecked(len(self.broken), len(self.pending), path)
        if self.pending:
            raise MigrationsMissing(len(self.pending), path)


def check_database(engine: Engine, plugins: Plugins, *, deep: bool = False) -> Report:
    """Look at a database, which is left as it is; ``deep`` reads all of its rows.

    A PostgreSQL database gets a schema for as long as it is checked.

    Raises:
        DatabaseMissing, DatabaseUnreadable: there is none, in its SQLite file.
        SchemaUnknown, SchemaAhead: the database is not one of this version.
    """
    file = file_of(engine)
    if file is not None and not file.exists():  # to connect would make it
        raise DatabaseMissing(file.parent, file)
    unchecked: list[str] = []
    with looking(engine) as connection:
        position = read_position(connection, plugins)
        tree = position.tree
        broken = plugins.broken | tree.broken
        unchecked += [str(error) for error in broken.values()]
        current = [
            owner
            for owner in plugins.migrations
            if owner not in tree.broken and position.applied.issuperset(tree.heads_of(owner))
        ]
        return Report(
            drift=tuple(_drift(engine, connection, plugins, position, unchecked.append)),
            differences=_sorted(differences(connection, plugins, current)),
            edited=tuple(position.edited()),
            leftovers=_sorted(leftover_tables(connection)),
            invalid_indexes=_invalid(connection),
            broken_references=_sorted(broken_references(connection, deep=deep)),
            several_heads=tuple(_several_heads(position)),
            damage=tuple(damage(connection)) if deep else (),
            unchecked=tuple(unchecked),
            broken=_sorted(broken),
            pending=tuple(position.pending),
        )


def _drift(
    engine: Engine, connection: Connection, plugins: Plugins, position: Position, warn: Warn
) -> list[str]:
    """Compare with what the applied revisions make in an empty database."""
    with scratch_like(engine, warn) as scratch:
        if scratch is None:
            return []
        unbuilt = _build(scratch, plugins, position, warn)
        wanted = scratch.fingerprint()
    makers = owners_of_tables(position.entries)
    left_out = {table for table, (owner, _revision) in makers.items() if owner in unbuilt}
    tables = ({_table(line) for line in wanted} | makers.keys()) - left_out
    found = {line for line in fingerprint(connection) if _table(line) in tables}
    wanted = {line for line in wanted if _table(line) in tables}
    return [f"has {line}" for line in sorted(found - wanted)] + [
        f"lacks {line}" for line in sorted(wanted - found)
    ]


def _build(scratch: Scratch, plugins: Plugins, position: Position, warn: Warn) -> set[str]:
    """Apply what the database has, and return whose revisions cannot be applied any more."""
    tree = position.tree
    unbuilt = {tree.owners[revision] for revision in tree.orphans & position.applied}
    for owner in sorted(set(tree.owners.values()) - unbuilt):
        try:
            scratch.build(plugins, _applied_heads(position, owner))
        except QuetzError as error:
            unbuilt.add(owner)
            warn(f"'{owner}' was not compared with its migrations: {error}")
    return unbuilt


def _applied_heads(position: Position, owner: str) -> list[str]:
    """Return those of the owner's applied revisions that none of its applied ones follows."""
    own = [
        script for script in position.tree.scripts_of(owner) if script.revision in position.applied
    ]
    followed = {parent for script in own for parent in downs(script)}
    return sorted(script.revision for script in own if script.revision not in followed)


def _several_heads(position: Position) -> Iterator[str]:
    for owner in sorted(set(position.tree.owners.values())):
        if len(heads := _applied_heads(position, owner)) > 1:
            yield f"'{owner}' stands at {', '.join(heads)}"


def _invalid(connection: Connection) -> Findings:
    return _sorted(invalid_indexes(connection) if connection.dialect.name != "sqlite" else ())


def _table(line: str) -> str:
    return line.partition(":")[0]


def _sorted(lines: Collection[str]) -> Findings:
    return tuple(sorted(lines))
