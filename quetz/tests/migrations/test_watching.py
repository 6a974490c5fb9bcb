"""Noticing that the schema changes under a running server."""

from pathlib import Path

import pytest

from quetz.errors import DatabaseUnreadable
from quetz.migrations import downgrade, upgrade, watching
from quetz.migrations.status import read_status
from quetz.migrations.watching import SchemaWatch
from quetz.tests.migrations.databases import add_revision, run_sql
from quetz.tests.migrations.listening import listening


@pytest.fixture
def watch(empty_engine, copied):
    upgrade(empty_engine, copied)
    return SchemaWatch(empty_engine, read_status(empty_engine, copied))


def test_a_server_looks_twice_in_the_time_in_which_it_has_to_notice():
    assert 2 * watching.LOOK_SECONDS <= 10


def test_a_schema_that_stays_is_not_changed(watch):
    assert not watch.look()
    assert not watch.changed


def test_a_migration_is_noticed_and_so_is_its_taking_back(watch, empty_engine, copied):
    [before] = watch.status.heads
    add_revision(copied, "newer")

    upgrade(empty_engine, copied)
    after_upgrade = watch.look(), watch.changed
    downgrade(empty_engine, copied, before)
    after_downgrade = watch.look(), watch.changed

    assert after_upgrade == (True, True)
    assert after_downgrade == (False, False)


def test_a_database_without_a_record_is_a_changed_one(watch, empty_engine):
    run_sql(empty_engine, "DROP TABLE alembic_version")

    assert watch.look()


def test_a_database_that_is_away_is_not_changed_and_not_made(sqlite_engine, plugins):
    upgrade(sqlite_engine, plugins)
    watch = SchemaWatch(sqlite_engine, read_status(sqlite_engine, plugins))
    file = sqlite_engine.url.database
    sqlite_engine.dispose()
    Path(file).unlink()

    with pytest.raises(DatabaseUnreadable, match="it is missing"):
        watch.look()

    assert not watch.changed


def test_the_thread_looks_by_itself_and_logs_each_change_once(watch, empty_engine, monkeypatch):
    monkeypatch.setattr(watching, "LOOK_SECONDS", 0.001)
    head = watch.status.heads[0]

    with listening() as heard:
        watch.start()
        run_sql(empty_engine, "UPDATE alembic_version SET version_num = 'other'")
        told = [heard.next()]
        run_sql(empty_engine, f"UPDATE alembic_version SET version_num = '{head}'")
        told.append(heard.next())
        watch.stop()

    assert told == [
        "the database was migrated under this server, which takes no changes now",
        "the database is again as this server knows it; it takes changes",
    ]
    assert heard.is_all()
    assert not watch.is_alive()
