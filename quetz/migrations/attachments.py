"""Keeps what hangs on an SQLite table when a copy takes the table's place.

Alembic copies what reflection tells: neither triggers nor indexes of expressions.
"""

import re
from collections.abc import Collection, Mapping

from sqlalchemy import Connection

Attached = Mapping[str, tuple[str, str]]
"""Table and statement of triggers and indexes, by name."""

_ATTACHED = """
    SELECT name, tbl_name, sql FROM sqlite_master AS object
    WHERE type = 'trigger' OR (type = 'index' AND sql IS NOT NULL AND EXISTS (
        SELECT 1 FROM pragma_index_xinfo(object.name) WHERE cid = -2
    ))
"""
_NAME = r"(?:main\s*\.\s*)?(?:[\"`\[](.+?)[\"`\]]|(\w+))"
_DROPPED = re.compile(rf"\bDROP\s+(?:TRIGGER|INDEX)\s+(?:IF\s+EXISTS\s+)?{_NAME}", re.IGNORECASE)


def attached(connection: Connection) -> Attached:
    """Return what a copy of a table would lose; nothing on PostgreSQL, which makes none."""
    if connection.dialect.name != "sqlite":
        return {}
    rows = connection.exec_driver_sql(_ATTACHED)
    return {row.name: (row.tbl_name, row.sql) for row in rows}


def dropped_by(statement: str) -> list[str]:
    return [quoted or plain for quoted, plain in _DROPPED.findall(statement)]


def bring_back(connection: Connection, before: Attached, dropped: Collection[str]) -> None:
    """Make anew what is gone, though its table is there, and nobody dropped it."""
    present = attached(connection)
    for name in before.keys() - present.keys() - set(dropped):
        table, statement = before[name]
        exists = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
        if connection.exec_driver_sql(exists, (table,)).first():
            connection.exec_driver_sql(statement)
