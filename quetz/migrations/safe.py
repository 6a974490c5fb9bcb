"""Changes of large tables that keep nobody waiting; for revisions, in place of ``alembic.op``.

On PostgreSQL each runs outside a transaction, so their revision has to say
``transactional = False``; it had better hold nothing else. Each may be repeated after a crash. On
SQLite, where all is one transaction, they do the same in the plain way.
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from itertools import count

from alembic import op
from sqlalchemy import Connection, column, func, inspect, select, table, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from quetz.migrations.postgresql import ATTEMPTS, LOCK_TIMEOUT, is_passing
from quetz.migrations.schemas.expressions import escaped

_IS_INVALID = text(
    "SELECT count(*) FROM pg_index WHERE indexrelid = to_regclass(:name) AND NOT indisvalid"
)
_HAS_CONSTRAINT = text(
    "SELECT count(*) FROM pg_constraint WHERE conname = :name AND conrelid = to_regclass(:table)"
)


def create_index(name: str, on: str, columns: Sequence[str], *, unique: bool = False) -> None:
    """Build an index while the table is read and written."""
    if not _is_postgresql():
        op.create_index(name, on, list(columns), unique=unique)
        return
    with op.get_context().autocommit_block():
        # One that was broken off would be kept, and never used.
        if op.get_bind().scalar(_IS_INVALID, {"name": _quoted(name)}):
            op.drop_index(name, on, postgresql_concurrently=True)
        op.create_index(
            name,
            on,
            list(columns),
            unique=unique,
            if_not_exists=True,
            postgresql_concurrently=True,
        )


def drop_index(name: str, on: str) -> None:
    """Drop an index while the table is read and written."""
    if not _is_postgresql():
        op.drop_index(name, on)
        return
    with op.get_context().autocommit_block():
        op.drop_index(name, on, if_exists=True, postgresql_concurrently=True)


def add_foreign_key(
    name: str, on: str, columns: Sequence[str], to: str, keys: Sequence[str], *, ondelete: str
) -> None:
    """Add a foreign key; the rows there are checked while the table is written."""
    if not _is_postgresql():
        with op.batch_alter_table(on) as batch:
            batch.create_foreign_key(name, to, list(columns), list(keys), ondelete=ondelete)
        return
    with op.get_context().autocommit_block():
        if not _has_constraint(name, on):
            _give_way(
                lambda: op.create_foreign_key(
                    name,
                    on,
                    to,
                    list(columns),
                    list(keys),
                    ondelete=ondelete,
                    postgresql_not_valid=True,
                )
            )
        _validate(name, on)


def change_check(name: str, on: str, condition: str) -> None:
    """Add a CHECK, or put it in the place of the one of that name: a new value of an enum."""
    if not _is_postgresql():
        with op.batch_alter_table(on) as batch:
            if _is_named_check(op.get_bind(), name, on):
                batch.drop_constraint(op.f(name), type_="check")
            batch.create_check_constraint(op.f(name), text(escaped(condition)))
        return
    # The one of that name is in force until the rows are known to keep the new one.
    new, old = _name_meanwhile(name), _quoted(name)
    with op.get_context().autocommit_block():
        _alter(on, f"DROP CONSTRAINT IF EXISTS {_quoted(new)}")  # of an attempt that was broken off
        _alter(on, f"ADD CONSTRAINT {_quoted(new)} CHECK ({condition}) NOT VALID")
        _validate(new, on)
        # Statements that are sent together are one transaction.
        drop = f"DROP CONSTRAINT IF EXISTS {old}; ALTER TABLE {_quoted(on)}"
        _alter(on, f"{drop} RENAME CONSTRAINT {_quoted(new)} TO {old}")


def set_not_null(on: str, name: str) -> None:
    """Forbid NULL in a column; the rows there are checked while the table is written."""
    if not _is_postgresql():
        with op.batch_alter_table(on) as batch:
            batch.alter_column(name, nullable=False)
        return
    check = f"ck_{on}_{name}_not_null"[:63]
    change_check(check, on, f"{_quoted(name)} IS NOT NULL")
    with op.get_context().autocommit_block():
        # It reads no row: the CHECK proves it.
        _alter(on, f"ALTER COLUMN {_quoted(name)} SET NOT NULL")
        _alter(on, f"DROP CONSTRAINT {_quoted(check)}")


def batched_update(
    on: str, change: str, *, where: str = "true", key: str = "id", size: int = 5_000
) -> None:
    """Run ``UPDATE on SET change WHERE where`` for ``size`` rows at a time, in the order of a key.

    ``where`` has to leave out what was changed already. ``key`` is a column of numbers, or of
    text that is ordered by bytes.

    Raises:
        ValueError: ``size`` is less than 1.
    """
    if size < 1:
        raise ValueError(f"size must be at least 1, not {size}")
    if not _is_postgresql():
        _update_batches(on, change, where, key, size)
        return
    with op.get_context().autocommit_block():
        _update_batches(on, change, where, key, size)


def _update_batches(on: str, change: str, where: str, key: str, size: int) -> None:
    connection = op.get_bind()
    keys = table(on, column(key)).c[key]
    update = escaped(f"UPDATE {_quoted(on)} SET {change} WHERE ({where}) AND {_quoted(key)}")  # noqa: S608 (a revision's own)
    first = connection.scalar(select(func.min(keys)))
    while first is not None:
        batch = select(keys).where(keys >= first).order_by(keys).limit(size).subquery()
        last = connection.scalar(select(func.max(batch.c[key])))
        between = text(f"{update} BETWEEN :first AND :last")
        connection.execute(between, {"first": first, "last": last})
        first = connection.scalar(select(func.min(keys)).where(keys > last))


def _is_postgresql() -> bool:
    return op.get_context().dialect.name == "postgresql"


def _quoted(name: str) -> str:
    return op.get_context().dialect.identifier_preparer.quote(name)


def _name_meanwhile(name: str) -> str:
    """Return another name, always the same, that PostgreSQL does not cut off."""
    start = name.encode()[:40].decode(errors="ignore")
    return f"{start}_new_{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _has_constraint(name: str, on: str) -> bool:
    return bool(op.get_bind().scalar(_HAS_CONSTRAINT, {"name": name, "table": _quoted(on)}))


def _is_named_check(connection: Connection, name: str, on: str) -> bool:
    return any(check["name"] == name for check in inspect(connection).get_check_constraints(on))


def _validate(name: str, on: str) -> None:
    """Check the rows that are there; a constraint that they break goes again."""
    try:
        op.execute(f"ALTER TABLE {_quoted(on)} VALIDATE CONSTRAINT {_quoted(name)}")
    except IntegrityError:
        _alter(on, f"DROP CONSTRAINT {_quoted(name)}")
        raise


def _alter(on: str, change: str) -> None:
    statement = text(escaped(f"ALTER TABLE {_quoted(on)} {change}"))
    _give_way(lambda: op.execute(statement))


def _give_way(change: Callable[[], object]) -> None:
    """Change a table when nobody uses it: whoever comes meanwhile is held up for seconds only."""
    connection = op.get_bind()
    for attempt in count(1):
        connection.exec_driver_sql(f"SET lock_timeout = '{LOCK_TIMEOUT}'")
        try:
            change()
        except DBAPIError as error:
            if not is_passing(error) or attempt == ATTEMPTS:
                raise
            time.sleep(attempt / 2)
        else:
            return
        finally:
            # What builds or checks beside the readers has to wait for all of them.
            connection.exec_driver_sql("SET lock_timeout = 0")
