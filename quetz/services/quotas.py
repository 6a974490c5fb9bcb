"""Quotas: how much a channel may hold, and the room that uploads under way have in it."""

from dataclasses import dataclass

from sqlalchemy.orm import Session

from quetz.conda.filenames import PackageFilename
from quetz.db.base import now_ms
from quetz.db.models import Channel, Upload
from quetz.db.queries import uploads as queries
from quetz.db.queries.channels import get_channel, lock_channel
from quetz.db.queries.files import find_largest
from quetz.db.queries.packages import find_package
from quetz.errors import QuotaExceeded, UploadTooLarge

RESERVATION_MS = 15 * 60 * 1000
"""How long a quota holds room for an upload; a slower one is checked against the rest again."""

FORM_BYTES = 1 << 20
"""How much longer than its files a form may be where a quota bounds it."""


@dataclass(frozen=True)
class Plan:
    """What may come: at most ``limit`` bytes, for which a quota holds ``reserves`` bytes first."""

    limit: int
    reserves: int = 0


def plan(
    session: Session,
    channel_name: str,
    *,
    declared: int | None,
    limit: int,
    filename: str | None = None,
) -> Plan:
    """Say what an upload may be, before its body is read.

    ``declared`` is the body's length in bytes, None if it comes in chunks; ``limit`` is the
    server's. What a file of the same name takes up counts as room: it is replaced, or the
    same bytes are sent again. Without ``filename`` it is a form, whose files may all be of
    names that the channel has: it is bounded by the whole quota, and holds no part of it.

    Raises:
        UploadTooLarge: the declared length exceeds the server's limit.
        QuotaExceeded: the channel has no room for it.
    """
    channel = get_channel(session, channel_name)
    if declared is not None and declared > limit:
        raise UploadTooLarge("the upload", limit)
    if channel.size_limit is None:
        return Plan(limit)
    if filename is None:
        return _plan_form(channel, channel.size_limit, declared, limit)
    replaced = _size_of_name(session, channel, filename)
    reserved = queries.sum_reserved(session, channel.id, now=now_ms())
    room = channel.size_limit - channel.size - reserved + replaced
    if room <= 0 or (declared is not None and declared > room):
        needed = channel.size + reserved + (declared or 1) - replaced
        raise QuotaExceeded(channel.name, channel.size_limit, needed)
    # For a body of unknown length nothing is held: all the room there is would lock out others.
    return Plan(min(limit, room), max(0, (declared or 0) - replaced))


def reserve(session: Session, channel_name: str, size: int) -> str:
    """Hold ``size`` bytes of the channel's quota for a while; return the reservation's id.

    Raises:
        QuotaExceeded: meanwhile others have taken the room.
    """
    channel = get_channel(session, channel_name)
    lock_channel(session, channel)
    now = now_ms()
    check_quota(session, channel, size, now=now)
    upload = Upload(channel_id=channel.id, size=size, expires_at=now + RESERVATION_MS)
    session.add(upload)
    session.flush()
    return upload.id


def release(session: Session, channel_name: str, reservation: str) -> None:
    """Give a reservation back whose upload failed."""
    channel = get_channel(session, channel_name)
    queries.remove_reservations(session, channel.id, reservation=reservation, now=now_ms())


def check_quota(
    session: Session, channel: Channel, more: int, *, now: int, reservation: str | None = None
) -> None:
    """Return if the channel has room for ``more`` bytes; ``reservation`` is of these themselves.

    Raises:
        QuotaExceeded: it has none.
    """
    if channel.size_limit is None:
        return
    reserved = queries.sum_reserved(session, channel.id, now=now, without=reservation)
    needed = channel.size + more + reserved
    if more > 0 and needed > channel.size_limit:
        raise QuotaExceeded(channel.name, channel.size_limit, needed)


def used_room(session: Session, channel: Channel, *, now: int) -> int:
    """Return how many bytes of the quota are taken: by files, and by uploads under way."""
    if channel.size_limit is None:
        return channel.size
    return channel.size + queries.sum_reserved(session, channel.id, now=now)


def _plan_form(channel: Channel, quota: int, declared: int | None, limit: int) -> Plan:
    longest = max(quota, channel.size) + FORM_BYTES
    if declared is not None and declared > longest:
        raise QuotaExceeded(channel.name, quota, declared)
    return Plan(min(limit, longest))


def _size_of_name(session: Session, channel: Channel, filename: str) -> int:
    """Return the largest size of the files of this name in the channel, in bytes."""
    package = find_package(session, channel.id, PackageFilename.parse(filename).name)
    return 0 if package is None else find_largest(session, package.id, filename)
