"""Events: those that wait for their seal, and the sealed ones by position."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, exists, func, insert, select, text
from sqlalchemy.orm import Session

from quetz.db.models import Event

# The first number tells this lock from others of quetz, the second schemas of one database.
_LOCK = text("SELECT pg_advisory_xact_lock(1903523188, hashtext(coalesce(current_schema(), '')))")


@dataclass(frozen=True)
class EventFilter:
    """Which sealed events: of one channel, of some actions, by one actor.

    ``channel`` and ``actor`` are names, which several may have had in turn.
    """

    channel_id: int | None = None
    actions: Collection[str] = ()
    actor: str | None = None
    channel: str | None = None

    @property
    def condition(self) -> ColumnElement[bool]:
        conditions: list[ColumnElement[bool]] = [Event.position.is_not(None)]
        if self.channel_id is not None:
            conditions.append(Event.channel_id == self.channel_id)
        if self.actions:
            conditions.append(Event.action.in_(self.actions))
        if self.actor is not None:
            conditions.append(Event.actor == self.actor)
        if self.channel is not None:
            conditions.append(Event.channel == self.channel)
        return and_(*conditions)


def add_events(session: Session, rows: Sequence[dict[str, Any]]) -> None:
    session.connection().execute(insert(Event), rows)


def lock_sealing(session: Session) -> None:
    """Keep others from sealing until this transaction ends; SQLite has one writer anyway."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(_LOCK)


def has_unsealed(session: Session) -> bool:
    return bool(session.scalar(select(exists().where(Event.position.is_(None)))))


def count_unsealed(session: Session) -> int:
    return session.scalar(select(func.count()).where(Event.position.is_(None))) or 0


def list_unsealed(session: Session, *, after: int, limit: int) -> Sequence[Event]:
    """Return events without a position whose id is above ``after``, by id.

    Rows that another transaction holds on PostgreSQL are left for the next time: to wait for one
    while holding others could be to wait for each other.
    """
    query = (
        select(Event)
        .where(Event.position.is_(None), Event.id > after)
        .order_by(Event.id)
        .limit(limit)
        .with_for_update(skip_locked=True, key_share=True)
        .execution_options(populate_existing=True)  # a seal is of what is stored
    )
    return session.scalars(query).all()


def find_last_seal(session: Session) -> Row[int | None, str | None] | None:
    """Return (position, seal) of the event that was sealed last."""
    query = (
        select(Event.position, Event.seal)
        .where(Event.position.is_not(None))
        .order_by(Event.position.desc())
        .limit(1)
    )
    return session.execute(query).one_or_none()


def read_since(session: Session, wanted: EventFilter, *, since: int, limit: int) -> Iterator[Event]:
    """Yield sealed events above a position, the oldest first."""
    query = (
        select(Event)
        .where(wanted.condition, Event.position > since)
        .order_by(Event.position)
        .limit(limit)
    )
    return _read(session, query)


def read_latest(
    session: Session, wanted: EventFilter, *, before: int | None, limit: int
) -> Iterator[Event]:
    """Yield sealed events below a position, or of all, the newest first."""
    query = select(Event).where(wanted.condition)
    if before is not None:
        query = query.where(Event.position < before)
    return _read(session, query.order_by(Event.position.desc()).limit(limit))


def _read(session: Session, query: Select[Event]) -> Iterator[Event]:
    """Yield events, of which few are held at once: settings may be long."""
    query = query.execution_options(populate_existing=True, yield_per=20)
    with session.scalars(query) as events:
        yield from events
