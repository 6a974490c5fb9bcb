"""Puts a row into each empty table, so that a migration is tried out on tables with rows."""

import datetime as dt
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    Connection,
    Enum,
    MetaData,
    Table,
    false,
    insert,
    inspect,
    select,
    text,
)
from sqlalchemy.engine import Inspector
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import TypeEngine

from quetz.migrations.ledger import LEDGER
from quetz.migrations.reflections import reflecting

_NOT_SEEDED = frozenset({"alembic_version", LEDGER.name})
_TIME = dt.datetime(2001, 1, 1, tzinfo=dt.UTC)
_VALUES: dict[type, Any] = {
    bool: True,
    int: 1,
    float: 1.5,
    Decimal: Decimal(1),
    bytes: b"x",
    dt.datetime: _TIME,
    dt.date: _TIME.date(),
    dt.time: _TIME.time(),
    dt.timedelta: dt.timedelta(seconds=1),
    uuid.UUID: uuid.UUID(int=1),
    list: [],
    dict: {},
}
_FILLERS: dict[type | None, Any] = {
    str: "",
    bool: false(),
    int: text("0"),
    float: text("0"),
    Decimal: text("0"),
    bytes: "",
    dt.datetime: "1970-01-01 00:00:00",
    dt.date: "1970-01-01",
    uuid.UUID: "0" * 32,
}
_IN_LIST = re.compile(
    r"(\w+)\"?\)?(?:::\w+)? *(?:IN|=) *(?:ANY *)?[(\[A-Z]*'((?:[^']|'')*)'", re.IGNORECASE
)


class NoValue(Exception):
    """A column must have a value, and none is known that it takes."""


def seed(connection: Connection) -> set[str]:
    """Add a row to each empty table and return the tables that have rows now.

    A table is left without where a CHECK or a type takes none of the values tried.
    """
    inspector = inspect(connection)
    waiting = dict(_tables(connection, inspector))
    rows: dict[str, Mapping[str, Any]] = {}
    while waiting:
        ready = [name for name, table in waiting.items() if not (_needed(table) & waiting.keys())]
        for name in ready or sorted(waiting)[:1]:  # tables that need each other stay empty
            row = _row_of(connection, inspector, waiting.pop(name), rows)
            if row is not None:
                rows[name] = row
    return set(rows)


def count_rows(connection: Connection) -> dict[str, int]:
    names = set(inspect(connection).get_table_names()) - _NOT_SEEDED
    quoted = connection.dialect.identifier_preparer.quote
    return {
        name: connection.exec_driver_sql(f"SELECT count(*) FROM {quoted(name)}").scalar_one()  # noqa: S608
        for name in sorted(names)
    }


def a_value(column: Column[Any], checks: Sequence[str] = ()) -> Any:
    """Return a value that fits the column's type, and its lists of what may be in it.

    Raises:
        NoValue: none is known.
    """
    if (listed := listed_value(column.name, checks)) is not None:
        return listed
    if isinstance(column.type, JSON):
        return {}
    if isinstance(column.type, Enum):
        return column.type.enums[0]
    kind = _python_type(column.type)
    if kind is str:
        return column.name[: getattr(column.type, "length", None)]
    if kind not in _VALUES:
        raise NoValue(str(column))
    return _VALUES[kind]


def listed_value(column: str, checks: Sequence[str]) -> str | None:
    """Return the first of the texts that a CHECK lets a column have."""
    found = (_IN_LIST.findall(check) for check in checks)
    values = (value for pairs in found for name, value in pairs if name == column)
    return next((value.replace("''", "'") for value in values), None)


def a_filler(kind: TypeEngine[Any]) -> Any:
    """Return a default that means nothing, for rows without a value; None if none is known."""
    if isinstance(kind, JSON):
        return text("'{}'")
    return _FILLERS.get(_python_type(kind))


def _python_type(kind: TypeEngine[Any]) -> type | None:
    try:
        return kind.python_type
    except NotImplementedError:
        return None


def _tables(connection: Connection, inspector: Inspector) -> Iterator[tuple[str, Table]]:
    metadata = MetaData()
    names = set(inspector.get_table_names()) - _NOT_SEEDED
    with reflecting():
        metadata.reflect(connection, only=sorted(names))
    for name in sorted(names):
        yield name, metadata.tables[name]


def _needed(table: Table) -> set[str]:
    """Return the other tables of which a row is needed, or welcome, before there is one here."""
    return {key.column.table.name for key in table.foreign_keys} - {table.name}


def _row_of(
    connection: Connection,
    inspector: Inspector,
    table: Table,
    rows: Mapping[str, Mapping[str, Any]],
) -> Mapping[str, Any] | None:
    present = connection.execute(select(table).limit(1)).mappings().first()
    if present is not None:
        return dict(present)
    checks = [check["sqltext"] for check in inspector.get_check_constraints(table.name)]
    try:
        values = dict(_values(table, checks, rows))
        with connection.begin_nested():
            answer = connection.execute(insert(table).values(values).returning(*table.columns))
            return dict(answer.mappings().one())
    except (NoValue, DBAPIError):
        return None


def _values(
    table: Table, checks: Sequence[str], rows: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[str, Any]]:
    for column in table.columns:
        if column.foreign_keys:
            yield column.name, _referred(column, rows)
        elif not _is_filled(column):
            yield column.name, _value_or_null(column, checks)


def _is_filled(column: Column[Any]) -> bool:
    """Tell whether the database fills the column itself."""
    if column.server_default is not None or column.computed or column.identity:
        return True
    # Only this very type makes SQLite number rows by itself.
    is_number = column.type.compile() == "INTEGER"
    return is_number and column is column.table.autoincrement_column


def _value_or_null(column: Column[Any], checks: Sequence[str]) -> Any:
    try:
        return a_value(column, checks)
    except NoValue:
        if column.nullable:
            return None
        raise


def _referred(column: Column[Any], rows: Mapping[str, Mapping[str, Any]]) -> Any:
    for key in column.foreign_keys:
        row = rows.get(key.column.table.name)
        if row is not None:
            return row[key.column.name]
    if not column.nullable:
        raise NoValue(str(column))
    return None
