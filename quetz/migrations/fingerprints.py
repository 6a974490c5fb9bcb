"""Describes a schema so that two of them can be compared, however they were made."""

import re
from collections.abc import Iterator

from sqlalchemy import Connection, inspect
from sqlalchemy.engine import Inspector
from sqlalchemy.types import NullType

from quetz.migrations.comparators import plain_default, without_casts
from quetz.migrations.ledger import LEDGER
from quetz.migrations.sqlite_indexes import (
    index_statements,
    plain_statement,
    without_warnings_of_indexes,
)
from quetz.migrations.sqlite_tables import has_autoincrement, parts

_UNREFLECTED = {"collation": "by", "generation": "made of"}
_ORDERED = re.compile(r"\b(?:COLLATE|DESC)\b", re.IGNORECASE)


def fingerprint(connection: Connection) -> set[str]:
    """Return a line for each part of each table but those that tell of migrations.

    ``{"channels: column private BOOLEAN not null, default None", ...}``. The order of columns
    does not count: it depends on when a column was added.
    """
    inspector = inspect(connection)
    lines = set()
    with without_warnings_of_indexes():
        for table in set(inspector.get_table_names()) - {"alembic_version", LEDGER.name}:
            parts = [*_columns(inspector, table), *_constraints(inspector, table)]
            if connection.dialect.name == "sqlite":
                parts += _sqlite_parts(connection, inspector, table)
            lines |= {f"{table}: {part}" for part in parts}
    return lines


def _columns(inspector: Inspector, table: str) -> Iterator[str]:
    """On PostgreSQL the type tells a collation that is not the database's."""
    for column in inspector.get_columns(table):
        is_typed = not isinstance(column["type"], NullType)  # on SQLite it need not have a type
        kind = column["type"].compile(dialect=inspector.dialect) if is_typed else "untyped"
        null = "null" if column["nullable"] else "not null"
        default = column["default"] and plain_default(column["default"], column["type"])
        yield f"column {column['name']} {kind} {null}, default {default}"


def _constraints(inspector: Inspector, table: str) -> Iterator[str]:
    key = inspector.get_pk_constraint(table)
    yield f"key {key['name']} on {key['constrained_columns']}"
    for unique in inspector.get_unique_constraints(table):
        yield f"unique {unique['name']} on {unique['column_names']}"
    for check in inspector.get_check_constraints(table):
        # PostgreSQL adds casts in other places when it reads its own words again.
        yield f"check {check['name']}: {without_casts(check['sqltext'])}"
    for index in inspector.get_indexes(table):
        what = index.get("expressions", index["column_names"])
        # A condition is an object, which is equal to itself alone.
        options = {key: str(value) for key, value in index.get("dialect_options", {}).items()}
        yield f"index {index['name']} on {what}, unique {bool(index['unique'])}, {options}"
    for reference in inspector.get_foreign_keys(table):
        yield (
            f"reference {reference['name']} from {reference['constrained_columns']} to "
            f"{reference['referred_table']} {reference['referred_columns']}, "
            f"{reference['options']}"
        )


def _sqlite_parts(connection: Connection, inspector: Inspector, table: str) -> Iterator[str]:
    """Tell what reflection leaves out."""
    if has_autoincrement(connection, table):
        yield "autoincrement"
    seen = {index["name"] for index in inspector.get_indexes(table)}
    for name, statement in index_statements(connection, table).items():
        if name not in seen or _ORDERED.search(statement):  # the first are of an expression
            yield f"index {plain_statement(statement)}"
    for part, how in parts(connection, table).items():
        if part.kind in _UNREFLECTED and how != ("",):
            yield f"column {part.columns[0]} {_UNREFLECTED[part.kind]} {how[0]}"
