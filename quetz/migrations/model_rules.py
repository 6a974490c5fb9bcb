"""Rules for models that autogeneration cannot mend."""

from collections.abc import Iterator
from typing import Any, cast

from alembic.operations import ops
from sqlalchemy import Boolean, Date, DateTime, Float, Integer, Numeric, String
from sqlalchemy.types import TypeEngine

from quetz.db.base import Base
from quetz.errors import PluginError
from quetz.migrations.comparators import ChangeKeyOp
from quetz.migrations.comparisons import atomic
from quetz.migrations.portability import POSTGRESQL, default_of
from quetz.migrations.reference_rules import check_references
from quetz.migrations.scratch import Warn
from quetz.migrations.table_rules import faults_of_tables
from quetz.plugins import Plugins

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
        for fault in _faults(op):
            raise PluginError(owner, fault)


def warn_of_losses(found: ops.UpgradeOps, warn: Warn) -> None:
    """Tell of columns that go while others come, since they may have been renamed."""
    found_ops = list(atomic(found))
    added = {op.table_name for op in found_ops if isinstance(op, ops.AddColumnOp)}
    for op in found_ops:
        if isinstance(op, ops.DropColumnOp) and op.table_name in added:
            warn(
                f"the migration drops column {op.table_name}.{op.column_name} with its values, and "
                "adds another; if it was renamed, write in place of both: "
                f'op.alter_column("{op.table_name}", "{op.column_name}", new_column_name="...")'
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
