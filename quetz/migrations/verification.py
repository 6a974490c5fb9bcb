"""Looks at what migrations did before it is committed."""

import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, inspect
from sqlalchemy.exc import OperationalError

from quetz.migrations.failures import Unsound
from quetz.migrations.schemas.comparisons import differences
from quetz.migrations.sqlite.attachments import Attached, attached, dropped_by, unfit_triggers
from quetz.plugins import Plugins

_WRITTEN = re.compile(
    r"\b(?:INSERT(?:\s+OR\s+\w+)?\s+INTO|REPLACE\s+INTO|DELETE\s+FROM)\s+[\"`\[]?(\w+)",
    re.IGNORECASE,
)
_OURS = ("alembic_version", "quetz_migration_log")
_INVALID_INDEXES = """
    SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    WHERE NOT i.indisvalid AND c.relnamespace = quote_ident(current_schema())::regnamespace
"""

Orphans = Counter[tuple[str, str, tuple[str, ...]]]
"""How many rows refer to none: by table, missing parent, and the values that refer to it.

Not by rowid, which a copy may give anew, and which a table may not have.
"""


@dataclass
class Statements:
    """What migrations ran: the rows that were written, and tables whose rows they meant to.

    ``dropped`` are triggers and indexes.
    """

    rows: int = 0
    tables: set[str] = field(default_factory=set)
    dropped: set[str] = field(default_factory=set)

    def executed(self, _connection: object, cursor: Any, statement: str, *_context: object) -> None:
        """Note a statement; SQLAlchemy calls this as its event ``after_cursor_execute``."""
        if statement.startswith("EXPLAIN") or any(name in statement for name in _OURS):
            return
        if cursor.rowcount > 0 and statement.lstrip()[:6].upper() != "SELECT":
            self.rows += cursor.rowcount
        self.tables.update(_WRITTEN.findall(statement))
        self.dropped.update(dropped_by(statement))


@dataclass(frozen=True)
class Witness:
    """How a database was before its migrations."""

    differences: Collection[str]
    tables: Collection[str]
    invalid_indexes: Collection[str]
    sqlite: "_SqliteWitness | None" = None

    @classmethod
    def of(cls, connection: Connection, plugins: Plugins, owners: Collection[str]) -> "Witness":
        """Look at the database; the tables of ``owners`` will be compared with their models."""
        before = differences(connection, plugins, owners)
        tables = inspect(connection).get_table_names()
        if connection.dialect.name == "sqlite":
            return cls(before, tables, set(), _SqliteWitness.of(connection))
        return cls(before, tables, invalid_indexes(connection))

    def check_step(self, connection: Connection) -> None:
        """Raises Unsound: a revision left an index that PostgreSQL could not build."""
        present = invalid_indexes(connection) if self.sqlite is None else set()
        if broken := present - set(self.invalid_indexes):
            raise Unsound(f"index '{min(broken)}' is invalid")

    def check_triggers(self, connection: Connection) -> None:
        """Raises Unsound: a trigger would fail, with the statement of a server that runs it."""
        if self.sqlite is not None and (
            new := unfit_triggers(connection) - set(self.sqlite.unfit_triggers)
        ):
            raise Unsound(min(new))

    def check_end(
        self,
        connection: Connection,
        plugins: Plugins,
        statements: Statements,
        owners: Collection[str],
    ) -> list[str]:
        """Return what the models of ``owners`` lack, and lacked before.

        A new table that is not as its models need it does not count: the models may have been
        changed, and their migration is not made yet.

        Raises:
            Unsound: rows or references were lost, or a table is not what its models need, and was.
        """
        if self.sqlite is not None:
            self.sqlite.check(connection, statements)
        lacking = differences(connection, plugins, owners, extras=False)
        worse = lacking and differences(
            connection, plugins, owners, extras=False, tables=self.tables
        )
        if new := set(worse) - set(self.differences):
            raise Unsound(f"the tables are not as the models need them: {'; '.join(sorted(new))}")
        return sorted(lacking)


@dataclass(frozen=True)
class _SqliteWitness:
    """What a copy of a table may lose."""

    rows: Mapping[str, int]
    orphans: Orphans
    mismatched: Collection[str]
    attached: Attached
    unfit_triggers: Collection[str]

    @classmethod
    def of(cls, connection: Connection) -> "_SqliteWitness":
        return cls(
            _rows(connection),
            *_references(connection),
            attached(connection),
            unfit_triggers(connection),
        )

    def check(self, connection: Connection, statements: Statements) -> None:
        meant = {one.lower() for one in statements.tables | self._tables_of_triggers()}
        rows = {table.lower(): count for table, count in self.rows.items()}
        for table, count in _rows(connection).items():
            before = rows.get(table.lower(), count)
            if count != before and table.lower() not in meant:
                raise Unsound(f"table '{table}' had {before:,} rows and has {count:,}")
        orphans, mismatched = _references(connection)
        if broken := orphans - self.orphans:
            table, parent, values = min(broken)
            by = f", '{', '.join(values)}'" if values else ""
            raise Unsound(
                f"a row of '{table}' refers to a row of '{parent}' that is gone"
                f"{by} ({broken.total()} such rows)"
            )
        if new := mismatched - set(self.mismatched):
            raise Unsound(min(new))

    def _tables_of_triggers(self) -> set[str]:
        text = " ".join(sql for _table, sql in self.attached.values())
        return set(_WRITTEN.findall(text))


def invalid_indexes(connection: Connection) -> set[str]:
    """Return the indexes that PostgreSQL began to build and does not use."""
    return set(connection.exec_driver_sql(_INVALID_INDEXES).scalars())


def _tables(connection: Connection) -> list[str]:
    names = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'")
    return [name for name in names.scalars() if not name.startswith("sqlite_")]


def _rows(connection: Connection) -> dict[str, int]:
    quoted = connection.dialect.identifier_preparer.quote_identifier
    return {
        table: connection.exec_driver_sql(f"SELECT count(*) FROM {quoted(table)}").scalar_one()  # noqa: S608 (from the schema)
        for table in _tables(connection)
        if table not in _OURS
    }


def _references(connection: Connection) -> tuple[Orphans, set[str]]:
    """Return rows that refer to none, and, in SQLite's words, foreign keys to what is no key."""
    orphans: Orphans = Counter()
    mismatched = set()
    quoted = connection.dialect.identifier_preparer.quote_identifier
    for table in _tables(connection):
        found = f"FROM pragma_foreign_key_check({quoted(table)})"
        query = f"SELECT parent, fkid, rowid, count(*) {found} GROUP BY parent, fkid"
        try:
            for parent, key, row, count in connection.exec_driver_sql(query).all():
                if row is None:
                    orphans[table, parent, ()] = count
                else:
                    wanted = f"_rowid_ IN (SELECT rowid {found} WHERE fkid = {key})"
                    orphans += _values(connection, table, parent, key, wanted)
        except OperationalError as error:
            mismatched.add(str(error.orig))
    return orphans, mismatched


def _values(connection: Connection, table: str, parent: str, key: int, wanted: str) -> Orphans:
    quoted = connection.dialect.identifier_preparer.quote_identifier
    query = 'SELECT "from" FROM pragma_foreign_key_list(?) WHERE id = ? ORDER BY seq'
    columns = connection.exec_driver_sql(query, (table, key)).scalars()
    listed = ", ".join(map(quoted, columns))
    query = f"SELECT {listed} FROM {quoted(table)} WHERE {wanted}"  # noqa: S608 (from the schema)
    rows = connection.exec_driver_sql(query)
    return Counter((table, parent, tuple(map(str, row))) for row in rows)
