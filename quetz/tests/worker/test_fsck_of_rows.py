"""What fsck finds in the database alone."""

import sqlite3

import pytest
from sqlalchemy import insert, select, text, update

from quetz.db.base import now_ms
from quetz.db.models import (
    Channel,
    ChannelMember,
    Event,
    File,
    Package,
    StoredObject,
    Tombstone,
)
from quetz.db.queries.channels import get_channel
from quetz.tests.worker.soundness import NUMPY, SUBDIR, change, check, find_file, places
from quetz.worker.checks import indexes


@pytest.mark.parametrize(
    ("statement", "subject"),
    [
        pytest.param(update(Channel).values(size=1).where(Channel.name == "forge"), "forge"),
        pytest.param(
            update(Channel).values(packages_count=99).where(Channel.name == "empty"), "empty"
        ),
        pytest.param(
            update(Package).values(files_count=5).where(Package.name == "hidden"), "secret/hidden"
        ),
    ],
)
def test_counters_that_are_wrong_are_found_and_counted_anew(sound, statement, subject):
    change(sound, statement)

    _, before = check(sound)
    report, found = check(sound, repair=True)
    _, after = check(sound)

    assert places(before) == places(found) == [("I8", subject)]
    assert (report.repaired, report.errors_left, after) == (1, 0, [])
    with sound.transaction() as session:
        query = select(Event.channel).where(Event.action == "action.validate_packages")
        assert session.scalars(query).all() == [subject.partition("/")[0]]


def test_a_reference_to_nothing_is_found(sound):
    statement = "INSERT INTO channel_members (channel_id, user_id, role) VALUES (999, 998, 'owner')"
    if sound.engine.dialect.name == "sqlite":
        connection = sqlite3.connect(str(sound.engine.url.database), isolation_level=None)
        connection.execute(statement)  # it does not look at references unless it is told to
        connection.close()
    else:
        change(sound, text("SET LOCAL session_replication_role = replica"), text(statement))

    _, found = check(sound)

    assert places(found) == [("I9", ChannelMember.__tablename__)] * 2


@pytest.mark.parametrize("databases", ["postgresql"], indirect=True)
def test_a_constraint_that_was_not_validated_is_told(sound):
    constraint = "ALTER TABLE channel_mirrors ADD CONSTRAINT later CHECK (url <> '') NOT VALID"
    change(sound, text(constraint))
    try:
        _, found = check(sound)
    finally:
        change(sound, text("ALTER TABLE channel_mirrors DROP CONSTRAINT later"))

    assert places(found) == [("I9", "channel_mirrors")]
    assert "later" in found[0].what


def test_a_package_without_files_that_nobody_made_is_told(sound):
    with sound.transaction(write=True) as session:
        forge = get_channel(session, "forge")
        session.add(Package(channel_id=forge.id, name="nothing"))
        forge.packages_count += 1

    report, found = check(sound)

    assert places(found) == [("I9", "forge/nothing")]
    assert report.errors_left == 0


def test_a_changed_event_is_found(sound):
    change(sound, update(Event).where(Event.position == 3).values(actor="nobody"))

    _, found = check(sound)

    assert places(found) == [("I10", "events")]
    assert "position 3" in found[0].what


def test_an_event_that_waits_long_for_its_seal_is_told(sound):
    old = now_ms() - indexes.PATIENCE_MS - 1000
    for at in (old, now_ms()):
        change(sound, insert(Event).values(actor="a", action="deed", at=at))

    report, found = check(sound)

    assert places(found) == [("I10", "events")]
    assert "1 events" in found[0].what
    assert report.errors_left == 0


@pytest.mark.parametrize("same", [False, True])
def test_a_name_that_is_live_and_reserved_for_other_bytes_is_found(sound, same):
    with sound.transaction(write=True) as session:
        file = find_file(session, NUMPY)
        sha256 = file.sha256 if same else "0" * 64
        place = {"channel_id": file.channel_id, "subdir": SUBDIR, "filename": NUMPY}
        session.add(Tombstone(**place, sha256=sha256))

    _, found = check(sound)

    assert places(found) == ([] if same else [("I11", f"forge/{SUBDIR}/{NUMPY}")])


@pytest.mark.parametrize(
    ("statement", "subject"),
    [
        (update(Channel).where(Channel.name == "empty").values(name="../x"), "channels: ../x"),
        (update(Package).where(Package.name == "promised").values(name="__x"), "packages: __x"),
        (insert(StoredObject).values(sha256="../x", size=1), "objects: ../x"),
        (
            update(Tombstone).where(Tombstone.filename == "gone-1.0-0.tar.bz2").values(subdir=".."),
            "tombstones: gone-1.0-0.tar.bz2",
        ),
        (
            update(File).where(File.filename == "hidden-1.0-0.conda").values(version="2.0"),
            "secret/noarch/hidden-1.0-0.conda",
        ),
    ],
)
def test_a_name_that_breaks_a_rule_of_today_is_found(sound, statement, subject):
    change(sound, statement)

    _, found = check(sound)

    named = [place for place in places(found) if place[0] == "I13"]
    assert named == [("I13", subject)]
    assert {one.invariant for one in found} <= {"I13", "I9"}  # a package has no event of its name


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)
def test_a_damaged_sqlite_file_is_found(sound):
    connection = sqlite3.connect(str(sound.engine.url.database), isolation_level=None)
    connection.execute("PRAGMA writable_schema=ON")
    row = "name = 'channel_mirrors'"
    [(whole,)] = connection.execute(f"SELECT sql FROM sqlite_master WHERE {row}").fetchall()
    lax = whole.replace("api_endpoint TEXT NOT NULL", "api_endpoint TEXT")
    assert lax != whole
    connection.execute(f"UPDATE sqlite_master SET sql = ? WHERE {row}", (lax,))
    connection.execute("PRAGMA schema_version = 12345")
    connection.execute(
        "INSERT INTO channel_mirrors (public_id, channel_id, url, metrics_endpoint) "
        "SELECT 'a', id, 'b', 'c' FROM channels LIMIT 1"
    )
    connection.execute(f"UPDATE sqlite_master SET sql = ? WHERE {row}", (whole,))
    connection.execute("PRAGMA schema_version = 12346")
    connection.close()

    _, found = check(sound)

    assert places(found) == [("I14", "database")]
    assert "channel_mirrors.api_endpoint" in found[0].what


def test_a_schema_of_another_version_is_found(sound):
    with sound.transaction() as session:
        [version] = session.scalars(text("SELECT version_num FROM alembic_version"))
    change(sound, text("UPDATE alembic_version SET version_num = 'strange'"))
    try:
        _, found = check(sound)
    finally:
        restore = text("UPDATE alembic_version SET version_num = :version")
        change(sound, restore.bindparams(version=version))

    assert places(found) == [("I14", "database")]
