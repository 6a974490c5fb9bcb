"""Describes a schema so that two of them can be compared, however they were made."""

import re
from collections.abc import Iterator

from sqlalchemy import Connection, inspect
from sqlalchemy.engine import Inspector
from sqlalchemy.types import NullType

from quetz.migrations.ledger import LEDGER
from quetz.migrations.schemas.comparators import plain_default, without_casts
from quetz.migrations.schemas.sqlite_indexes import (
    index_statements,
    plain_statement,
    without_warnings_of_indexes,
)
from quetz.migrations.schemas.sqlite_tables import has_autoincrement, parts

Lines = Iterator[tuple[str, str]]
"""Tables, and what is said of them."""

_UNREFLECTED = {"collation": "by", "generation": "made of"}
_ORDERED = re.compile(r"\b(?:COLLATE|DESC)\b", re.IGNORECASE)


def fingerprint(connection: Connection, inspector: Inspector | None = None) -> set[str]:
    """Return a line for each part of each table but those that tell of migrations.

    ``{"channels: column private BOOLEAN not null, default None", ...}``. The order of columns
    does not count: it depends on when a column was added. What an ``inspector`` has read already
    is not read again.
    """
    inspector = inspector or inspect(connection)
    with without_warnings_of_indexes():
        # All tables at once: one by one, PostgreSQL would be asked a hundred times.
        told = [tell(inspector) for tell in (_columns, _keys, _rules, _indexes, _references)]
        tables = set(inspector.get_table_names()) - {"alembic_version", LEDGER.name}
        found = {(table, line) for lines in told for table, line in lines if table in tables}
        if connection.dialect.name == "sqlite":
            for table in tables:
                found |= {(table, line) for line in _sqlite_parts(connection, inspector, table)}
    return {f"{table}: {line}" for table, line in found}


def _columns(inspector: Inspector) -> Lines:
    """On PostgreSQL the type tells a collation that is not the database's."""
    for (_schema, table), columns in inspector.get_multi_columns().items():
        for column in columns:
            is_typed = not isinstance(column["type"], NullType)  # on SQLite it need not have one
            kind = column["type"].compile(dialect=inspector.dialect) if is_typed else "untyped"
            null = "null" if column["nullable"] else "not null"
            default = column["default"] and plain_default(column["default"], column["type"])
            yield table, f"column {column['name']} {kind} {null}, default {default}"


def _keys(inspector: Inspector) -> Lines:
    for (_schema, table), key in inspector.get_multi_pk_constraint().items():
        if key is not None:
            yield table, f"key {key['name']} on {key['constrained_columns']}"
    for (_schema, table), uniques in inspector.get_multi_unique_constraints().items():
        for unique in uniques:
            yield table, f"unique {unique['name']} on {unique['column_names']}"


def _rules(inspector: Inspector) -> Lines:
    for (_schema, table), checks in inspector.get_multi_check_constraints().items():
        for check in checks:
            # PostgreSQL adds casts in other places when it reads its own words again.
            yield table, f"check {check['name']}: {without_casts(check['sqltext'])}"


def _indexes(inspector: Inspector) -> Lines:
    for (_schema, table), indexes in inspector.get_multi_indexes().items():
        for index in indexes:
            what = index.get("expressions", index["column_names"])
            # A condition is an object, which is equal to itself alone.
            options = {key: str(value) for key, value in index.get("dialect_options", {}).items()}
            line = f"index {index['name']} on {what}, unique {bool(index['unique'])}, {options}"
            yield table, line


def _references(inspector: Inspector) -> Lines:
    for (_schema, table), references in inspector.get_multi_foreign_keys().items():
        for reference in references:
            target = f"{reference['referred_table']} {reference['referred_columns']}"
            line = f"reference {reference['name']} from {reference['constrained_columns']}"
            yield table, f"{line} to {target}, {reference['options']}"


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
