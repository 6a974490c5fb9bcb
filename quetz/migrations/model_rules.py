"""Rules for models that autogeneration cannot mend."""

from collections.abc import Iterator

from alembic.operations import ops
from sqlalchemy import Enum, Table

from quetz.db.base import Base
from quetz.errors import PluginError
from quetz.migrations.comparisons import atomic
from quetz.migrations.reference_rules import check_references
from quetz.plugins import Plugins

LONGEST_NAME = 63  # bytes, on PostgreSQL


def check_models(plugins: Plugins, owner: str) -> None:
    """Refuse what would bind quetz, and names that a database would cut off.

    Raises:
        PluginError: a model breaks a rule.
    """
    check_references(plugins, owner)
    for table in _tables(plugins, owner):
        _check_enums(owner, table)
        for name in _names(table):
            if (length := len(name.encode())) > LONGEST_NAME:
                raise PluginError(
                    owner,
                    f"the name '{name}' has {length} bytes, and PostgreSQL takes {LONGEST_NAME}; "
                    "choose a shorter one",
                )


def _check_enums(owner: str, table: Table) -> None:
    for column in table.columns:
        if isinstance(column.type, Enum) and column.type.native_enum:
            raise PluginError(
                owner,
                f"{column} would be a type of its own on PostgreSQL, hard to change; "
                "say Enum(..., native_enum=False, create_constraint=True, length=50)",
            )


def check_changes(owner: str, found: ops.UpgradeOps) -> None:
    """Refuse what cannot be applied to a table with rows.

    Raises:
        PluginError: a change breaks a rule.
    """
    for op in atomic(found):
        if isinstance(op, ops.AddColumnOp):
            column = op.column
            filled = column.server_default is not None or column.computed or column.identity
            if not column.nullable and not filled:
                raise PluginError(
                    owner,
                    f"the new column {op.table_name}.{column.name} must not be null, and the rows "
                    "there have no value for it; give it a server_default, or let it be null",
                )


def _tables(plugins: Plugins, owner: str) -> list[Table]:
    tables = Base.metadata.sorted_tables
    return [table for table in tables if plugins.owner_of_table(table.name) == owner]


def _names(table: Table) -> Iterator[str]:
    yield table.name
    yield from (column.name for column in table.columns)
    yield from (str(one.name) for one in table.constraints if one.name is not None)
    yield from (str(one.name) for one in table.indexes)
