"""Backups hold what was there, tell when they do not, and can be put back."""

import os
import shutil
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from sqlalchemy import inspect, text
from sqlalchemy.engine import URL

import quetz
from quetz.db.engine import open_engine
from quetz.errors.migrations import BackupFailed, BackupUnsound, MigrationLocked, RestoreFailed
from quetz.migrations.backups import Backups
from quetz.migrations.backups.manifests import manifest_path
from quetz.migrations.runs import upgrade
from quetz.plugins import find_plugins
from quetz.tests.migrations.databases import (
    add_a_row_everywhere,
    heads_in,
    revisions_of,
    run_sql,
    schema_of,
    tables_in,
)
from quetz.tests.migrations.programs import run_apart

pytestmark = pytest.mark.usefixtures("database_programs")


@pytest.fixture
def backups(tmp_path) -> Backups:
    return Backups(tmp_path / "backups", keep=2)


@pytest.fixture
def engine(empty_engine, plugins):
    upgrade(empty_engine, plugins)
    add_a_row_everywhere(empty_engine)
    return empty_engine


def all_in(engine):
    """Return the schema, and every row of every table."""
    with engine.connect() as connection:
        rows = {
            table: sorted(map(tuple, connection.execute(text(f'SELECT * FROM "{table}"'))), key=str)
            for table in inspect(connection).get_table_names()
        }
    return schema_of(engine), rows


def make_later_changes(engine):
    run_sql(
        engine,
        "DELETE FROM file_downloads",
        "UPDATE channels SET description = 'later'",
        "ALTER TABLE users ADD COLUMN later INTEGER",
        "CREATE TABLE later (id INTEGER PRIMARY KEY, channel INTEGER REFERENCES channels (id))",
    )


def files_in(folder):
    return sorted(path.name for path in folder.iterdir() if path.name != ".lock")


def test_a_restored_database_is_the_one_backed_up(engine, backups):
    before = all_in(engine)
    backups.take(engine)
    make_later_changes(engine)

    backups.restore(engine, "latest")

    assert all_in(engine) == before


def test_a_restored_database_goes_on_counting_where_it_was(engine, backups):
    add = "INSERT INTO identities (user_id, provider, subject) VALUES (7, 'oauth', '{}')"
    run_sql(engine, add.format("first"))
    backups.take(engine)
    backups.restore(engine, "latest")

    run_sql(engine, add.format("second"))

    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(DISTINCT id) FROM identities")) == 3


def test_what_a_restore_replaced_can_be_put_back(engine, backups):
    backups.take(engine)
    make_later_changes(engine)
    later = all_in(engine)

    former = backups.restore(engine, "latest")
    backups.restore(engine, former)

    assert backups.find(former).safety
    assert all_in(engine) == later


def test_a_restored_database_can_be_migrated(empty_engine, plugins, backups):
    upgrade(empty_engine, plugins)
    backups.take(empty_engine)
    run_sql(empty_engine, "DELETE FROM alembic_version")
    backups.restore(empty_engine, "latest")

    outcome = upgrade(empty_engine, plugins)

    assert outcome.applied == []


def test_a_manifest_says_what_is_in_a_backup(engine, backups):
    began = datetime.now(UTC)

    file = backups.take(engine)

    [manifest] = backups.list()
    assert manifest.file == file
    assert manifest.kind == engine.dialect.name
    assert set(manifest.heads) == heads_in(engine)
    assert manifest.rows == dict.fromkeys(tables_in(engine), 1) | {
        "quetz_migration_log": len(revisions_of(find_plugins([])))
    }
    assert manifest.size == file.stat().st_size
    assert manifest.app_version == quetz.__version__
    assert began <= manifest.created <= datetime.now(UTC)
    assert manifest.whole
    assert not manifest.safety


def test_the_heads_may_be_given_by_who_knows_them(engine, backups):
    file = backups.take(engine, None, ["b2", "a1"])

    assert backups.find(file).heads == ("a1", "b2")
    assert "Z-a1-b2." in file.name


def test_only_its_owner_may_read_a_backup(engine, backups):
    backups.take(engine)

    assert backups.folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in backups.folder.iterdir()} == {0o600}


@pytest.mark.parametrize("place", [0, 0.5, -1], ids=["start", "middle", "end"])
def test_a_flipped_byte_is_found(engine, backups, place):
    before = all_in(engine)
    file = backups.take(engine)
    content = bytearray(file.read_bytes())
    content[int(place * len(content)) if place > 0 else place] ^= 1
    file.write_bytes(content)

    with pytest.raises(BackupUnsound, match="not the file"):
        backups.verify(file)
    with pytest.raises(BackupUnsound, match="not the file"):
        backups.restore(engine, file)

    assert all_in(engine) == before
    assert files_in(backups.folder) == [file.name, manifest_path(file).name]


def test_a_cut_off_backup_is_found_without_reading_it(engine, backups):
    file = backups.take(engine)
    os.truncate(file, 100)

    [manifest] = backups.list()

    assert not manifest.whole
    with pytest.raises(BackupUnsound, match="has none of this database"):
        backups.find("latest")


def test_any_flipped_byte_of_a_manifest_is_found(engine, backups):
    file = backups.take(engine)
    content = manifest_path(file).read_bytes()

    unnoticed = []
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 1
        manifest_path(file).write_bytes(changed)
        if not backups.faults():
            unnoticed.append(place)

    assert unnoticed == []


def test_what_was_checked_well_verifies(engine, backups):
    file = backups.take(engine)

    assert backups.verify(file.name) == backups.verify(file) == backups.find("latest")


def fill_disk(monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: SimpleNamespace(free=10))


def test_a_full_disk_is_told_before_and_nothing_is_left(engine, backups, monkeypatch):
    fill_disk(monkeypatch)

    with pytest.raises(BackupFailed, match=r"has 10 bytes free, and \d+,\d+ are needed"):
        backups.take(engine)

    assert files_in(backups.folder) == []


def test_a_disk_that_fills_up_meanwhile_leaves_nothing(engine, backups):
    ended = run_apart(engine, backups.folder, "backups.take(engine)", largest_file=30_000)

    assert ended.stderr.startswith("BackupFailed: no backup could be made: ")
    assert files_in(backups.folder) == []


def test_a_restore_that_cannot_keep_what_is_there_changes_nothing(engine, backups, monkeypatch):
    backups.take(engine)
    make_later_changes(engine)
    later = all_in(engine)
    fill_disk(monkeypatch)

    with pytest.raises(RestoreFailed, match=r"could not be copied first: .* 10 bytes free"):
        backups.restore(engine, "latest")

    assert all_in(engine) == later


def test_a_restore_is_under_the_lock_it_is_given(engine, backups):
    backups.take(engine)
    make_later_changes(engine)
    later = all_in(engine)

    @contextmanager
    def lock():
        raise MigrationLocked(1)
        yield

    with pytest.raises(MigrationLocked):
        backups.restore(engine, "latest", lock())

    assert all_in(engine) == later
    assert len(backups.list()) == 1


def test_a_backup_of_another_kind_of_database_is_refused(engine, backups, tmp_path):
    file = backups.take(engine)
    kind = {"sqlite": "postgresql+psycopg", "postgresql": "sqlite"}[engine.dialect.name]
    other = open_engine(URL.create(kind, database=str(tmp_path / "other")))

    with pytest.raises(RestoreFailed, match=f"it is of {engine.dialect.name}"):
        backups.restore(other, file)

    assert not (tmp_path / "other").exists()


def test_copies_made_at_once_are_all_whole(engine, backups):
    takers = 6
    barrier = threading.Barrier(takers)

    def take(_number):
        barrier.wait()
        return backups.take(engine)

    with ThreadPoolExecutor(takers) as pool:
        files = list(pool.map(take, range(takers)))

    assert {backups.verify(file).file for file in files} == set(files)
    assert len(files_in(backups.folder)) == 2 * takers


def test_what_a_killed_copy_left_is_removed_by_the_next(engine, backups):
    point = {"sqlite": "backup.copying", "postgresql": "backup.dumped"}[engine.dialect.name]
    crash = {"QUETZ_CRASHPOINT": point}
    killed = run_apart(engine, backups.folder, "backups.take(engine)", variables=crash)
    left = files_in(backups.folder)

    file = backups.take(engine)

    assert killed.returncode == -signal.SIGKILL
    assert [name for name in left if ".part" in name] != []
    assert files_in(backups.folder) == [file.name, manifest_path(file).name]


def test_the_manifest_of_a_killed_copy_is_removed_by_the_next(engine, backups):
    killed, moved = backups.take(engine), backups.take(engine)
    killed.rename(f"{killed}.part")
    moved.unlink()

    file = backups.take(engine)

    assert [manifest.file for manifest in backups.list()] == [file, moved]


def test_other_files_in_the_folder_are_left_alone(engine, backups):
    backups.folder.mkdir()
    (backups.folder / "photo.part").touch()
    (backups.folder / "notes.json").write_text("{}")
    (backups.folder / "foreign.sqlite").touch()

    file = backups.take(engine)

    assert [manifest.file for manifest in backups.list()] == [file]
    assert {"photo.part", "notes.json", "foreign.sqlite"} < set(files_in(backups.folder))


def test_a_damaged_manifest_is_told_beside_the_good_ones(engine, backups):
    damaged, good = backups.take(engine), backups.take(engine)
    manifest_path(damaged).write_text("{}")

    assert [manifest.file for manifest in backups.list()] == [good]
    [fault] = backups.faults()
    assert str(damaged) in str(fault)


def test_a_renamed_backup_is_not_taken_for_another(engine, backups):
    file = backups.take(engine)
    other = file.with_name(f"other{file.suffix}")
    file.rename(other)
    manifest_path(file).rename(manifest_path(other))

    with pytest.raises(BackupUnsound, match=f"of a file named '{file.name}'"):
        backups.find(other)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        pytest.param("latest", "has none of this database", id="latest"),
        pytest.param("nowhere", "neither it nor", id="missing"),
        pytest.param(__file__, "has no manifest", id="no backup"),
    ],
)
def test_what_is_no_backup_is_refused(backups, name, reason):
    with pytest.raises(BackupUnsound, match=reason):
        backups.find(name)


def test_latest_is_of_the_database_that_is_restored(engine, backups, tmp_path):
    other = open_engine(URL.create("sqlite", database=str(tmp_path / "other.sqlite")))
    file = backups.take(engine)

    assert backups.find("latest", engine).file == file
    with pytest.raises(BackupUnsound, match="has none of this database"):
        backups.find("latest", other)
