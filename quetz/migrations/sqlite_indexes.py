"""Compares on SQLite the indexes that reflection leaves out: of expressions, or of some rows."""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from alembic.autogenerate.api import AutogenContext
from alembic.operations import ops
from alembic.util import PriorityDispatchResult
from sqlalchemy import Column, Connection, Index, MetaData, Table, text
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateIndex

_STATEMENT = re.compile(
    r"CREATE\s+(?P<unique>UNIQUE\s+)?INDEX\s.*?\sON\s+\S+?\s*\((?P<what>.*?)\)"
    r"(?:\s+WHERE\s+(?P<where>.*))?",
    re.IGNORECASE | re.DOTALL,
)


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
    """Write a statement as it is compared by: quotes and blanks do not count."""
    return " ".join(re.sub(r"[\"`\[\]]", "", statement).split()).replace("( ", "(").lower()


def compare_indexes(
    context: AutogenContext,
    modify: ops.ModifyTableOps,
    _schema: str | None,
    name: str,
    found: Table | None,
    model: Table | None,
) -> PriorityDispatchResult:
    """Add what Alembic does not: it sees no expression, and no condition."""
    assert context.connection is not None
    present = {} if found is None else index_statements(context.connection, name)
    seen = set() if found is None else {str(index.name) for index in found.indexes}
    wanted = {} if model is None else {str(index.name): index for index in model.indexes}
    for one in sorted(present.keys() | wanted.keys()):
        old, new = present.get(one), wanted.get(one)
        drop, create = _missed(old, new, is_seen=one in seen)
        if drop and old is not None:
            modify.ops.append(ops.DropIndexOp.from_index(_parsed(one, name, old)))
        if create and new is not None:
            modify.ops.append(ops.CreateIndexOp.from_index(new))
    return PriorityDispatchResult.CONTINUE


def _missed(old: str | None, new: Index | None, *, is_seen: bool) -> tuple[bool, bool]:
    """Tell whether to drop and whether to create an index; Alembic sees to the rest."""
    is_expression = new is not None and any(not isinstance(e, Column) for e in new.expressions)
    if old is None:
        return False, is_expression
    if new is None:
        return not is_seen, False
    if is_seen:
        is_changed = not is_expression and _condition(old) != _condition(_made(new))
        return is_changed, is_changed
    is_changed = plain_statement(old) != plain_statement(_made(new))
    return is_changed, is_changed and is_expression


def _made(index: Index) -> str:
    return str(CreateIndex(index).compile(dialect=sqlite.dialect()))


def _condition(statement: str) -> str:
    return plain_statement(_parts(statement)["where"])


def _parsed(name: str, table: str, statement: str) -> Index:
    parts = _parts(statement)
    index = Index(name, text(parts["what"]), unique=bool(parts["unique"]))
    if parts["where"]:
        index.dialect_options["sqlite"]["where"] = text(parts["where"])
    index._set_parent(Table(table, MetaData()))  # noqa: SLF001
    return index


def _parts(statement: str) -> dict[str, str]:
    """Split a statement into ``unique``, ``what`` and ``where``; "" is for what it has not."""
    found = _STATEMENT.fullmatch(statement.strip())
    assert found is not None, statement
    return found.groupdict("")
