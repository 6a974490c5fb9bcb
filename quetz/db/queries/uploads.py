"""Objects in the store, tombstones, and the quota that uploads under way have reserved."""

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.orm import Session

from quetz.db.base import now_ms
from quetz.db.models import StoredObject, Tombstone, Upload


def touch_object(session: Session, sha256: str, size: int) -> None:
    """Record that the object is in the store, or that it was brought once more."""
    insert = sqlite_insert if session.get_bind().dialect.name == "sqlite" else postgres_insert
    statement = insert(StoredObject).values(sha256=sha256, size=size, touched_at=now_ms())
    session.execute(
        statement.on_conflict_do_update(
            index_elements=[StoredObject.sha256],
            set_={"touched_at": statement.excluded.touched_at},
        )
    )


def find_tombstone(
    session: Session, channel_id: int, subdir: str, filename: str
) -> Tombstone | None:
    query = select(Tombstone).where(
        Tombstone.channel_id == channel_id,
        Tombstone.subdir == subdir,
        Tombstone.filename == filename,
    )
    return session.scalar(query)


def sum_reserved(session: Session, channel_id: int, *, now: int) -> int:
    """Return the bytes that live reservations hold in a channel."""
    query = select(func.coalesce(func.sum(Upload.size), 0)).where(
        Upload.channel_id == channel_id, Upload.expires_at > now
    )
    return int(session.scalar(query) or 0)


def remove_reservations(
    session: Session, channel_id: int, *, reservation: str | None, now: int
) -> None:
    """Delete a reservation, and those of the channel that have expired."""
    session.execute(
        delete(Upload).where(
            Upload.channel_id == channel_id,
            (Upload.id == reservation) | (Upload.expires_at <= now),
        )
    )
