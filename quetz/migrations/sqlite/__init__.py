"""SQLite: all in one transaction, which keeps every row that hangs on a rebuilt table.

SQLite cannot alter a column in place: Alembic copies the table ("batch"), drops the old one and
renames the copy.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, event

from quetz.migrations.schemas.reflections import reflecting
from quetz.migrations.schemas.sqlite_tables import has_autoincrement
from quetz.migrations.sqlite.copies import reflecting_more

_GIVEN = "SELECT name, seq FROM sqlite_sequence"
_TEMPORARY = "_alembic_tmp_"
_REPLACING = re.compile(rf'ALTER TABLE "?{_TEMPORARY}')
# KiB: a copy of a large table is several times faster than with the default of 2 MiB.
_CACHE = 256 * 1024


class LeftOver(Exception):
    """The remains of a migration that another tool was killed in hold rows."""


@contextmanager
def transaction(connection: Connection) -> Iterator[None]:
    """Be in a write transaction that no other process can be in; commit at the end.

    Raises:
        LeftOver: there is a copy of a table that would be lost.
    """
    # Immediately: whoever waits for the lock sees what was applied meanwhile.
    with (
        _without_foreign_keys(connection),
        connection.begin(),
        reflecting_more(connection),
        _replacing_tables(connection),
        reflecting(),  # indexes it warns of come back when the copy is made
    ):
        connection.exec_driver_sql(f"PRAGMA cache_size=-{_CACHE}")
        # Some builds write zeros over a dropped table, which takes longer than to copy it.
        connection.exec_driver_sql("PRAGMA secure_delete=FAST")
        _drop_left_over(connection)
        numbers = _numbers(connection)
        yield
        _restore(connection, numbers)


@contextmanager
def _replacing_tables(connection: Connection) -> Iterator[None]:
    """Let a copy take the name of its table though a view, or a trigger of another table, has it.

    Only for that statement: else foreign keys would not follow a table that is renamed.
    """

    def switch(cursor: Any, statement: str, state: str) -> None:
        if _REPLACING.match(statement):
            cursor.execute(f"PRAGMA legacy_alter_table={state}")

    def before(_connection: object, cursor: Any, statement: str, *_context: object) -> None:
        switch(cursor, statement, "ON")

    def after(_connection: object, cursor: Any, statement: str, *_context: object) -> None:
        switch(cursor, statement, "OFF")

    event.listen(connection, "before_cursor_execute", before)
    event.listen(connection, "after_cursor_execute", after)
    try:
        yield
    finally:
        event.remove(connection, "before_cursor_execute", before)
        event.remove(connection, "after_cursor_execute", after)


@contextmanager
def _without_foreign_keys(connection: Connection) -> Iterator[None]:
    """Dropping a table that is rebuilt would delete, by ON DELETE CASCADE, what refers to it.

    The pragma does nothing within a transaction, so it goes past SQLAlchemy, which begins one.
    """
    driver = connection.connection.cursor()
    driver.execute("PRAGMA foreign_keys=OFF")
    if driver.execute("PRAGMA foreign_keys").fetchone() != (0,):
        raise RuntimeError("SQLite's foreign keys could not be switched off")
    try:
        yield
    finally:
        if not connection.invalidated:  # as SQLAlchemy leaves it after Ctrl-C
            driver.execute("PRAGMA foreign_keys=ON")
            driver.close()


def _drop_left_over(connection: Connection) -> None:
    """Drop copies that a tool without transactions left, if they hold nothing of their own."""
    tables = "SELECT name FROM sqlite_master WHERE type = 'table'"
    names = set(connection.exec_driver_sql(tables).scalars())
    for copy in sorted(name for name in names if name.startswith(_TEMPORARY)):
        table = copy.removeprefix(_TEMPORARY)
        lost = f'SELECT * FROM "{copy}"'  # noqa: S608 (from the schema)
        if table in names:
            columns = _columns(connection, copy) & _columns(connection, table)
            listed = ", ".join(f'"{column}"' for column in sorted(columns))
            lost = f'SELECT {listed} FROM "{copy}" EXCEPT SELECT {listed} FROM "{table}"'  # noqa: S608 (as above)
        if connection.exec_driver_sql(f"{lost} LIMIT 1").first():
            raise LeftOver(
                f"table '{copy}', which a migration left that was killed, has rows that "
                f"'{table}' lacks; save them, drop it and try again"
            )
        connection.exec_driver_sql(f'DROP TABLE "{copy}"')


def _columns(connection: Connection, table: str) -> set[str]:
    return {row.name for row in connection.exec_driver_sql(f'PRAGMA table_info("{table}")')}


def _numbers(connection: Connection) -> dict[str, int]:
    """Return the highest id that each table with AUTOINCREMENT ever gave."""
    query = "SELECT name FROM sqlite_master WHERE name = 'sqlite_sequence'"
    if connection.exec_driver_sql(query).scalar() is None:
        return {}
    return {row.name: row.seq for row in connection.exec_driver_sql(_GIVEN)}


def _restore(connection: Connection, numbers: dict[str, int]) -> None:
    """Give copies the numbers of their tables: a copy knows only of the ids still there."""
    present = _numbers(connection)
    for table, number in numbers.items():
        if not has_autoincrement(connection, table) or present.get(table, 0) >= number:
            continue
        connection.exec_driver_sql("DELETE FROM sqlite_sequence WHERE name = ?", (table,))
        connection.exec_driver_sql("INSERT INTO sqlite_sequence VALUES (?, ?)", (table, number))
