"""Compares a database with the models of some owners: what one has and the other has not.

Tables of nobody are not even looked at: only a model, or the ledger, makes a table an owner's.
"""

import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from alembic.autogenerate import produce_migrations
from alembic.migration import MigrationContext
from alembic.operations import ops
from sqlalchemy import Connection, MetaData, UniqueConstraint

from quetz.db.base import Base
from quetz.migrations.ledger import LEDGER, owners_of_tables, read_entries
from quetz.migrations.schemas.comparators import PLUGIN, differ, differ_in_use
from quetz.migrations.schemas.descriptions import describe, is_extra, table_of
from quetz.migrations.schemas.reflections import reflecting
from quetz.plugins import Plugins


@dataclass(frozen=True)
class Models:
    """Models, and whose they are; ``makers`` tells it of tables that no model has any more."""

    metadata: MetaData
    owner_of: Callable[[str], str]
    makers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, connection: Connection, plugins: Plugins) -> "Models":
        makers = owners_of_tables(read_entries(connection))
        owners = {table: owner for table, (owner, _revision) in makers.items()}
        return cls(Base.metadata, plugins.owner_of_table, owners)

    def owner(self, table: str) -> str | None:
        if table in self.metadata.tables:
            return self.owner_of(table)
        return self.makers.get(table)


def compare(connection: Connection, plugins: Plugins, owner: str) -> ops.UpgradeOps:
    """Return what would make the database's tables of ``owner`` those of its models."""
    return compare_models(connection, Models.of(connection, plugins), {owner})


def differences(
    connection: Connection,
    plugins: Plugins,
    owners: Collection[str] | None = None,
    *,
    extras: bool = True,
    tables: Collection[str] | None = None,
) -> set[str]:
    """Return a line for each difference from the models of ``owners``, or of all there are.

    ``{"quetz: add column channels.ttl INTEGER not null", ...}``: what is left to be done. What
    SQLite stores alike is no difference there. Without ``extras`` those are left out that only
    the database has; with ``tables``, those of other tables.
    """
    models = Models.of(connection, plugins)
    wanted = set(plugins.migrations if owners is None else owners)
    if not wanted:
        return set()
    found = compare_models(connection, models, wanted, exact=False)
    return {
        f"{models.owner(table_of(op))}: {line}"
        for op in atomic(found)
        if (extras or not is_extra(op)) and (tables is None or table_of(op) in tables)
        for line in describe([op], connection.dialect)
    }


def compare_models(
    connection: Connection, models: Models, owners: Collection[str], *, exact: bool = True
) -> ops.UpgradeOps:
    """Return what would make the tables of ``owners`` those of their models.

    Unless ``exact``, types are equal that SQLite stores alike: a revision may widen them on
    PostgreSQL alone.
    """
    is_sqlite = connection.dialect.name == "sqlite"
    options = _options(models, owners, exact=exact, with_indexes=not is_sqlite)
    context = MigrationContext.configure(connection, opts=options)
    with reflecting():
        # SQLAlchemy 2.1 stumbles over a CHECK that is NOT VALID, as one may be after a crash.
        warnings.filterwarnings("ignore", "Can't validate argument 'dialect_options'")
        found = cast("ops.UpgradeOps", produce_migrations(context, models.metadata).upgrade_ops)
        return ops.UpgradeOps(_ordered(found.ops))


def _options(
    models: Models, owners: Collection[str], *, exact: bool, with_indexes: bool
) -> dict[str, Any]:
    """Return what Alembic compares by; on SQLite the indexes are compared without it."""

    def is_looked_at(name: str | None, kind: str, _parents: object) -> bool:
        if kind != "table" or name is None:
            return True
        return name != LEDGER.name and models.owner(name) in owners

    def is_compared(
        thing: Any,
        name: str | None,
        kind: str,
        _reflected: bool,  # noqa: FBT001 (Alembic passes it so)
        _other: object,
    ) -> bool:
        if kind == "unique_constraint":  # PostgreSQL makes none where the primary key is one
            return not _is_key(thing)
        if kind == "index":
            return with_indexes
        return is_looked_at(name, kind, {})

    return {
        "target_metadata": models.metadata,
        "include_name": is_looked_at,
        "include_object": is_compared,
        "compare_type": differ if exact else differ_in_use,
        "compare_server_default": True,
        "autogenerate_plugins": [
            "alembic.autogenerate.*",
            "alembic.ext.checkconstraint_byname",
            PLUGIN.name,
        ],
    }


def atomic(found: ops.UpgradeOps | ops.DowngradeOps) -> Iterator[ops.MigrateOperation]:
    """Yield the operations without the containers that Alembic puts those of a table into."""
    for op in found.ops:
        if isinstance(op, ops.ModifyTableOps):
            yield from op.ops
        else:
            yield op


def _ordered(found: Sequence[ops.MigrateOperation]) -> list[ops.MigrateOperation]:
    """Put what is dropped into an order; Alembic has none, not even that of references."""
    dropped = {op.table_name: op for op in found if isinstance(op, ops.DropTableOp)}
    ordered = [op for op in found if not isinstance(op, ops.DropTableOp)]
    for op in ordered:
        if isinstance(op, ops.ModifyTableOps):
            op.ops.sort(key=_name_of_dropped)
    while dropped:
        needed = {name: _referred(op) - {name} for name, op in dropped.items()}
        free = sorted(dropped.keys() - set().union(*needed.values())) or sorted(dropped)
        ordered.append(dropped.pop(free[0]))
    return ordered


def _name_of_dropped(op: ops.MigrateOperation) -> str:
    return op.column_name if isinstance(op, ops.DropColumnOp) else ""


def _referred(op: ops.DropTableOp) -> set[str]:
    return {
        element.target_fullname.rpartition(".")[0]
        for reference in op.to_table().foreign_key_constraints
        for element in reference.elements
    }


def _is_key(unique: UniqueConstraint) -> bool:
    return {column.name for column in unique.columns} == {
        column.name for column in unique.table.primary_key
    }
