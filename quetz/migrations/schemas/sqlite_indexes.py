"""Compares indexes on SQLite, where reflection leaves out expressions, conditions and orders."""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from alembic.autogenerate.api import AutogenContext
from alembic.operations import ops
from alembic.util import PriorityDispatchResult
from sqlalchemy import Connection, Index, MetaData, Table, text
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateIndex

from quetz.migrations.schemas.expressions import escaped

_STATEMENT = re.compile(
    r"CREATE\s+(?P<unique>UNIQUE\s+)?INDEX\s.*?\sON\s+\S+?\s*\((?P<what>.*?)\)"
    r"(?:\s+WHERE\s+(?P<where>.*))?",
    re.IGNORECASE | re.DOTALL,
)
_LITERAL = re.compile(r"('(?:[^']|'')*')")
_PUNCTUATION = re.compile(r"[\"`\[\]]|\s*([(),=<>])\s*")


@contextmanager
def without_warnings_of_indexes() -> Iterator[None]:
    """Be silent on indexes that reflection leaves out: here they are looked at otherwise."""
    with warnings.catch_warnings():
        for start in ("autogenerate skipping", "Skipped unsupported reflection of expression"):
            warnings.filterwarnings("ignore", start)
        yield


def index_statements(connection: Connection, table: str) -> dict[str, str]:
    """Return what made each index of a table, but those of its constraints."""
    query = (
        "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = ? COLLATE NOCASE"
    )
    rows = connection.exec_driver_sql(query, (table,))
    return {row.name: row.sql for row in rows if row.sql is not None}


def plain_statement(statement: str) -> str:
    """Write a statement as it is compared by: quotes, blanks and case count in texts alone."""
    parts = _LITERAL.split(statement)
    parts[::2] = [_PUNCTUATION.sub(r"\1", re.sub(r"\s+", " ", part)).lower() for part in parts[::2]]
    return "".join(parts).strip()


def compare_indexes(
    context: AutogenContext,
    modify: ops.ModifyTableOps,
    _schema: str | None,
    name: str,
    found: Table | None,
    model: Table | None,
) -> PriorityDispatchResult:
    """Compare what made the indexes: Alembic sees no expression, no condition and no order."""
    assert context.connection is not None
    present = {} if found is None else index_statements(context.connection, name)
    seen = {} if found is None else {str(index.name): index for index in found.indexes}
    wanted = {} if model is None else {str(index.name): index for index in model.indexes}
    for one in sorted(present.keys() | wanted.keys()):
        old, new = present.get(one), wanted.get(one)
        if old is not None and new is not None and _rule(old) == _rule(_made(new)):
            continue
        if old is not None:
            modify.ops.append(ops.DropIndexOp.from_index(_index(one, name, old, seen.get(one))))
        if new is not None:
            modify.ops.append(ops.CreateIndexOp.from_index(new))
    return PriorityDispatchResult.CONTINUE


def _made(index: Index) -> str:
    return str(CreateIndex(index).compile(dialect=sqlite.dialect()))


def _rule(statement: str) -> list[str]:
    return [plain_statement(part) for part in _parts(statement).values()]


def _index(name: str, table: str, statement: str, seen: Index | None) -> Index:
    """Return what a statement makes: as it was reflected if that tells the whole."""
    if seen is not None and _rule(_made(seen)) == _rule(statement):
        return seen
    parts = _parts(statement)
    index = Index(name, text(escaped(parts["what"])), unique=bool(parts["unique"]))
    if parts["where"]:
        index.dialect_options["sqlite"]["where"] = text(escaped(parts["where"]))
    index._set_parent(Table(table, MetaData()))  # noqa: SLF001
    return index


def _parts(statement: str) -> dict[str, str]:
    """Split a statement into ``unique``, ``what`` and ``where``; "" is for what it has not."""
    found = _STATEMENT.fullmatch(statement.strip())
    assert found is not None, statement
    return found.groupdict("")
