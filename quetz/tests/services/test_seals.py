import hashlib
import json

import pytest
from sqlalchemy import delete, select, text, update

from quetz.db.models import Event
from quetz.db.queries.events import EventFilter, has_unsealed, read_latest
from quetz.services.events import record_event
from quetz.services.permissions import ANONYMOUS
from quetz.services.seals import seal_events, verify_seals
from quetz.testing.factories import make_channel, make_user, principal_of


def record(session, *subjects):
    for subject in subjects:
        record_event(session, ANONYMOUS, "deed", subject=subject)
        session.flush()


def order(session):
    """Return (position, subject) of each sealed event."""
    query = select(Event.position, Event.subject).where(Event.position.is_not(None))
    return [tuple(row) for row in session.execute(query.order_by(Event.position))]


def test_events_get_positions_without_gaps_in_the_order_of_their_ids(session):
    record(session, "a", "b", "c")

    seal_events(session)

    assert order(session) == [(1, "a"), (2, "b"), (3, "c")]
    assert not has_unsealed(session)


def test_later_events_go_on_where_the_former_ended(session):
    record(session, "a", "b")
    seal_events(session)
    record(session, "c")

    seal_events(session)

    assert order(session) == [(1, "a"), (2, "b"), (3, "c")]
    assert verify_seals(session) is None


def test_an_event_with_a_smaller_id_that_appears_late_gets_a_later_position(session):
    session.add(Event(id=1000, actor="a", action="deed", subject="early"))
    session.flush()
    seal_events(session)
    session.add(Event(id=999, actor="a", action="deed", subject="late"))
    session.flush()

    seal_events(session)

    assert order(session) == [(1, "early"), (2, "late")]


def test_sealing_again_changes_nothing(session):
    record(session, "a", "b")
    seal_events(session)
    seals = session.scalars(select(Event.seal).order_by(Event.position)).all()

    seal_events(session)

    assert session.scalars(select(Event.seal).order_by(Event.position)).all() == seals


def test_many_events_are_sealed_in_batches(session):
    record(session, *"abcde")

    first = seal_events(session, after=0, limit=2)
    second = seal_events(session, after=first or 0, limit=2)
    third = seal_events(session, after=second or 0, limit=2)

    assert third is None
    assert [subject for _, subject in order(session)] == list("abcde")
    assert verify_seals(session) is None


def test_a_seal_can_be_computed_from_what_is_published(session):
    user = make_user(session, "björn")
    channel = make_channel(session, "forge")
    record(session, "first")
    record_event(
        session, principal_of(user), "file.upload", channel=channel, subject='a"\n\x7f', after="1"
    )
    seal_events(session)

    first, second = session.scalars(select(Event).order_by(Event.position))

    fields = [
        first.seal,
        2,
        second.public_id,
        second.at,
        "björn",
        None,
        None,
        "file.upload",
        "forge",
        channel.id,
        'a"\n\x7f',
        None,
        "1",
    ]
    text = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
    assert second.seal == hashlib.sha256(text.encode("utf-8")).hexdigest()


@pytest.mark.parametrize(
    "column",
    [
        "public_id",
        "at",
        "actor",
        "api_key",
        "address",
        "action",
        "channel",
        "channel_id",
        "subject",
        "before",
        "after",
        "seal",
    ],
)
def test_a_changed_event_breaks_the_chain_at_its_position(session, column):
    record(session, "a", "b", "c")
    seal_events(session)
    value = 7 if column in {"at", "channel_id"} else "other"

    session.execute(update(Event).where(Event.subject == "b").values({column: value}))

    assert verify_seals(session) == 2


def test_a_removed_event_breaks_the_chain_at_its_position(session):
    record(session, "a", "b", "c")
    seal_events(session)

    session.execute(delete(Event).where(Event.subject == "b"))

    assert verify_seals(session) == 2


def test_events_that_changed_places_break_the_chain(session):
    record(session, "a", "b")
    seal_events(session)

    for old, new in ((1, 3), (2, 1), (3, 2)):
        session.execute(update(Event).where(Event.position == old).values(position=new))

    assert verify_seals(session) == 1


def test_removing_a_user_leaves_the_chain_of_his_events_sound(session):
    user = make_user(session)
    record_event(session, principal_of(user), "deed")
    session.flush()
    seal_events(session)

    session.execute(text("DELETE FROM users"))

    assert session.scalar(select(Event.actor_id)) is None
    assert verify_seals(session) is None


def test_an_empty_log_is_sound(session):
    seal_events(session)

    assert verify_seals(session) is None


def test_events_without_a_position_are_not_listed(session):
    record(session, "a")
    seal_events(session)
    record(session, "b")

    listed = list(read_latest(session, EventFilter(), before=None, limit=10))

    assert [event.subject for event in listed] == ["a"]
