"""One migrates, the others wait, and are told for whom."""

import os
import threading
import time
from pathlib import Path

import pytest

from quetz.db.engine import open_engine
from quetz.errors.migrations import MigrationLocked
from quetz.migrations import upgrade
from quetz.migrations.locks import alone, holder_of, lock_file


def test_who_migrates_is_told_to_who_waits_too_long(empty_engine, plugins):
    with alone(empty_engine), pytest.raises(MigrationLocked) as refused:
        upgrade(empty_engine, plugins, lock_seconds=0.2)

    assert f"process {os.getpid()} of " in str(refused.value)
    assert "--lock-timeout" in str(refused.value)


def test_nobody_migrates_when_nobody_does(empty_engine, plugins):
    upgrade(empty_engine, plugins)
    assert holder_of(empty_engine) == ""

    with alone(empty_engine):
        assert f"process {os.getpid()} of " in holder_of(empty_engine)

    deadline = time.monotonic() + 10  # PostgreSQL closes a connection in its own time
    while holder_of(empty_engine) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert holder_of(empty_engine) == ""


def test_the_name_that_one_who_was_killed_left_is_nobody(sqlite_engine, plugins):
    upgrade(sqlite_engine, plugins)
    lock_file(Path(sqlite_engine.url.database)).write_text("process 1 of root on somewhere")

    assert holder_of(sqlite_engine) == ""


def test_a_file_that_two_paths_lead_to_has_one_lock(sqlite_engine, plugins, tmp_path):
    upgrade(sqlite_engine, plugins)
    (tmp_path / "there").mkdir()
    link = tmp_path / "there" / "link.sqlite"
    link.symlink_to(sqlite_engine.url.database)
    other = open_engine(sqlite_engine.url.set(database=str(link)))

    with alone(other), pytest.raises(MigrationLocked, match=f"process {os.getpid()} of "):
        alone(sqlite_engine, 0).__enter__()

    other.dispose()
    assert list(link.parent.iterdir()) == [link]


def test_who_waits_is_told_for_whom_and_goes_on(empty_database_url, empty_engine, plugins):
    held, told = threading.Event(), threading.Event()
    other = open_engine(empty_database_url)

    def hold() -> None:
        with alone(other):
            held.set()
            told.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    sentences = []

    def watch(progress) -> None:
        sentences.append(progress.sentence)
        told.set()

    outcome = upgrade(empty_engine, plugins, watch=watch)

    holder.join()
    other.dispose()
    assert outcome.applied
    assert sentences[0].startswith(f"Waiting: process {os.getpid()} of ")


def test_a_writer_that_does_not_end_is_waited_for_no_longer_than_told(sqlite_engine, plugins):
    sqlite_engine.connect().close()  # which makes the file
    other = open_engine(sqlite_engine.url)

    with other.execution_options(write=True).begin() as connection:
        connection.exec_driver_sql("CREATE TABLE strange (id INTEGER)")
        with pytest.raises(MigrationLocked, match="a server"):
            upgrade(sqlite_engine, plugins, lock_seconds=0.2)

    other.dispose()
