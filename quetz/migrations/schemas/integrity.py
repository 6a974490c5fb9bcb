"""Looks for what failed migrations and lost rows leave in a database."""

from collections import Counter
from collections.abc import Callable, Iterator

from sqlalchemy import Connection, inspect
from sqlalchemy.engine.interfaces import ReflectedForeignKeyConstraint

TEMPORARY = "_alembic_tmp_"  # how Alembic names the copy of a table
_MOST = 1000  # findings of SQLite's own check


def leftover_tables(connection: Connection) -> list[str]:
    """Return the copies of tables that a migration was killed in the middle of."""
    names = inspect(connection).get_table_names()
    return sorted(name for name in names if name.startswith(TEMPORARY))


def broken_references(connection: Connection, *, deep: bool) -> list[str]:
    """Return a line for each foreign key that rows break; on PostgreSQL only if ``deep``.

    There the server sees to them, unless triggers are off or a constraint was never validated.
    """
    if connection.dialect.name == "sqlite":
        found = connection.exec_driver_sql("PRAGMA foreign_key_check")
        counted = Counter((row[0], row[2]) for row in found)
        return [_told(table, parent, count) for (table, parent), count in sorted(counted.items())]
    return list(_orphans(connection)) if deep else []


def damage(connection: Connection) -> list[str]:
    """Return what SQLite finds wrong with its file, reading all of it."""
    if connection.dialect.name != "sqlite":
        return []
    lines = connection.exec_driver_sql(f"PRAGMA integrity_check({_MOST})").scalars().all()
    return [] if lines == ["ok"] else list(lines)


def _orphans(connection: Connection) -> Iterator[str]:
    inspector = inspect(connection)
    quote = connection.dialect.identifier_preparer.quote
    for table in sorted(inspector.get_table_names()):
        for reference in inspector.get_foreign_keys(table):
            if reference["referred_schema"] is not None:  # not a table of ours
                continue
            query = _query(table, reference, quote)
            if count := connection.exec_driver_sql(query).scalar_one():
                yield _told(table, reference["referred_table"], count)


def _query(
    table: str, reference: ReflectedForeignKeyConstraint, quote: Callable[[str], str]
) -> str:
    columns = [quote(column) for column in reference["constrained_columns"]]
    keys = [quote(column) for column in reference["referred_columns"]]
    # As the database counts: a row with a null in it refers to nothing.
    given = " AND ".join(f"child.{column} IS NOT NULL" for column in columns)
    same = " AND ".join(
        f"parent.{key} = child.{column}" for key, column in zip(keys, columns, strict=True)
    )
    parent = quote(reference["referred_table"])
    return (
        f"SELECT count(*) FROM {quote(table)} AS child WHERE {given} "  # noqa: S608 (from the schema)
        f"AND NOT EXISTS (SELECT 1 FROM {parent} AS parent WHERE {same})"
    )


def _told(table: str, parent: str, count: int) -> str:
    rows = "1 row refers" if count == 1 else f"{count} rows refer"
    return f"{rows} from '{table}' to rows of '{parent}' that are gone"
