"""Rules for models that autogeneration cannot mend."""

from collections.abc import Iterator
from typing import Any, cast

from alembic.operations import ops
from sqlalchemy import Boolean, Column, Date, DateTime, Float, Integer, Numeric, String
from sqlalchemy.types import TypeEngine

from quetz.db.base import Base
from quetz.errors import PluginError
from quetz.migrations.authoring.portability import POSTGRESQL, default_of
from quetz.migrations.authoring.reference_rules import check_references
from quetz.migrations.authoring.scratch import Warn
from quetz.migrations.authoring.table_rules import faults_of_tables
from quetz.migrations.schemas.comparators import ChangeKeyOp
from quetz.migrations.schemas.comparisons import atomic
from quetz.migrations.schemas.expressions import sql_of
from quetz.plugins import CORE, Plugins
from quetz.settings import spelt

# Both databases turn all values of the first into ones of the second; and any into text.
_TURNED = {
    (Integer, Numeric),
    (Integer, Float),
    (Numeric, Float),
    (Float, Numeric),
    (Integer, Boolean),
    (Boolean, Integer),
    (Date, DateTime),
}


def check_models(plugins: Plugins, owner: str) -> None:
    """Refuse what would bind quetz, and what one of the databases does not take.

    Raises:
        PluginError: a model breaks a rule.
    """
    tables = sorted(Base.metadata.tables.values(), key=lambda table: table.name)
    own = [table for table in tables if plugins.owner_of_table(table.name) == owner]
    for fault in faults_of_tables(own):
        raise PluginError(owner, fault)
    check_references(plugins, owner)


def check_changes(owner: str, found: ops.UpgradeOps) -> None:
    """Refuse what cannot be applied to a table with rows.

    Raises:
        PluginError: a change breaks a rule.
    """
    # Of a key first: what else changes with it cannot be mended by itself.
    for op in sorted(atomic(found), key=lambda op: not isinstance(op, ChangeKeyOp)):
        for fault in (*_faults(op), *_faults_of_name(owner, op)):
            raise PluginError(owner, fault + _way_to_rename(op, found))


def warn_of_losses(found: ops.UpgradeOps, warn: Warn) -> None:
    """Tell of columns that go while others come, since they may have been renamed."""
    pairs: dict[tuple[str, str], list[str]] = {}
    for dropped, added in _alike(found):
        names = pairs.setdefault((dropped.table_name, dropped.column_name), [])
        names.append(added.column.name)
    for (table, column), names in pairs.items():
        new = names[0] if len(names) == 1 else "..."
        warn(
            f"the migration drops column {table}.{column} with its values, and adds "
            f"{' and '.join(names)}; if it was renamed, write in place of both: "
            f'op.alter_column("{table}", "{column}", new_column_name="{new}"), '
            "the reverse in downgrade(), and take it out of loses"
        )


def warn_of_equal_rows(found: ops.UpgradeOps, warn: Warn) -> None:
    """Tell of what becomes unique in tables with rows: no two may be equal there."""
    operations = list(atomic(found))
    new = {op.table_name for op in operations if isinstance(op, ops.CreateTableOp)}
    new |= {
        f"{op.table_name}.{op.column.name}" for op in operations if isinstance(op, ops.AddColumnOp)
    }
    for op in operations:
        table, parts = _unique_parts(op)
        if parts and not new & {table, *(f"{table}.{part}" for part in parts)}:
            listed = ", ".join(parts)
            look = f"SELECT {listed}, count(*) FROM {table} GROUP BY {listed} HAVING count(*) > 1"  # noqa: S608 (it is read)
            warn(
                f"the migration fails where rows of {table} are equal in ({listed}); "
                f"look for them before: {look}"
            )


def warn_of_names(plugins: Plugins, owner: str, warn: Warn) -> None:
    """Tell of tables whose names may be another plugin's one day."""
    for table in sorted(Base.metadata.tables):
        if plugins.owner_of_table(table) == owner:
            for fault in _faults_of_name(owner, ops.CreateTableOp(table, [])):
                warn(fault)


def _alike(found: ops.UpgradeOps) -> Iterator[tuple[ops.DropColumnOp, ops.AddColumnOp]]:
    """Yield each column that goes, with each that may be the same by another name."""
    operations = list(atomic(found))
    added = [op for op in operations if isinstance(op, ops.AddColumnOp)]
    for op in operations:
        if isinstance(op, ops.DropColumnOp):
            kind = _family(op.to_column().type)
            for new in added:
                if new.table_name == op.table_name and _family(new.column.type) is kind:
                    yield op, new


def _way_to_rename(op: ops.MigrateOperation, found: ops.UpgradeOps) -> str:
    renamed = [
        f"{dropped.table_name}.{dropped.column_name}"
        for dropped, added in _alike(found)
        if added is op
    ]
    if not renamed:
        return ""
    names = " or ".join(renamed)
    return f"; if it is {names} renamed, write it by hand with --empty (docs/plugins.md)"


def _unique_parts(op: ops.MigrateOperation) -> tuple[str, list[str]]:
    """Return the table, and in SQL what of it becomes unique; nothing if op does no such thing."""
    if isinstance(op, ops.CreateUniqueConstraintOp):
        return op.table_name, [str(column) for column in op.columns]
    if isinstance(op, ops.CreateIndexOp) and op.unique:
        parts = op.to_index().expressions
        return op.table_name, [
            part.name if isinstance(part, Column) else sql_of(part, POSTGRESQL) for part in parts
        ]
    return "", []


def _faults_of_name(owner: str, op: ops.MigrateOperation) -> Iterator[str]:
    own = f"quetz_{spelt(owner)}"
    if owner == CORE or not isinstance(op, ops.CreateTableOp):
        return
    if op.table_name != own and not op.table_name.startswith(f"{own}_"):
        yield (
            f"its table '{op.table_name}' must be called {own} or {own}_..., "
            "so that no two plugins want the same name"
        )


def _faults(op: ops.MigrateOperation) -> Iterator[str]:
    if isinstance(op, ChangeKeyOp):
        yield (
            f"the primary key of {op.table_name} changes {op}, and rows are known by it; "
            "declare a new table, fill it in a migration, and drop the old one later"
        )
    elif isinstance(op, ops.AddColumnOp):
        column = op.column
        if not column.nullable and column.server_default is None:
            yield (
                f"the new column {op.table_name}.{column.name} must not be null, and the rows "
                "there have no value for it; give it a server_default, or let it be null, or take "
                "it out, make a file with --empty and add and fill it by hand"
            )
    elif isinstance(op, ops.AlterColumnOp):
        if op.modify_nullable is False and default_of(op) is None:
            yield (
                f"{op.table_name}.{op.column_name} must not be null any more, and in rows there it "
                "may be; give it a server_default, which then takes the place of null"
            )
        if op.modify_type is not None:
            yield from _faults_of_type(op, cast("TypeEngine[Any]", op.modify_type))


def _faults_of_type(op: ops.AlterColumnOp, new: TypeEngine[Any]) -> Iterator[str]:
    families = (_family(cast("TypeEngine[Any]", op.existing_type)), _family(new))
    if families[0] is families[1] or families[1] is String:
        return
    column = f"{op.table_name}.{op.column_name}"
    if families not in _TURNED:
        yield (
            f"the values of {column} may be none of its new type; declare a new column, "
            "fill it in a migration, and drop the old one later"
        )
    elif op.existing_server_default is not None:
        yield (
            f"{column} has a default, which PostgreSQL does not turn into one of its new type; "
            "take it away first, in a migration of its own"
        )


def _family(kind: TypeEngine[Any]) -> object:
    return kind.dialect_impl(POSTGRESQL)._type_affinity  # noqa: SLF001
