"""What the core's revisions make of the rows that they find."""

from sqlalchemy import text

from quetz.migrations import downgrade, upgrade
from quetz.tests.migrations.databases import run_sql, schema_of

FIRST, SEALS = "4bd032e7beb5", "ef84cc4e5f4e"
EVENTS = text("SELECT public_id, at, action, channel FROM events ORDER BY id")
CHANNELS_OF_EVENTS = text("SELECT public_id, channel_id FROM events ORDER BY id")


def add_channel(engine, number: int, name: str, *, created_at: int) -> None:
    run_sql(
        engine,
        "INSERT INTO channels (id, public_id, name, private, ttl, channel_metadata, size,"
        f" packages_count, created_at) VALUES ({number}, 'c{number}', '{name}', false, 60, '{{}}',"
        f" 0, 0, {created_at})",
    )


def add_event(engine, name: str, action: str, *, at: int, channel: str | None) -> None:
    of = "NULL" if channel is None else f"'{channel}'"
    run_sql(
        engine,
        "INSERT INTO events (public_id, at, actor, action, channel)"
        f" VALUES ('{name}', {at}, 'ann', '{action}', {of})",
    )


def rows_of(engine, query) -> list[tuple[object, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(query)]


def test_an_event_is_given_the_channel_that_had_its_name_when_it_happened(empty_engine, plugins):
    upgrade(empty_engine, plugins, to=FIRST)
    add_event(empty_engine, "made-before", "channel:create", at=100, channel="forge")
    add_event(empty_engine, "deleted", "channel:delete", at=199, channel="forge")
    add_channel(empty_engine, 5, "forge", created_at=200)
    add_channel(empty_engine, 6, "other", created_at=150)
    add_event(empty_engine, "made", "channel:create", at=200, channel="forge")
    add_event(empty_engine, "of-the-other", "channel:update", at=210, channel="other")
    add_event(empty_engine, "published", "package:create", at=300, channel="forge")
    add_event(empty_engine, "gone", "channel:delete", at=310, channel="gone")
    add_event(empty_engine, "of-none", "user:create", at=320, channel=None)
    events, schema = rows_of(empty_engine, EVENTS), schema_of(empty_engine)
    expected = [
        ("made-before", None),
        ("deleted", None),
        ("made", 5),
        ("of-the-other", 6),
        ("published", 5),
        ("gone", None),
        ("of-none", None),
    ]

    upgrade(empty_engine, plugins, to=SEALS)
    first = rows_of(empty_engine, CHANNELS_OF_EVENTS)
    downgrade(empty_engine, plugins, FIRST)
    between = rows_of(empty_engine, EVENTS), schema_of(empty_engine)
    upgrade(empty_engine, plugins, to=SEALS)

    assert first == expected
    assert between == (events, schema)
    assert rows_of(empty_engine, CHANNELS_OF_EVENTS) == expected
    assert rows_of(empty_engine, EVENTS) == events
