"""What a database holds at one moment, and what became of it at another."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, inspect
from sqlalchemy.engine import Inspector
from sqlalchemy.engine.interfaces import ReflectedColumn

from quetz.migrations.authoring.seeds import is_ruled
from quetz.migrations.ledger import LEDGER
from quetz.migrations.positions import recorded_heads
from quetz.migrations.schemas.fingerprints import fingerprint
from quetz.migrations.schemas.sqlite_indexes import without_warnings_of_indexes

_OURS = frozenset({"alembic_version", LEDGER.name})


@dataclass(frozen=True)
class Contents:
    """The rows of a table, and the types of its columns: ``{"id": "INTEGER", ...}``.

    The columns ``bound`` must have a value that no default can give to each row.
    """

    types: Mapping[str, str]
    rows: list[Mapping[str, Any]]
    bound: frozenset[str]

    def values(self, column: str) -> Counter[str]:
        return Counter(repr(row[column]) for row in self.rows)


@dataclass(frozen=True)
class Snapshot:
    """``schema`` has a line for each part of each table, as ``fingerprint`` writes them."""

    heads: frozenset[str]
    schema: frozenset[str]
    tables: Mapping[str, Contents]

    @classmethod
    def of(cls, connection: Connection) -> "Snapshot":
        inspector = inspect(connection)
        bound = dict(_bound_columns(inspector))
        tables = {
            table: _contents(connection, table, columns, bound[table])
            for (_schema, table), columns in inspector.get_multi_columns().items()
            if table not in _OURS
        }
        heads, schema = recorded_heads(connection), fingerprint(connection, inspector)
        return cls(frozenset(heads), frozenset(schema), tables)

    def schema_of(self, tables: Collection[str]) -> frozenset[str]:
        return frozenset(line for line in self.schema if line.partition(":")[0] in tables)


def _contents(
    connection: Connection, table: str, columns: list[ReflectedColumn], bound: frozenset[str]
) -> Contents:
    quoted = connection.dialect.identifier_preparer.quote(table)
    rows = connection.exec_driver_sql(f"SELECT * FROM {quoted}").mappings()
    return Contents(
        {column["name"]: column["type"].compile(connection.dialect) for column in columns},
        sorted((dict(row) for row in rows), key=repr),
        bound,
    )


def _bound_columns(inspector: Inspector) -> Iterator[tuple[str, frozenset[str]]]:
    """Yield the columns that refer to a row, are unique or ruled by a CHECK, and are never null."""
    with without_warnings_of_indexes():
        # All tables at once: one by one, PostgreSQL would be asked a hundred times.
        all_keys = inspector.get_multi_foreign_keys()
        all_uniques = inspector.get_multi_unique_constraints()
        all_indexes = inspector.get_multi_indexes()
        all_checks = inspector.get_multi_check_constraints()
    for table, columns in inspector.get_multi_columns().items():
        checks = [check["sqltext"] for check in all_checks[table]]
        special: set[str | None] = set().union(
            *(key["constrained_columns"] for key in all_keys[table]),
            *(unique["column_names"] for unique in all_uniques[table]),
            *(index["column_names"] for index in all_indexes[table] if index["unique"]),
        )
        yield (
            table[1],
            frozenset(
                column["name"]
                for column in columns
                if not column["nullable"]
                and (column["name"] in special or is_ruled(column["name"], checks))
            ),
        )


def lost_rows(before: Snapshot, after: Snapshot, rewritten: Collection[str] = ()) -> Iterator[str]:
    """Yield a sentence for each table that lost rows, and each column that lost values.

    Only what is there before and after counts, and no value of the tables ``rewritten``.
    """
    for table in sorted(before.tables.keys() & after.tables.keys()):
        old, new = before.tables[table], after.tables[table]
        if len(new.rows) < len(old.rows):
            yield f"table '{table}' had {len(old.rows)} rows and has {len(new.rows)}"
        elif table not in rewritten:
            for column, kind in old.types.items():
                if new.types.get(column) == kind:
                    lost = old.values(column) - new.values(column)
                    yield from (
                        f"column '{column}' of table '{table}' lost {value}"
                        for value in sorted(lost)
                    )


def lost_on_the_way(start: Snapshot, top: Snapshot, end: Snapshot) -> Iterator[tuple[str, str]]:
    """Yield what was gone at the ``top`` and came back without its contents, and a sentence.

    It is a table or ``table.column``. One that was emptied before it came back does not count.
    """
    for table in sorted(start.tables.keys() & end.tables.keys()):
        old, new = start.tables[table], end.tables[table]
        if table not in top.tables:
            if len(new.rows) < len(old.rows):
                yield table, f"table '{table}' had {len(old.rows)} rows and has {len(new.rows)}"
        elif len(top.tables[table].rows) == len(old.rows):
            gone = old.types.keys() - top.tables[table].types.keys()
            for column in sorted(gone & new.types.keys()):
                if lost := sorted(old.values(column) - new.values(column)):
                    sentence = f"column '{column}' of table '{table}' lost {', '.join(lost)}"
                    yield f"{table}.{column}", sentence


def differences(before: Snapshot, after: Snapshot) -> Iterator[str]:
    """Yield a line for each part of a schema that is gone, or is new."""
    yield from (f"is gone: {line}" for line in sorted(before.schema - after.schema))
    yield from (f"is there: {line}" for line in sorted(after.schema - before.schema))
