"""Lets no value change when the copy of an SQLite table has a column of another type.

Alembic writes CAST, which takes 'abc' for 0 and '2020-01-01' for 2020 where PostgreSQL would fail.
"""

from alembic.operations.batch import ApplyBatchImpl
from sqlalchemy import Cast, Connection, Dialect
from sqlalchemy.types import TypeEngine

from quetz.migrations.failures import Unsound
from quetz.migrations.schemas.sqlite_tables import affinity_of

_NUMBERS = ("BOOL", "DEC", "NUM")
_DIGITS = 15  # of a decimal number; SQLite keeps no more
_SHOWN = 60  # characters of a value
_TEXT_OF_NUMBER = "typeof({x}) = 'text' AND {x} = CAST({x} AS NUMERIC)"


def is_cast(kind: TypeEngine[object], dialect: Dialect) -> bool:
    """Tell whether SQLite keeps values of this type otherwise than they were given.

    Dates, times, UUIDs and JSON are text to it, though it takes their types for such of numbers.
    """
    declared = kind.compile(dialect=dialect).upper()
    return affinity_of(declared) != "NUMERIC" or declared.startswith(_NUMBERS)


def check_values(connection: Connection, batch: ApplyBatchImpl) -> None:
    """Raises Unsound: the copy of a column would have another value than the column."""
    name_of = connection.dialect.identifier_preparer.quote_identifier
    for old, column in batch.columns.items():
        if (expression := batch.column_transfers[old].get("expr")) is None:
            continue
        declared = column.type.compile(dialect=connection.dialect)
        changed = (
            _changed_by_cast(declared)
            if isinstance(expression, Cast)
            else _changed_by_affinity(connection, batch.table.name, old, declared)
        ).format(x=name_of(old), new=expression.compile(dialect=connection.dialect))
        query = f"SELECT count(*), min(quote({name_of(old)})) FROM {name_of(batch.table.name)}"  # noqa: S608 (from the schema)
        count, value = connection.exec_driver_sql(f"{query} WHERE {changed}").one()
        if count:
            values = "1 value" if count == 1 else f"{count:,} values"
            raise Unsound(
                f"the change of column '{old}' of table '{batch.table.name}' to {declared} would "
                f"change {values}, such as {value[:_SHOWN]}; the migration has to say first, by "
                "an UPDATE, what becomes of them"
            )


def _changed_by_cast(declared: str) -> str:
    if (affinity := affinity_of(declared)) == "BLOB":
        return "typeof({x}) IN ('integer', 'real')"
    # Both sides are compared as numbers, if they are such; else text is more than any number.
    changed = "{x} <> {new}"
    if affinity == "NUMERIC":
        digits = "length(trim(replace(replace({x}, '-', ''), '.', ''), '0 '))"
        is_real = "typeof(CAST({x} AS NUMERIC)) = 'real'"
        changed += f" OR ({_TEXT_OF_NUMBER} AND {is_real} AND {digits} > {_DIGITS})"
    return changed


def _changed_by_affinity(connection: Connection, table: str, name: str, declared: str) -> str:
    """Tell which texts SQLite would keep as numbers that read otherwise."""
    query = "SELECT type FROM pragma_table_info(?) WHERE name = ? COLLATE NOCASE"
    before = connection.exec_driver_sql(query, (table, name)).scalar() or ""
    if affinity_of(declared) in {affinity_of(before), "TEXT", "BLOB"}:
        return "false"
    return f"{_TEXT_OF_NUMBER} AND CAST(CAST({{x}} AS NUMERIC) AS TEXT) <> CAST({{x}} AS TEXT)"
