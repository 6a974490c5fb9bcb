"""Tombstones, and the quota that uploads under way have reserved."""

from collections.abc import Sequence

from sqlalchemy import bindparam, delete, func, select
from sqlalchemy.orm import Session

from quetz.db.models import Tombstone, Upload
from quetz.db.queries.windows import batches

# Built once: every upload asks them, and building one takes longer than SQLite takes to run it.
_REMOVE_RESERVATIONS = delete(Upload).where(
    Upload.channel_id == bindparam("channel_id"),
    (Upload.id == bindparam("reservation")) | (Upload.expires_at <= bindparam("now")),
)
_TOMBSTONE = select(Tombstone).where(
    Tombstone.channel_id == bindparam("channel_id"),
    Tombstone.subdir == bindparam("subdir"),
    Tombstone.filename == bindparam("filename"),
)


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


def count_expired(session: Session, *, now: int) -> int:
    """Return how many reservations, of any channel, have expired."""
    query = select(func.count()).select_from(Upload).where(Upload.expires_at <= now)
    return session.scalar(query) or 0


def remove_expired(session: Session, *, now: int) -> None:
    session.execute(delete(Upload).where(Upload.expires_at <= now))
