"""Objects: which bytes are in the store, and which of them nothing refers to."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Row, bindparam, case, delete, select, true, update
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.orm import Session

from quetz.db.base import now_ms
from quetz.db.models import File, StoredObject
from quetz.db.queries.windows import batches


def _touched(now: ColumnElement[int]) -> ColumnElement[int]:
    """Return a later time than before, whatever the clock says: each touch can be told."""
    before = StoredObject.touched_at
    return case((now > before, now), else_=before + 1)


_INSERTS = (("sqlite", sqlite_insert(StoredObject)), ("postgresql", postgres_insert(StoredObject)))
# Built once: every upload asks them, and building one takes longer than SQLite takes to run it.
_TOUCH = {
    dialect: statement.on_conflict_do_update(
        index_elements=[StoredObject.sha256],
        set_={"touched_at": _touched(statement.excluded.touched_at)},
    )
    for dialect, statement in _INSERTS
}
_ADOPT = {
    dialect: statement.on_conflict_do_nothing(index_elements=[StoredObject.sha256])
    for dialect, statement in _INSERTS
}
_STALE = select(StoredObject.sha256, StoredObject.size).where(
    StoredObject.sha256.in_(bindparam("hashes", expanding=True)),
    StoredObject.touched_at < bindparam("before"),
)

Found = Row[str, int, int]
"""The sha256 of an object, its size in bytes, and when it was touched."""


def touch_objects(session: Session, objects: Sequence[tuple[str, int]]) -> None:
    """Record that each (sha256, size) is in the store, or that it was brought once more.

    Give them by sha256: on PostgreSQL their rows are locked in this order.
    """
    now = now_ms()
    rows = [{"sha256": sha256, "size": size, "touched_at": now} for sha256, size in objects]
    session.connection().execute(_TOUCH[session.get_bind().dialect.name], rows)


def touch_known(session: Session, hashes: Sequence[str], *, keep: bool) -> None:
    """Touch those of the objects, given by sha256, that have a row; ``keep`` keeps them for good.

    Give them in order, as to ``touch_objects``.
    """
    values = {"touched_at": _touched(bindparam("now", now_ms()))} | ({"kept": True} if keep else {})
    for some in batches(hashes):
        locked = (
            select(StoredObject.sha256)
            .where(StoredObject.sha256.in_(some))
            .order_by(StoredObject.sha256)
            .with_for_update()
        )
        session.connection().execute(
            update(StoredObject).where(StoredObject.sha256.in_(locked)).values(values)
        )


def list_untouched(
    session: Session, hashes: Sequence[str], *, before: int
) -> Sequence[Row[str, int]]:
    """Return (sha256, size) of those of the objects that were last touched before a time."""
    wanted = {"hashes": hashes, "before": before}
    return session.connection().execute(_STALE, wanted).all()


def list_unreferenced(
    session: Session, *, before: int, limit: int, after: str = ""
) -> Sequence[Found]:
    """Return, by sha256 from behind one, objects last touched before a time that no file names.

    Those that are kept are left out.
    """
    # An outer join, for which either database looks through the files once.
    query = (
        select(StoredObject.sha256, StoredObject.size, StoredObject.touched_at)
        .outerjoin(File, File.sha256 == StoredObject.sha256)
        .where(
            File.id.is_(None),
            StoredObject.touched_at < before,
            StoredObject.kept.is_not(true()),
            StoredObject.sha256 > after,
        )
        .order_by(StoredObject.sha256)
        .limit(limit)
    )
    return session.connection().execute(query).all()


def remove_untouched(session: Session, found: Sequence[Found]) -> list[Found]:
    """Delete the rows of objects that nobody has touched since they were found; return these.

    On PostgreSQL their rows stay locked; those that somebody is just touching are left out.
    """
    query = (
        select(StoredObject.sha256, StoredObject.size, StoredObject.touched_at)
        .where(StoredObject.sha256.in_([one.sha256 for one in found]))
        .with_for_update(skip_locked=True)
    )
    as_before = set(session.connection().execute(query)).intersection(found)
    gone = sorted(as_before)
    session.connection().execute(
        delete(StoredObject).where(StoredObject.sha256.in_([one.sha256 for one in gone]))
    )
    return gone


def list_known(session: Session, hashes: Sequence[str]) -> set[str]:
    """Return those of the sha256 of which there is a row."""
    found: set[str] = set()
    for some in batches(hashes):
        query = select(StoredObject.sha256).where(StoredObject.sha256.in_(some))
        found.update(session.scalars(query))
    return found


def adopt_objects(session: Session, objects: Sequence[tuple[str, int]]) -> None:
    """Add rows, touched now, for those of the (sha256, size) that have none."""
    now = now_ms()
    rows = [{"sha256": sha256, "size": size, "touched_at": now} for sha256, size in objects]
    session.connection().execute(_ADOPT[session.get_bind().dialect.name], rows)
