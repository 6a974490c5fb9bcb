"""SQLite: all in one transaction, which keeps every row that hangs on a rebuilt table.

SQLite cannot alter a column in place: Alembic copies the table ("batch"), drops the old one and
renames the copy.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, Table, event

_GIVEN = "SELECT name, seq FROM sqlite_sequence"

Orphan = tuple[str, int | None, str]
"""Table, rowid and missing parent, from ``PRAGMA foreign_key_check``."""


class BrokenReferences(Exception):
    """Rows would be left that refer to rows which are gone."""


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """Open a write transaction that no other process can be in; commit at the end.

    Raises:
        BrokenReferences: the transaction took away what other rows refer to.
    """
    # Immediately: whoever waits for the lock sees what was applied meanwhile.
    with (
        engine.execution_options(write=True).connect() as connection,
        _without_foreign_keys(connection),
        connection.begin(),
        _keeping_autoincrement(connection),
    ):
        orphans, numbers = _orphans(connection), _numbers(connection)
        yield connection
        if broken := _orphans(connection) - orphans:
            table, row, parent = min(broken, key=str)
            raise BrokenReferences(
                f"row {row} of '{table}' refers to a row of '{parent}' that is gone "
                f"({len(broken)} such rows)"
            )
        _restore(connection, numbers)


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


def _orphans(connection: Connection) -> set[Orphan]:
    rows = connection.exec_driver_sql("PRAGMA foreign_key_check")
    return {(table, row, parent) for table, row, parent, _constraint in rows}


@contextmanager
def _keeping_autoincrement(connection: Connection) -> Iterator[None]:
    """Let a copy have AUTOINCREMENT where its table has; reflection alone does not tell it."""

    def reflected(_inspector: object, table: Table, _column: object) -> None:
        if has_autoincrement(connection, table.name):
            table.dialect_options["sqlite"]["autoincrement"] = True

    event.listen(Table, "column_reflect", reflected)
    try:
        yield
    finally:
        event.remove(Table, "column_reflect", reflected)


def has_autoincrement(connection: Connection, table: str) -> bool:
    return "AUTOINCREMENT" in table_sql(connection, table).upper()


def table_sql(connection: Connection, table: str) -> str:
    """Return the statement that made the table; "" if there is no such table."""
    query = "SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ?"
    return connection.exec_driver_sql(query, (table,)).scalar() or ""


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
