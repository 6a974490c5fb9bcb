"""Objects in the store, tombstones, and the quota that uploads under way have reserved."""

from collections.abc import Sequence

from sqlalchemy import bindparam, delete, func, select
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.orm import Session

from quetz.db.base import now_ms
from quetz.db.models import StoredObject, Tombstone, Upload
from quetz.db.queries.windows import batches

# Built once: every upload asks them, and building one takes longer than SQLite takes to run it.
_TOUCH_OBJECT = {
    dialect: statement.on_conflict_do_update(
        index_elements=[StoredObject.sha256],
        set_={"touched_at": statement.excluded.touched_at},
    )
    for dialect, statement in (
        ("sqlite", sqlite_insert(StoredObject)),
        ("postgresql", postgres_insert(StoredObject)),
    )
}
_REMOVE_RESERVATIONS = delete(Upload).where(
    Upload.channel_id == bindparam("channel_id"),
    (Upload.id == bindparam("reservation")) | (Upload.expires_at <= bindparam("now")),
)
_TOMBSTONE = select(Tombstone).where(
    Tombstone.channel_id == bindparam("channel_id"),
    Tombstone.subdir == bindparam("subdir"),
    Tombstone.filename == bindparam("filename"),
)


def touch_object(session: Session, sha256: str, size: int) -> None:
    """Record that the object is in the store, or that it was brought once more."""
    touch_objects(session, [(sha256, size)])


def touch_objects(session: Session, objects: Sequence[tuple[str, int]]) -> None:
    """As ``touch_object``, of each (sha256, size) in the order given."""
    now = now_ms()
    rows = [{"sha256": sha256, "size": size, "touched_at": now} for sha256, size in objects]
    session.connection().execute(_TOUCH_OBJECT[session.get_bind().dialect.name], rows)


def find_tombstone(
    session: Session, channel_id: int, subdir: str, filename: str
) -> Tombstone | None:
    place = {"channel_id": channel_id, "subdir": subdir, "filename": filename}
    return session.scalar(_TOMBSTONE, place)


def list_tombstones(
    session: Session, channel_id: int, subdir: str, filenames: Sequence[str]
) -> list[Tombstone]:
    """Return the tombstones that have one of the names in a subdir."""
    found: list[Tombstone] = []
    for some in batches(filenames):
        found += session.scalars(
            select(Tombstone).where(
                Tombstone.channel_id == channel_id,
                Tombstone.subdir == subdir,
                Tombstone.filename.in_(some),
            )
        )
    return found


def sum_reserved(session: Session, channel_id: int, *, now: int, without: str | None = None) -> int:
    """Return the bytes that live reservations, ``without`` one, hold in a channel."""
    query = select(func.coalesce(func.sum(Upload.size), 0)).where(
        Upload.channel_id == channel_id, Upload.expires_at > now
    )
    if without is not None:
        query = query.where(Upload.id != without)
    return int(session.scalar(query) or 0)


def remove_reservations(
    session: Session, channel_id: int, *, reservation: str | None, now: int
) -> None:
    """Delete a reservation, and those of the channel that have expired."""
    values = {"channel_id": channel_id, "reservation": reservation, "now": now}
    session.connection().execute(_REMOVE_RESERVATIONS, values)
