"""The audit log: one event for every change, in the transaction of the change.

Only sealed events are read, by their positions: others have no place in the order yet.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from quetz.db.models import Channel, Event
from quetz.db.queries import events as queries
from quetz.db.queries.events import EventFilter
from quetz.errors.audit import TwoDirections
from quetz.services.permissions import Operation, Principal

_RECORDED = "quetz.recorded"

CHANGES = (
    Operation.FILE_UPLOAD,
    Operation.FILE_OVERWRITE,
    Operation.VERSION_YANK,
    Operation.VERSION_DELETE,
    Operation.PACKAGE_CREATE,
    Operation.PACKAGE_COPY,
    Operation.PACKAGE_DELETE,
)
"""The actions that whoever follows a channel is told of: what happens to files and packages."""


@dataclass(frozen=True)
class Excerpt:
    """Some events, and the position to ask from for those that follow; None when none do."""

    events: Sequence[Event]
    next: int | None


def record_event(
    session: Session,
    principal: Principal,
    action: str,
    *,
    channel: Channel | None = None,
    subject: str | None = None,
    before: str | None = None,
    after: str | None = None,
) -> None:
    """Append who did what to which thing.

    ``subject`` names the thing inside the channel, such as ``linux-64/numpy-2.1.0-0.conda`` or
    a username; ``before`` and ``after`` are sha256 digests or roles.
    """
    session.info[_RECORDED] = True
    session.add(
        Event(
            actor_id=principal.user_id,
            actor=principal.username,
            api_key=principal.api_key,
            address=principal.address,
            action=action,
            channel=channel.name if channel else None,
            channel_id=channel.id if channel else None,
            subject=subject,
            before=before,
            after=after,
        )
    )


def has_recorded(session: Session) -> bool:
    """Say whether the transaction of ``session`` left events."""
    return _RECORDED in session.info


def list_changes(session: Session, channel: Channel, *, since: int, limit: int) -> Excerpt:
    """Return changes of a channel's files and packages after a position, the oldest first.

    ``next`` is always given: a follower that asks from it misses nothing, and is told of nothing
    twice.
    """
    wanted = EventFilter(channel.id, CHANGES)
    return _since(queries.list_since(session, wanted, since=since, limit=limit), since)


def list_events(
    session: Session,
    wanted: EventFilter,
    *,
    since: int | None = None,
    before: int | None = None,
    limit: int,
) -> Excerpt:
    """Return events after ``since``, the oldest first, or before ``before``, the newest first.

    Without either, the newest events.

    Raises:
        TwoDirections: both are given.
    """
    if since is not None:
        if before is not None:
            raise TwoDirections
        return _since(queries.list_since(session, wanted, since=since, limit=limit), since)
    events = queries.list_latest(session, wanted, before=before, limit=limit)
    return Excerpt(events, events[-1].position if len(events) == limit else None)


def _since(events: Sequence[Event], since: int) -> Excerpt:
    return Excerpt(events, events[-1].position if events else since)
