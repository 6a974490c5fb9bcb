"""Rules for tables: what both databases take, and can still change when there are rows."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Enum,
    ForeignKey,
    ForeignKeyConstraint,
    PrimaryKeyConstraint,
    Sequence,
    Table,
    TextClause,
    UniqueConstraint,
)
from sqlalchemy.schema import sort_tables_and_constraints

from quetz.migrations.schemas.expressions import parameters_of

LONGEST_NAME = 63  # bytes, on PostgreSQL
_CONSTRAINTS = (PrimaryKeyConstraint, ForeignKeyConstraint, UniqueConstraint, CheckConstraint)


def faults_of_tables(tables: list[Table]) -> Iterator[str]:
    for reference in _closing_circles(tables):
        yield (
            f"the foreign key from {reference.parent} to {reference.column} closes a circle of "
            "tables, of which none can be made first; leave one of the circle out"
        )
    for table in tables:
        yield from _faults(table)
        for column in table.columns:
            yield from _faults_of_column(column)
        for name, expression in _expressions(table):
            for parameter in parameters_of(expression):
                yield (
                    f"{name} has '{parameter}', which SQLAlchemy takes for a parameter; "
                    f"write '\\{parameter}'"
                )


def _closing_circles(tables: list[Table]) -> Iterator[ForeignKey]:
    ordered = sort_tables_and_constraints(tables)  # type: ignore[no-untyped-call]
    for table, constraints in ordered:
        if table is None:
            for constraint in sorted(constraints, key=str):
                yield from constraint.elements[:1]


def _faults(table: Table) -> Iterator[str]:
    if table.schema is not None:
        yield f"table '{table}' is in a schema of its own, which SQLite has not; leave it out"
    for constraint in table.constraints:
        if not isinstance(constraint, _CONSTRAINTS):
            kind = type(constraint).__name__
            yield f"table '{table}' has an {kind}, which SQLite has not; leave it out"
    for name in _names(table):
        if (length := len(name.encode())) > LONGEST_NAME:
            yield (
                f"the name '{name}' has {length} bytes, and PostgreSQL takes {LONGEST_NAME}; "
                "choose a shorter one"
            )


def _names(table: Table) -> Iterator[str]:
    yield table.name
    yield from (column.name for column in table.columns)
    yield from (str(one.name) for one in table.constraints if one.name is not None)
    yield from (str(one.name) for one in table.indexes)


def _faults_of_column(column: Column[Any]) -> Iterator[str]:
    if isinstance(column.type, Enum) and column.type.native_enum:
        yield (
            f"{column} would be a type of its own on PostgreSQL, hard to change; "
            "say Enum(..., native_enum=False, create_constraint=True, length=50)"
        )
    if isinstance(column.type, Enum) and column.type.create_constraint and not column.type.name:
        yield f"the CHECK of {column} has no name, by which it could be changed; say Enum(name=...)"
    if isinstance(column.type, Boolean):
        yield from _faults_of_flag(column, column.type)
    if column.identity or isinstance(column.default, Sequence):
        yield (
            f"{column} is numbered in a way that SQLite has not; "
            "say mapped_column(RowId, primary_key=True)"
        )
    if column.computed:
        yield (
            f"{column} is computed by the database, by a rule that no migration could change; "
            "compute it in Python"
        )


def _faults_of_flag(column: Column[Any], kind: Boolean) -> Iterator[str]:
    if kind.create_constraint:
        yield f"{column} would have a CHECK on SQLite alone; leave create_constraint out"
    default = getattr(column.server_default, "arg", None)
    if isinstance(default, TextClause) and default.text.strip("()") in {"0", "1"}:
        yield (
            f"the default of {column} is a number, which PostgreSQL takes for no Boolean; "
            "say server_default=sa.false() or sa.true()"
        )


def _expressions(table: Table) -> Iterator[tuple[str, Any]]:
    """Yield what is said in SQL, and a name for it."""
    for column in table.columns:
        yield f"the default of {column}", getattr(column.server_default, "arg", None)
    for constraint in table.constraints:
        if isinstance(constraint, CheckConstraint):
            yield f"the CHECK '{constraint.name}' of {table}", constraint.sqltext
    for index in table.indexes:
        for part in index.expressions:
            yield f"the index '{index.name}'", part
        for dialect in ("sqlite", "postgresql"):
            yield f"the index '{index.name}'", index.dialect_options[dialect]["where"]
