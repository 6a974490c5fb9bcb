"""Which backups are kept."""

import hashlib
from datetime import UTC, datetime, timedelta

import pytest

from quetz.migrations.backups import Backups, Manifest
from quetz.tests.migrations.databases import run_sql

DAY = timedelta(days=1)


@pytest.fixture
def backups(tmp_path) -> Backups:
    return Backups(tmp_path, keep=2)


def add_backup(backups, name, *, age, safety=False, whole=True, database="mine"):
    file = backups.folder / f"{name}.sqlite"
    file.write_bytes(b"rows")
    created, sha256 = datetime.now(UTC) - age, hashlib.sha256(b"rows").hexdigest()
    size = 4 if whole else 5
    Manifest(file, "sqlite", database, created, (), {}, size, sha256, "1.0", safety).write()


def names_in(folder):
    return sorted(path.stem for path in folder.glob("*.sqlite"))


def test_the_newest_are_kept_and_foreign_files_too(backups):
    for age in range(4):
        add_backup(backups, f"{age}-days", age=age * DAY)
    (backups.folder / "foreign.sqlite").touch()

    backups.retire()

    assert names_in(backups.folder) == ["0-days", "1-days", "foreign"]
    assert [one.file.stem for one in backups.list()] == ["0-days", "1-days"]


def test_the_last_good_one_is_kept_however_old(backups):
    add_backup(backups, "good", age=9 * DAY)
    add_backup(backups, "safety-1", age=3 * DAY, safety=True)
    add_backup(backups, "safety-2", age=2 * DAY, safety=True)

    backups.retire()

    assert names_in(backups.folder) == ["good", "safety-1", "safety-2"]


def test_damaged_ones_do_not_take_the_place_of_good_ones(backups):
    add_backup(backups, "damaged-new", age=1 * DAY, whole=False)
    add_backup(backups, "good-1", age=2 * DAY)
    add_backup(backups, "good-2", age=3 * DAY)
    add_backup(backups, "damaged-old", age=4 * DAY, whole=False)

    backups.retire()

    assert names_in(backups.folder) == ["damaged-new", "good-1", "good-2"]


def test_safety_copies_of_the_last_day_are_kept(backups):
    for hours in range(4):
        add_backup(backups, f"safety-{hours}", age=timedelta(hours=hours), safety=True)
    for age in range(2, 5):
        add_backup(backups, f"{age}-days", age=age * DAY)

    backups.retire()

    safety = [f"safety-{hours}" for hours in range(4)]
    assert names_in(backups.folder) == ["2-days", "3-days", *safety]


def test_those_of_another_database_in_the_folder_are_kept_apart(backups):
    for age in range(3):
        add_backup(backups, f"mine-{age}", age=age * DAY)
        add_backup(backups, f"theirs-{age}", age=(9 + age) * DAY, database="theirs")

    backups.retire()

    assert names_in(backups.folder) == ["mine-0", "mine-1", "theirs-0", "theirs-1"]


def test_manifests_whose_backups_are_gone_are_removed_in_their_turn(backups):
    for age in range(3):
        add_backup(backups, f"{age}-days", age=age * DAY)
    (backups.folder / "2-days.sqlite").unlink()

    backups.retire()

    assert [one.file.stem for one in backups.list()] == ["0-days", "1-days"]


def test_one_just_taken_is_the_latest_though_others_are_dated_later(backups, sqlite_engine):
    run_sql(sqlite_engine, "CREATE TABLE words (word TEXT)")
    name = sqlite_engine.url.database
    for age in range(3):
        add_backup(backups, f"later-{age}", age=-(9 + age) * DAY, database=name)

    taken = [backups.take(sqlite_engine, heads=[str(number)]) for number in range(2)]
    backups.retire()

    assert [one.file for one in backups.list()] == taken[::-1]
    assert backups.find("latest", sqlite_engine).file == taken[-1]


def test_safety_copies_that_are_dated_later_are_retired_in_their_turn(backups):
    for days in range(2, 6):
        add_backup(backups, f"later-{days}", age=-days * DAY, safety=True)

    backups.retire()

    assert names_in(backups.folder) == ["later-4", "later-5"]
