"""Puts rows into each empty table, so that a migration is tried out on tables with rows."""

import datetime as dt
import re
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    Connection,
    MetaData,
    Table,
    delete,
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
from quetz.migrations.schemas.reflections import reflecting

_NOT_SEEDED = frozenset({"alembic_version", LEDGER.name})
_TIME, _DAY = dt.datetime(2001, 1, 1, tzinfo=dt.UTC), dt.timedelta(days=1)
# For a first row and for a second, so that a column can be unique.
_VALUES: dict[type, tuple[Any, Any]] = {
    bool: (True, False),
    int: (1, 2),
    float: (1.5, 2.5),
    Decimal: (Decimal(1), Decimal(2)),
    bytes: (b"x", b"y"),
    dt.datetime: (_TIME, _TIME + _DAY),
    dt.date: (_TIME.date(), (_TIME + _DAY).date()),
    dt.time: (dt.time(0), dt.time(1)),
    dt.timedelta: (_DAY, 2 * _DAY),
    uuid.UUID: (uuid.UUID(int=1), uuid.UUID(int=2)),
    list: ([], []),
    dict: ({}, {}),
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
_TEXT = re.compile(r"'((?:[^']|'')*)'")
_IN_LIST = re.compile(
    r"(\w+)\"?\)?(?:::\w+)? *(?:IN|=) *(?:ANY *)?[(\[A-Z]*"
    r"('(?:[^']|'')*'(?:(?:::[\w ]+)*, *'(?:[^']|'')*')*)",
    re.IGNORECASE,
)
_Row = Mapping[str, Any]
# How the first and the second row are tried: with null where it may be or not, and to which row
# of other tables they refer.
_WAYS = (((False, 0),), ((True, 1), (True, 0), (False, 1), (False, 0)))


class NoValue(Exception):
    """A column must have a value, and none is known that it takes."""


def seed(connection: Connection) -> set[str]:
    """Add two rows to each empty table, and return the tables that have rows now.

    The first has a value in each column, the second null where that may be. What a CHECK, a key
    or a type does not take is left out, be it one row or both.
    """
    inspector = inspect(connection)
    waiting = dict(_tables(connection, inspector))
    rows: dict[str, list[_Row]] = {}
    while waiting:
        ready = [name for name, table in waiting.items() if not (_needed(table) & waiting.keys())]
        for name in ready or sorted(waiting)[:1]:  # tables that need each other stay empty
            if found := _rows_of(connection, inspector, waiting.pop(name), rows):
                rows[name] = found
    return set(rows)


def clear(connection: Connection, tables: Collection[str]) -> None:
    """Delete all rows of the tables, and first those that refer to them."""
    metadata = MetaData()
    with reflecting():
        metadata.reflect(connection)
    doomed = set(tables)
    parents_first = metadata.sorted_tables
    for table in parents_first:
        if _needed(table) & doomed:
            doomed.add(table.name)
    for table in reversed(parents_first):
        if table.name in doomed:
            connection.execute(delete(table))


def count_rows(connection: Connection) -> dict[str, int]:
    names = set(inspect(connection).get_table_names()) - _NOT_SEEDED
    quoted = connection.dialect.identifier_preparer.quote
    return {
        name: connection.exec_driver_sql(f"SELECT count(*) FROM {quoted(name)}").scalar_one()  # noqa: S608
        for name in sorted(names)
    }


def a_value(column: Column[Any], checks: Sequence[str] = (), *, place: int = 0) -> Any:
    """Return a value that fits the column's type, and its lists of what may be in it.

    For another ``place``, 0 or 1, it is another one if there is one.

    Raises:
        NoValue: none is known.
    """
    listed = _listed_values(column.name, checks) or getattr(column.type, "enums", [])
    if listed:
        return listed[place % len(listed)]
    if isinstance(column.type, JSON):
        return {}
    kind = _python_type(column.type)
    if kind is str:
        return ("", "2")[place] + column.name[: _length(column) - place]
    if kind not in _VALUES:
        raise NoValue(str(column))
    return _VALUES[kind][place]


def _length(column: Column[Any]) -> int:
    return getattr(column.type, "length", None) or len(column.name) + 1


def listed_value(column: str, checks: Sequence[str]) -> str | None:
    """Return the first of the texts that a CHECK lets a column have."""
    return next(iter(_listed_values(column, checks)), None)


def _listed_values(column: str, checks: Sequence[str]) -> list[str]:
    found = (match for check in checks for match in _IN_LIST.finditer(check))
    texts = (_TEXT.findall(match[2]) for match in found if match[1] == column)
    return [value.replace("''", "'") for value in next(texts, [])]


def is_ruled(column: str, checks: Sequence[str]) -> bool:
    """Tell whether a CHECK says of a column more than a list of what may be in it."""
    name = re.compile(rf"\b{re.escape(column)}\b")
    return not _listed_values(column, checks) and any(map(name.search, checks))


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


def _rows_of(
    connection: Connection, inspector: Inspector, table: Table, rows: Mapping[str, list[_Row]]
) -> list[_Row]:
    """Return the first two rows of a table; an empty one gets them, as far as it takes them."""
    if present := connection.execute(select(table).limit(2)).mappings().all():
        return [dict(row) for row in present]
    checks = [check["sqltext"] for check in inspector.get_check_constraints(table.name)]
    made: list[_Row] = []
    for place, ways in enumerate(_WAYS):
        for way in ways:
            source = _Source(checks, rows, place, *way)
            if row := _inserted(connection, table, source):
                made.append(row)
                break
    return made


def _inserted(connection: Connection, table: Table, source: "_Source") -> _Row | None:
    try:
        values = dict(source.values(table))
        with connection.begin_nested():
            answer = connection.execute(insert(table).values(values).returning(*table.columns))
            return dict(answer.mappings().one())
    except (NoValue, DBAPIError):
        return None


@dataclass(frozen=True)
class _Source:
    """Where the values of a row come from; it refers to rows of the place ``referred``."""

    checks: Sequence[str]
    rows: Mapping[str, list[_Row]]
    place: int
    is_sparse: bool
    referred: int

    def values(self, table: Table) -> Iterator[tuple[str, Any]]:
        for column in table.columns:
            if self.is_sparse and column.nullable and not column.computed:
                yield column.name, None
            elif column.foreign_keys:
                yield column.name, self._referred(column)
            elif not _is_filled(column):
                yield column.name, self._value_or_null(column)

    def _value_or_null(self, column: Column[Any]) -> Any:
        try:
            return a_value(column, self.checks, place=self.place)
        except NoValue:
            if column.nullable:
                return None
            raise

    def _referred(self, column: Column[Any]) -> Any:
        for key in column.foreign_keys:
            if found := self.rows.get(key.column.table.name):
                return found[: self.referred + 1][-1][key.column.name]
        if not column.nullable:
            raise NoValue(str(column))
        return None


def _is_filled(column: Column[Any]) -> bool:
    """Tell whether the database fills the column itself."""
    if column.server_default is not None or column.computed or column.identity:
        return True
    # Only this very type makes SQLite number rows by itself.
    is_number = column.type.compile() == "INTEGER"
    return is_number and column is column.table.autoincrement_column
