"""The audit log, and what whoever follows a channel is told of it."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import Depends, Query
from pydantic import BaseModel, Field
from sqlalchemy.orm import Session

from quetz.db.models import Event
from quetz.db.queries.events import EventFilter
from quetz.services import events as service
from quetz.services.permissions import Operation
from quetz.web.api.pages import LONGEST_PAGE, Text
from quetz.web.api.schemas import iso_time
from quetz.web.deps import ReadChannel, ReadSession
from quetz.web.guard import GuardedRouter, declares

router = GuardedRouter(tags=["audit"])

PAGE = 100

Position = Annotated[int, Query(ge=0, lt=2**63)]
Limit = Annotated[int, Query(ge=1, le=LONGEST_PAGE)]


class ChangeOut(BaseModel):
    position: int
    at: str
    action: str = Field(examples=["file.upload"])
    subject: str | None = Field(examples=["linux-64/numpy-2.1.0-0.conda"])
    before: str | None
    after: str | None

    @classmethod
    def of(cls, event: Event) -> "ChangeOut":
        return cls(
            position=event.position or 0,
            at=iso_time(event.at),
            action=event.action,
            subject=event.subject,
            before=event.before,
            after=event.after,
        )


class ChangesOut(BaseModel):
    changes: list[ChangeOut]
    next: int = Field(description="Pass it as `since` to be told what follows.")


class EventOut(ChangeOut):
    id: str
    actor: str
    api_key: str | None
    address: str | None
    channel: str | None
    channel_id: int | None = Field(description="Tells apart channels that had one name in turn.")
    seal: str

    @classmethod
    def of(cls, event: Event) -> "EventOut":
        return cls(
            **ChangeOut.of(event).model_dump(),
            id=event.public_id,
            actor=event.actor,
            api_key=event.api_key,
            address=event.address,
            channel=event.channel,
            channel_id=event.channel_id,
            seal=event.seal or "",
        )


class EventsOut(BaseModel):
    events: list[EventOut]
    next: int | None = Field(
        description="To go on from. If you asked with `since` it is always a position: pass it as "
        "`since` again, now or later. Else pass it as `before`; null if there are no earlier ones."
    )


class Wanted(BaseModel):
    """What part of the log to read, in which direction."""

    since: int | None
    before: int | None
    limit: int
    action: str | None
    actor: str | None

    def read(self, session: Session, channel_id: int | None = None) -> EventsOut:
        actions: Sequence[str] = () if self.action is None else (self.action,)
        excerpt = service.list_events(
            session,
            EventFilter(channel_id, actions, self.actor),
            since=self.since,
            before=self.before,
            limit=self.limit,
            length=service.PAGE_LENGTH,
        )
        return EventsOut(events=[EventOut.of(event) for event in excerpt.events], next=excerpt.next)


async def wanted_events(
    since: Annotated[
        Position | None, Query(description="Only events after this position, the oldest first.")
    ] = None,
    before: Annotated[
        Position | None, Query(description="Only events before this position, the newest first.")
    ] = None,
    limit: Limit = PAGE,
    action: Annotated[Text | None, Query(max_length=64, examples=["file.upload"])] = None,
    actor: Annotated[Text | None, Query(max_length=300, description="a username")] = None,
) -> Wanted:
    return Wanted(since=since, before=before, limit=limit, action=action, actor=actor)


WantedDep = Annotated[Wanted, Depends(wanted_events)]


@router.get("/api/channels/{channel}/changes", **declares(Operation.CHANNEL_CHANGES))
def follow_changes(
    channel: ReadChannel,
    session: ReadSession,
    since: Annotated[Position, Query(description="The `next` of the answer before.")] = 0,
    limit: Limit = PAGE,
) -> ChangesOut:
    """Tell what happened to the files and packages of a channel, in order.

    A change appears up to a second after its commit. A client that asks from `next` each time
    misses none, and is told of none twice.
    """
    excerpt = service.list_changes(session, channel, since=since, limit=limit)
    changes = [ChangeOut.of(event) for event in excerpt.events]
    return ChangesOut(changes=changes, next=since if excerpt.next is None else excerpt.next)


@router.get("/api/channels/{channel}/audit", **declares(Operation.AUDIT_READ_CHANNEL))
def read_channel_audit(channel: ReadChannel, session: ReadSession, wanted: WantedDep) -> EventsOut:
    """Tell who did what in a channel: the newest first, or in order after `since`."""
    return wanted.read(session, channel.id)


@router.get("/api/audit", **declares(Operation.AUDIT_READ_ALL))
def read_audit(session: ReadSession, wanted: WantedDep) -> EventsOut:
    """Tell who did what on the server: the newest first, or in order after `since`."""
    return wanted.read(session)
