"""Seals: they give committed events one order, and show whether an event was changed later.

An event's id is taken before its commit, so a smaller id may appear after a larger one. A sealer
gives each event that it sees the next *position*, without gaps from 1, and a *seal*: the SHA-256,
in hexadecimal, of ``encode_event``, which holds the seal before it. A changed, removed or added
event breaks the chain at its position.
"""

import json
from collections.abc import Iterator
from hashlib import sha256

from sqlalchemy.orm import Session

from quetz.db.models import Event
from quetz.db.queries import events as queries
from quetz.db.queries.events import EventFilter

BATCH = 1000
"""How many events are sealed in one transaction: it holds the write lock of SQLite."""

_ALL = EventFilter()


def encode_event(previous: str | None, position: int, event: Event) -> bytes:
    """Return what the seal of an event is the digest of: an array as of RFC 8785.

    ``previous`` is the seal before, None for position 1. ``actor_id`` is not in it: the database
    clears it when the user is removed.
    """
    fields = [
        previous,
        position,
        event.public_id,
        event.at,
        event.actor,
        event.api_key,
        event.address,
        event.action,
        event.channel,
        event.channel_id,
        event.subject,
        event.before,
        event.after,
    ]
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()


def seal_of(previous: str | None, position: int, event: Event) -> str:
    return sha256(encode_event(previous, position, event)).hexdigest()


def seal_events(session: Session, *, after: int = 0, limit: int = BATCH) -> int | None:
    """Seal some events whose id is above ``after``; return the id to go on from.

    None says that no more wait. An event that is committed meanwhile is found from 0 again.
    """
    queries.lock_sealing(session)  # first: what is read after it shows what others sealed
    last = queries.find_last_seal(session)
    position, seal = (0, None) if last is None else (last[0] or 0, last[1])
    waiting = queries.list_unsealed(session, after=after, limit=limit)
    for event in waiting:
        position += 1
        seal = seal_of(seal, position, event)
        event.position, event.seal = position, seal
    session.flush()
    return waiting[-1].id if len(waiting) == limit else None


def verify_seals(session: Session) -> int | None:
    """Return the first position at which the chain is broken, or None.

    Removing the last events leaves a sound chain: keep a seal elsewhere to compare with.
    """
    previous = None
    for expected, event in enumerate(all_sealed(session), start=1):
        if event.position != expected or event.seal != seal_of(previous, expected, event):
            return expected
        previous = event.seal
    return None


def all_sealed(session: Session, wanted: EventFilter = _ALL, *, since: int = 0) -> Iterator[Event]:
    """Yield sealed events in their order, however many there are."""
    while True:
        events = list(queries.read_since(session, wanted, since=since, limit=BATCH))
        yield from events
        if len(events) < BATCH:
            return
        since = events[-1].position or since
