"""Keeps what hangs on an SQLite table when a copy takes the table's place.

Alembic copies what reflection tells: neither triggers nor indexes of expressions.
"""

import re
from collections.abc import Collection, Iterator, Mapping

from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from quetz.migrations.schemas.sqlite_tables import plain

Attached = Mapping[str, tuple[str, str]]
"""Table and statement of triggers and indexes, by name."""

_ATTACHED = """
    SELECT name, tbl_name, sql FROM sqlite_master AS object
    WHERE type = 'trigger' OR (type = 'index' AND sql IS NOT NULL AND EXISTS (
        SELECT 1 FROM pragma_index_xinfo(object.name) WHERE cid = -2
    ))
"""
_TRIGGERED = """
    SELECT tbl_name, sql FROM sqlite_master
    WHERE type = 'trigger' AND tbl_name IN (SELECT name FROM sqlite_master WHERE type = 'table')
"""
_UPDATED = re.compile(r"\bUPDATE\s+OF\s+(.+?)\s+ON\s", re.IGNORECASE | re.DOTALL)
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
        exists = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ? COLLATE NOCASE"
        if connection.exec_driver_sql(exists, (table,)).first():
            connection.exec_driver_sql(statement)


def unfit_triggers(connection: Connection) -> set[str]:
    """Return what is wrong with triggers: SQLite looks at one only when it is to run."""
    rows = connection.exec_driver_sql(_TRIGGERED).all()
    return {
        f"a trigger of table '{table}' does not fit any more: {fault}"
        for table in sorted({row.tbl_name for row in rows})
        for fault in _faults(connection, table, [r.sql for r in rows if r.tbl_name == table])
    }


def _faults(connection: Connection, table: str, triggers: Collection[str]) -> Iterator[str]:
    quoted = connection.dialect.identifier_preparer.quote_identifier
    query = "SELECT name FROM pragma_table_xinfo(?) WHERE hidden = 0"
    columns = connection.exec_driver_sql(query, (table,)).scalars().all()
    changed = ", ".join(f"{quoted(name)} = NULL" for name in columns)
    for statement in (
        f"INSERT INTO {quoted(table)} DEFAULT VALUES",
        f"UPDATE {quoted(table)} SET {changed}",  # noqa: S608 (from the schema)
        f"DELETE FROM {quoted(table)}",  # noqa: S608 (as above)
    ):
        try:
            connection.exec_driver_sql(f"EXPLAIN {statement}").close()
        except OperationalError as error:
            yield str(error.orig)
    known = {plain(name) for name in columns}
    for listed in [found[1] for trigger in triggers if (found := _UPDATED.search(trigger))]:
        for name in sorted({plain(one.strip()) for one in listed.split(",")} - known):
            yield f"no such column: {name}"
