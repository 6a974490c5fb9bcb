"""The audit log: one event for every change, in the transaction of the change.

Only sealed events are read, by their positions: others have no place in the order yet.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from quetz.db.models import Channel, Event
from quetz.db.queries import events as queries
from quetz.db.queries.events import EventFilter
from quetz.errors.audit import TwoDirections
from quetz.services.permissions import Operation, Principal

_RECORDED = "quetz.recorded"

PAGE_LENGTH = 4 << 20
"""How many characters of settings, before and after, one page of the log may hold."""

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
            **_columns(principal, action, channel),
            subject=subject,
            before=before,
            after=after,
        )
    )


@dataclass(frozen=True)
class Change:
    """What happened to one of many things; the fields are those of ``record_event``."""

    subject: str
    before: str | None = None
    after: str | None = None


def record_events(
    session: Session,
    principal: Principal,
    action: str,
    channel: Channel,
    changes: Sequence[Change],
) -> None:
    """Append, as ``record_event`` does, that each of many things in a channel changed."""
    if not changes:
        return
    session.info[_RECORDED] = True
    common = _columns(principal, action, channel)
    rows = [
        common | {"subject": one.subject, "before": one.before, "after": one.after}
        for one in changes
    ]
    queries.add_events(session, rows)


def _columns(principal: Principal, action: str, channel: Channel | None) -> dict[str, Any]:
    return {
        "actor_id": principal.user_id,
        "actor": principal.username,
        "api_key": principal.api_key,
        "address": principal.address,
        "action": action,
        "channel": channel.name if channel else None,
        "channel_id": channel.id if channel else None,
    }


def has_recorded(session: Session) -> bool:
    """Say whether the transaction of ``session`` left events."""
    return _RECORDED in session.info


def list_changes(session: Session, channel: Channel, *, since: int, limit: int) -> Excerpt:
    """Return changes of a channel's files and packages after a position, the oldest first.

    ``next`` is always given: a follower that asks from it misses nothing, and is told of nothing
    twice.
    """
    wanted = EventFilter(channel.id, CHANGES)
    events, _ = _cut(queries.read_since(session, wanted, since=since, limit=limit), PAGE_LENGTH)
    return _after(events, since)


def list_events(
    session: Session,
    wanted: EventFilter,
    *,
    since: int | None = None,
    before: int | None = None,
    limit: int,
    length: int | None = None,
) -> Excerpt:
    """Return events after ``since``, the oldest first, or before ``before``, the newest first.

    Without either, the newest events. They are fewer than ``limit`` if what changed takes more
    than ``length`` characters.

    Raises:
        TwoDirections: both are given.
    """
    if since is not None:
        if before is not None:
            raise TwoDirections
        events, _ = _cut(queries.read_since(session, wanted, since=since, limit=limit), length)
        return _after(events, since)
    events, is_cut = _cut(queries.read_latest(session, wanted, before=before, limit=limit), length)
    more = is_cut or len(events) == limit
    return Excerpt(events, events[-1].position if more else None)


def _cut(events: Iterable[Event], length: int | None) -> tuple[list[Event], bool]:
    """Return the first events, one at least, and whether there are more than ``length`` allows."""
    page: list[Event] = []
    left = math.inf if length is None else length
    for event in events:
        left -= len(event.before or "") + len(event.after or "")
        if page and left < 0:
            return page, True
        page.append(event)
    return page, False


def _after(events: Sequence[Event], since: int) -> Excerpt:
    return Excerpt(events, events[-1].position if events else since)
