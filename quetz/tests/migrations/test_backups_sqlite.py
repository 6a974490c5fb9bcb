"""Backups of SQLite databases: in use, damaged, and through crashes."""

import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.engine import URL

from quetz.db.engine import open_engine
from quetz.errors.migrations import BackupFailed, MigrationLocked, RestoreFailed
from quetz.migrations.backups import sqlite
from quetz.migrations.locks import alone
from quetz.tests.migrations.databases import run_sql
from quetz.tests.migrations.programs import run_apart

MEGABYTE = 1_000_000


@pytest.fixture
def engine(sqlite_engine):
    """Open a database that is copied in several steps."""
    run_sql(
        sqlite_engine,
        "CREATE TABLE words (word TEXT)",
        "INSERT INTO words VALUES ('first')",
        "CREATE TABLE filler (filler BLOB)",
        "INSERT INTO filler VALUES (zeroblob(30000000))",
    )
    return sqlite_engine


@pytest.fixture
def file(sqlite_engine):
    return Path(sqlite_engine.url.database)


def words_in(engine):
    with engine.connect() as connection:
        return list(connection.scalars(text("SELECT word FROM words")))


def make_smaller(engine):
    run_sql(engine, "DELETE FROM filler", "UPDATE words SET word = 'second'")
    with closing(sqlite3.connect(engine.url.database)) as connection:
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def assert_sound(engine):
    with engine.connect() as connection:
        assert connection.scalar(text("PRAGMA integrity_check")) == "ok"
        assert connection.scalar(text("PRAGMA journal_mode")) == "wal"


def test_a_backup_taken_under_the_lock_has_only_what_is_committed(engine, backups):
    with alone(engine) as connection, connection.begin():
        connection.exec_driver_sql("INSERT INTO words VALUES ('second')")
        connection.exec_driver_sql("CREATE TABLE later (id INTEGER)")

        backup = backups.take(engine, connection, ["a1"])

    assert backups.verify(backup).rows == {"words": 1, "filler": 1}
    assert words_in(engine) == ["first", "second"]


def test_readers_see_restored_rows_at_once(engine, file, backups):
    other = open_engine(engine.url)
    backups.take(engine)
    run_sql(engine, "UPDATE words SET word = 'second'", "CREATE TABLE later (id INTEGER)")
    with other.connect() as reader:
        before = list(reader.scalars(text("SELECT word FROM words")))
        reader.rollback()

        backups.restore(engine, "latest")

        after = list(reader.scalars(text("SELECT word FROM words")))
    assert (before, after) == (["second"], ["first"])
    assert file.with_name(f"{file.name}-wal").stat().st_size == 0
    assert_sound(other)


def test_a_restore_waits_for_writers_but_not_for_ever(engine, backups, monkeypatch):
    monkeypatch.setattr(sqlite, "_BUSY_SECONDS", 0)
    backups.take(engine)
    run_sql(engine, "UPDATE words SET word = 'second'")

    with engine.execution_options(write=True).begin() as writer:
        writer.exec_driver_sql("INSERT INTO words VALUES ('third')")
        with pytest.raises(RestoreFailed, match="is locked; what the database held before is in"):
            backups.restore(engine, "latest")

    assert words_in(engine) == ["second", "third"]


def test_a_restore_waits_for_migrations(engine, backups):
    backups.take(engine)
    run_sql(engine, "UPDATE words SET word = 'second'")

    with alone(engine), pytest.raises(MigrationLocked):
        backups.restore(engine, "latest", alone(engine, 0))

    assert words_in(engine) == ["second"]


@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_restore_that_is_killed_leaves_the_former_database(engine, backups, step):
    backups.take(engine)
    run_sql(engine, "UPDATE words SET word = 'second'")
    crash = {"QUETZ_CRASHPOINT": f"restore.copying:{step}"}

    killed = run_apart(engine, backups.folder, "backups.restore(engine, 'latest')", variables=crash)

    assert killed.returncode == -signal.SIGKILL
    assert words_in(engine) == ["second"]
    assert_sound(engine)
    backups.restore(engine, "latest")
    assert words_in(engine) == ["first"]
    assert_sound(engine)


def test_a_disk_that_fills_up_leaves_the_former_database(engine, backups):
    backups.take(engine)
    make_smaller(engine)

    ended = run_apart(
        engine,
        backups.folder,
        "backups.restore(engine, 'latest')",
        largest_file=10 * MEGABYTE,
    )

    assert ended.stderr.startswith("RestoreFailed: ")
    assert "what the database held before is in" in ended.stderr
    assert words_in(engine) == ["second"]
    assert_sound(engine)


def remove(file):
    file.unlink()


def overwrite(file):
    file.write_bytes(b"no database at all" * 1000)


def flip_pages(file):
    content = bytearray(file.read_bytes())
    for place in range(4096, len(content), 4096):
        content[place] ^= 0xFF
    file.write_bytes(content)


def cut_off(file):
    with file.open("r+b") as stream:
        stream.truncate(5000)


def spoil_format(file):
    content = bytearray(file.read_bytes())
    content[47] = 9  # the version of the schema's format
    file.write_bytes(content)


DAMAGES = [
    pytest.param(damage, id=damage.__name__)
    for damage in (overwrite, flip_pages, cut_off, spoil_format)
]


@pytest.mark.parametrize("damage", [pytest.param(remove, id="remove"), *DAMAGES])
def test_a_lost_database_is_restored(engine, file, backups, damage):
    backups.take(engine)
    engine.dispose()
    damage(file)

    backups.restore(engine, "latest", alone(engine))

    assert words_in(engine) == ["first"]
    assert_sound(engine)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_database_is_kept_aside(engine, file, backups, damage):
    backups.take(engine)
    engine.dispose()
    damage(file)
    content = file.read_bytes()
    file.with_name(f"{file.name}-wal").write_bytes(b"of the damaged file")

    kept = backups.restore(engine, "latest")

    assert kept.parent == backups.folder
    assert kept.name.endswith("-broken.sqlite")
    assert kept.read_bytes() == content
    assert kept.with_name(f"{kept.name}-wal").read_bytes() == b"of the damaged file"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert words_in(engine) == ["first"]


def test_nothing_is_kept_of_a_missing_database(engine, file, backups):
    backups.take(engine)
    engine.dispose()
    remove(file)

    assert backups.restore(engine, "latest") is None
    assert len(backups.list()) == 1


def test_a_database_on_another_disk_is_restored_there(engine, file, backups, tmp_path):
    backup = backups.take(engine)
    engine.dispose()
    disk = tmp_path / "disk"
    disk.mkdir()
    file.replace(disk / "real")
    file.symlink_to(disk / "real")
    overwrite(disk / "real")
    (disk / "real-wal").write_bytes(b"of the damaged file")

    kept = backups.restore(engine, backup)

    assert kept.with_name(f"{kept.name}-wal").read_bytes() == b"of the damaged file"
    assert file.is_symlink()
    assert words_in(engine) == ["first"]


def test_a_database_whose_disk_is_away_is_not_restored_elsewhere(engine, file, backups, tmp_path):
    backup = backups.take(engine)
    engine.dispose()
    file.unlink()
    file.symlink_to(tmp_path / "away" / "real")

    with pytest.raises(RestoreFailed, match="away/real"):
        backups.restore(engine, backup)

    assert file.is_symlink()


def test_a_log_without_its_database_is_not_taken_for_that_of_the_restored_one(
    engine, file, backups
):
    backups.take(engine)
    with engine.connect() as reader:  # keeps the log
        reader.execute(text("SELECT * FROM words"))
        run_sql(engine, "UPDATE words SET word = 'second'")
        log = file.with_name(f"{file.name}-wal").read_bytes()
    engine.dispose()
    remove(file)
    file.with_name(f"{file.name}-wal").write_bytes(log)

    backups.restore(engine, "latest")

    assert words_in(engine) == ["first"]


def test_a_damaged_database_stays_until_the_restored_one_is_whole(engine, file, backups):
    backups.take(engine)
    engine.dispose()
    overwrite(file)
    content = file.read_bytes()
    crash = {"QUETZ_CRASHPOINT": "restore.copied"}

    run_apart(engine, backups.folder, "backups.restore(engine, 'latest')", variables=crash)
    left = file.read_bytes()
    backups.restore(engine, "latest")

    assert left == content
    assert words_in(engine) == ["first"]


@pytest.mark.parametrize("damage", [pytest.param(remove, id="remove"), *DAMAGES])
def test_a_lost_database_cannot_be_backed_up(engine, file, backups, damage):
    engine.dispose()
    damage(file)

    with pytest.raises(BackupFailed):
        backups.take(engine)

    assert [path.name for path in backups.folder.iterdir()] == [".lock"]
    assert file.exists() is (damage is not remove)


def test_a_database_in_memory_has_no_backup(backups):
    engine = open_engine(URL.create("sqlite"))

    with pytest.raises(BackupFailed, match="in memory"):
        backups.take(engine)
