"""What the core's revisions make of the rows that they find."""

from sqlalchemy import text

from quetz.db.base import now_ms
from quetz.migrations import downgrade, upgrade
from quetz.tests.migrations.databases import run_sql, schema_of

FIRST, SEALS, TOLD = "4bd032e7beb5", "ef84cc4e5f4e", "70be6d315e3a"
PATCHES, KEPT = "28e075306d4d", "597ef9ae67f8"
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


def add_key(engine, number: int) -> None:
    run_sql(
        engine,
        "INSERT INTO api_keys (id, public_id, secret_hash, user_id, description, read_only, scoped,"
        f" created_at) VALUES ({number}, 'k{number}', 'x', 1, '', false, false, 1)",
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


def test_a_key_that_was_made_before_was_made_by_none(empty_engine, plugins):
    keys = text("SELECT public_id, parent_id FROM api_keys ORDER BY id")
    upgrade(empty_engine, plugins, to=FIRST)
    run_sql(
        empty_engine,
        "INSERT INTO users (id, public_id, username, name, avatar_url, created_at)"
        " VALUES (1, 'u1', 'ann', '', '', 1)",
    )
    add_key(empty_engine, 1)
    add_key(empty_engine, 2)

    upgrade(empty_engine, plugins, to=SEALS)
    first = rows_of(empty_engine, keys)
    run_sql(empty_engine, "UPDATE api_keys SET parent_id = 1 WHERE id = 2")
    run_sql(empty_engine, "DELETE FROM api_keys WHERE id = 1")
    left = rows_of(empty_engine, keys)
    downgrade(empty_engine, plugins, FIRST)

    assert first == [("k1", None), ("k2", None)]
    assert left == [("k2", None)]
    assert rows_of(empty_engine, text("SELECT public_id FROM api_keys")) == [("k2",)]


def test_packages_tell_of_the_files_that_they_had_before(empty_engine, plugins):
    packages = text("SELECT name, current_version, platforms FROM packages ORDER BY id")
    upgrade(empty_engine, plugins, to=SEALS)
    add_channel(empty_engine, 1, "forge", created_at=1)
    for number, name in ((1, "numpy"), (2, "empty"), (2500, "scipy"), (2501, "yanked")):
        run_sql(
            empty_engine,
            "INSERT INTO packages (id, public_id, channel_id, name, files_count, created_at)"
            f" VALUES ({number}, 'p{number}', 1, '{name}', 0, 1)",
        )
    files = [
        (1, "1.9", "noarch", "NULL"),
        (1, "1.10", "linux-64", "NULL"),
        (1, "1.10.0", "linux-64", "NULL"),
        (1, "1.10rc1", "osx-64", "NULL"),
        (1, "2.0", "win-64", "5"),
        (2500, "0.1", "noarch", "NULL"),
        (2501, "3.0", "noarch", "7"),
    ]
    for number, (package, version, subdir, yanked_at) in enumerate(files, start=1):
        run_sql(
            empty_engine,
            "INSERT INTO files (id, public_id, channel_id, package_id, subdir, name, filename,"
            " version, build, build_number, size, sha256, md5, record, run_exports, about,"
            f" uploaded_at, yanked_at) VALUES ({number}, 'f{number}', 1, {package}, '{subdir}',"
            f" 'n', 'n-{version}-0.conda', '{version}', '0', 0, 1, 'x', 'x', '{{}}', '{{}}',"
            f" '{{}}', 1, {yanked_at})",
        )
    schema = schema_of(empty_engine)
    expected = [
        ("numpy", "1.10.0", "linux-64 noarch osx-64"),
        ("empty", None, ""),
        ("scipy", "0.1", "noarch"),
        ("yanked", None, ""),
    ]

    upgrade(empty_engine, plugins, to=TOLD)
    first = rows_of(empty_engine, packages)
    downgrade(empty_engine, plugins, SEALS)
    between = schema_of(empty_engine)
    upgrade(empty_engine, plugins, to=TOLD)

    assert first == expected
    assert between == schema
    assert rows_of(empty_engine, packages) == expected


def test_packages_of_hotfixes_that_are_there_will_be_applied(empty_engine, plugins):
    marks = text("SELECT channel_id, subdir, family, name FROM index_dirty ORDER BY id")
    upgrade(empty_engine, plugins, to=TOLD)
    schema = schema_of(empty_engine)
    for number, channel in ((1, "forge"), (2, "other"), (3, "plain")):
        add_channel(empty_engine, number, channel, created_at=1)
    hotfixes = "forge-repodata-patches"
    for number, name in ((1, hotfixes), (2, hotfixes), (3, "numpy")):
        run_sql(
            empty_engine,
            "INSERT INTO packages (id, public_id, channel_id, name, files_count, created_at)"
            f" VALUES ({number}, 'p{number}', {number}, '{name}', 1, 1)",
        )

    upgrade(empty_engine, plugins, to=PATCHES)
    first = rows_of(empty_engine, marks)
    run_sql(empty_engine, "INSERT INTO patch_sources (channel_id, sha256) VALUES (1, 'x')")
    for filename in ("numpy-1.0-0.conda", "numpy-2.0-0.conda"):
        run_sql(
            empty_engine,
            "INSERT INTO record_patches (channel_id, subdir, name, filename, patch)"
            f" VALUES (1, 'linux-64', 'numpy', '{filename}', '{{}}')",
        )
    downgrade(empty_engine, plugins, TOLD)
    between = rows_of(empty_engine, marks), schema_of(empty_engine)
    upgrade(empty_engine, plugins, to=PATCHES)

    apply = (1, "", "patches", hotfixes)
    rebuild = [(1, "linux-64", "shards", ""), (1, "linux-64", "repodata", "")]
    assert first == [apply]
    assert between == (rebuild, schema)
    assert rows_of(empty_engine, marks) == [*rebuild, apply]


def test_the_grace_of_objects_that_no_file_names_begins_with_the_migration(empty_engine, plugins):
    touched = text("SELECT sha256, touched_at FROM objects ORDER BY sha256")
    upgrade(empty_engine, plugins, to=PATCHES)
    schema = schema_of(empty_engine)
    add_channel(empty_engine, 1, "forge", created_at=1)
    run_sql(
        empty_engine,
        "INSERT INTO packages (id, public_id, channel_id, name, files_count, platforms, created_at)"
        " VALUES (1, 'p', 1, 'numpy', 1, '', 1)",
        "INSERT INTO files (id, public_id, channel_id, package_id, subdir, name, filename, version,"
        " build, build_number, size, sha256, md5, record, run_exports, about, uploaded_at) VALUES"
        " (1, 'f', 1, 1, 'noarch', 'numpy', 'numpy-1-0.conda', '1', '0', 0, 1, 'named', 'x', '{}',"
        " '{}', '{}', 1)",
        "INSERT INTO objects (sha256, size, touched_at) VALUES ('named', 1, 5), ('gone', 1, 6)",
    )
    since = text(f"SELECT sha256, touched_at >= {now_ms()} FROM objects ORDER BY sha256")

    upgrade(empty_engine, plugins, to=KEPT)
    first = rows_of(empty_engine, since)
    run_sql(empty_engine, "UPDATE objects SET touched_at = 7, kept = true WHERE sha256 = 'gone'")
    downgrade(empty_engine, plugins, PATCHES)
    between = rows_of(empty_engine, touched), schema_of(empty_engine)
    upgrade(empty_engine, plugins, to=KEPT)

    assert first == [("gone", True), ("named", False)]
    assert between == ([("gone", 7), ("named", 5)], schema)
    again = text("SELECT kept, touched_at >= 8 FROM objects WHERE sha256 = 'gone'")
    assert rows_of(empty_engine, again) == [(False, True)]
