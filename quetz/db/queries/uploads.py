"""Objects, and the quota that uploads under way have reserved."""

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.orm import Session

from quetz.db.base import now_ms
from quetz.db.models import Channel, StoredObject, Upload


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


def lock_channel(session: Session, channel_id: int) -> Channel | None:
    """Return the channel with its row locked, so that its counters and packages stay put."""
    query = select(Channel).where(Channel.id == channel_id).with_for_update()
    return session.scalar(query.execution_options(populate_existing=True))


def sum_reserved(session: Session, channel_id: int, *, now: int) -> int:
    """Return the bytes that live reservations hold in a channel."""
    query = select(func.coalesce(func.sum(Upload.size), 0)).where(
        Upload.channel_id == channel_id, Upload.expires_at > now
    )
    return int(session.scalar(query) or 0)


def delete_expired_reservations(session: Session, channel_id: int, *, now: int) -> None:
    for upload in session.scalars(
        select(Upload).where(Upload.channel_id == channel_id, Upload.expires_at <= now)
    ):
        session.delete(upload)
