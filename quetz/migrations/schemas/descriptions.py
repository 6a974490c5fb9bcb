"""Tells in words what a schema operation of Alembic does; one line for each atomic difference."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

from alembic.operations import ops
from sqlalchemy import (
    CheckConstraint,
    Column,
    Constraint,
    Dialect,
    ForeignKeyConstraint,
    Index,
    Table,
    UniqueConstraint,
)
from sqlalchemy.exc import CompileError
from sqlalchemy.types import TypeEngine

from quetz.migrations.schemas.comparators import ChangeKeyOp
from quetz.migrations.schemas.expressions import sql_of

_EXTRA = (ops.DropTableOp, ops.DropColumnOp, ops.DropConstraintOp, ops.DropIndexOp)


def describe(
    found: "ops.UpgradeOps | ops.ModifyTableOps | Iterable[ops.MigrateOperation]", dialect: Dialect
) -> list[str]:
    """Return ``["add column channels.ttl INTEGER not null", ...]`` in the order of the operations.

    Types are written as the dialect does.
    """
    operations = found.ops if isinstance(found, ops.OpContainer) else found
    lines: list[str] = []
    for op in operations:
        if isinstance(op, ops.ModifyTableOps):
            lines += describe(op, dialect)
        else:
            lines += _TELLERS[type(op)](op, dialect)
    return lines


def table_of(op: ops.MigrateOperation) -> str:
    name = "table_name" if hasattr(op, "table_name") else "source_table"
    return cast("str", getattr(op, name))


def is_extra(op: ops.MigrateOperation) -> bool:
    """Tell whether an operation only takes away."""
    return isinstance(op, _EXTRA)


def _create_table(op: ops.CreateTableOp, _dialect: Dialect) -> Iterator[str]:
    yield f"add table {op.table_name}"


def _drop_table(op: ops.DropTableOp, _dialect: Dialect) -> Iterator[str]:
    yield f"drop table {op.table_name}"


def _add_column(op: ops.AddColumnOp, dialect: Dialect) -> Iterator[str]:
    column = op.column
    null = "null" if column.nullable else "not null"
    yield f"add column {op.table_name}.{column.name} {_type(column.type, dialect)} {null}"


def _drop_column(op: ops.DropColumnOp, _dialect: Dialect) -> Iterator[str]:
    yield f"drop column {op.table_name}.{op.column_name}"


def _alter_column(op: ops.AlterColumnOp, dialect: Dialect) -> Iterator[str]:
    column = f"{op.table_name}.{op.column_name}"
    if op.modify_type is not None:
        old, new = _type(op.existing_type, dialect), _type(op.modify_type, dialect)
        yield f"change type of {column} from {old} to {new}"
    if op.modify_nullable is not None:
        yield f"let {column} be {'null' if op.modify_nullable else 'not null'}"
    if op.modify_server_default is not False:
        defaults = (op.existing_server_default, op.modify_server_default)
        old, new = (_default(default, dialect) for default in defaults)
        yield f"change default of {column} from {old} to {new}"
    if op.modify_comment is not False:
        yield f"change comment of {column} from {op.existing_comment!r} to {op.modify_comment!r}"


def _add_index(op: ops.CreateIndexOp, dialect: Dialect) -> Iterator[str]:
    yield f"add {_index(op.to_index(), dialect)}"


def _drop_index(op: ops.DropIndexOp, _dialect: Dialect) -> Iterator[str]:
    yield f"drop index {op.index_name} of {op.table_name}"


def _add_constraint(op: ops.AddConstraintOp, dialect: Dialect) -> Iterator[str]:
    yield f"add {_constraint(op.to_constraint(), dialect)}"


def _drop_constraint(op: ops.DropConstraintOp, _dialect: Dialect) -> Iterator[str]:
    kind = {"foreignkey": "foreign key", "primary": "primary key"}.get(
        str(op.constraint_type), str(op.constraint_type)
    )
    yield f"drop {kind} {op.constraint_name} of {op.table_name}"


def _comment(op: ops.CreateTableCommentOp, _dialect: Dialect) -> Iterator[str]:
    yield f"change comment of {op.table_name} to {op.comment!r}"


def _no_comment(op: ops.DropTableCommentOp, _dialect: Dialect) -> Iterator[str]:
    yield f"change comment of {op.table_name} to None"


def _change_key(op: ChangeKeyOp, _dialect: Dialect) -> Iterator[str]:
    yield f"change key of {op.table_name} {op}"


_TELLERS: dict[type, Callable[[Any, Dialect], Iterable[str]]] = {
    ops.CreateTableOp: _create_table,
    ops.DropTableOp: _drop_table,
    ops.AddColumnOp: _add_column,
    ops.DropColumnOp: _drop_column,
    ops.AlterColumnOp: _alter_column,
    ops.CreateIndexOp: _add_index,
    ops.DropIndexOp: _drop_index,
    ops.CreateUniqueConstraintOp: _add_constraint,
    ops.CreateForeignKeyOp: _add_constraint,
    ops.CreateCheckConstraintOp: _add_constraint,
    ops.DropConstraintOp: _drop_constraint,
    ops.CreateTableCommentOp: _comment,
    ops.DropTableCommentOp: _no_comment,
    ChangeKeyOp: _change_key,
}


def _constraint(constraint: Constraint, dialect: Dialect) -> str:
    name, table = constraint.name, cast("Any", constraint).table.name
    if isinstance(constraint, ForeignKeyConstraint):
        target = constraint.elements[0].target_fullname.rpartition(".")[0]
        columns = ", ".join(
            element.target_fullname.rpartition(".")[2] for element in constraint.elements
        )
        actions = f" on delete {constraint.ondelete}" if constraint.ondelete else ""
        return (
            f"foreign key {name} of {table} ({_names(constraint.columns)}) "
            f"to {target} ({columns}){actions}"
        )
    if isinstance(constraint, CheckConstraint):
        return f"check {name} of {table}: {_sql(constraint.sqltext, dialect)}"
    assert isinstance(constraint, UniqueConstraint)
    return f"unique {name} of {table} ({_names(constraint.columns)})"


def _index(index: Index, dialect: Dialect) -> str:
    parts = [
        part.name if isinstance(part, Column) else _sql(part, dialect) for part in index.expressions
    ]
    kind = "unique index" if index.unique else "index"
    condition = index.dialect_kwargs.get(f"{dialect.name}_where")
    where = "" if condition is None else f" where {_sql(condition, dialect)}"
    return f"{kind} {index.name} of {cast('Table', index.table).name} ({', '.join(parts)}){where}"


def _names(columns: Iterable[Column[Any]]) -> str:
    return ", ".join(column.name for column in columns)


def _type(kind: TypeEngine[Any] | None, dialect: Dialect) -> str:
    try:
        return "none" if kind is None else kind.compile(dialect=dialect)
    except CompileError:  # a type that only the other database has
        return str(kind)


def _default(default: Any, dialect: Dialect) -> str:
    if default is None or default is False:
        return "none"
    return default.arg if isinstance(default.arg, str) else _sql(default.arg, dialect)


def _sql(expression: Any, dialect: Dialect) -> str:
    return " ".join(sql_of(expression, dialect).split())
