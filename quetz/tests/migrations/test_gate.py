"""The gate: who may use a database whose schema is not that of this version, and when."""

import os
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

import pytest
from sqlalchemy import Pool, event

from quetz.errors import DatabaseMissing
from quetz.errors.migrations import SchemaAhead, SchemaBehind, SchemaUnknown
from quetz.migrations import gate, upgrade
from quetz.migrations.gate import Gate
from quetz.migrations.locks import alone
from quetz.migrations.status import read_status
from quetz.tests.migrations.databases import add_revision, head_of, heads_in, run_sql
from quetz.tests.migrations.listening import SECONDS, listening

IGNORED = "which [sqlalchemy] on_mismatch says to ignore"
MODES = ["refuse", "wait", "migrate", "ignore"]


@pytest.fixture
def behind(empty_engine, copied):
    """An engine and plugins with a revision that its database lacks."""
    upgrade(empty_engine, copied)
    add_revision(copied, "newer")
    return empty_engine, copied


@pytest.fixture
def ahead(empty_engine, copied, plugins):
    """An engine and plugins that lack a revision which its database has."""
    add_revision(copied, "newer")
    upgrade(empty_engine, copied)
    return empty_engine, plugins


def nobody_migrates():
    raise AssertionError("this is not the mode to migrate")


def enter(database, on_mismatch, migrate=nobody_migrates):
    engine, plugins = database
    return Gate(engine, plugins, "/srv/quetz", migrate).enter(on_mismatch)


@pytest.mark.parametrize("mode", MODES)
def test_a_database_that_fits_is_entered_in_every_mode(empty_engine, plugins, mode):
    upgrade(empty_engine, plugins)

    status = enter((empty_engine, plugins), mode)

    assert (status.state, set(status.heads)) == ("current", heads_in(empty_engine))


def test_a_database_that_is_behind_is_refused_with_the_command_that_helps(behind):
    with pytest.raises(SchemaBehind, match=r"run: quetz init-db /srv/quetz$"):
        enter(behind, "refuse")


@pytest.mark.parametrize("mode", ["refuse", "wait", "migrate"])
def test_a_database_that_is_ahead_is_refused_at_once(ahead, mode):
    with pytest.raises(SchemaAhead, match="newer"):
        enter(ahead, mode)


@pytest.mark.parametrize("mode", MODES)
def test_a_database_that_nobody_knows_is_refused_at_once(empty_engine, plugins, mode):
    upgrade(empty_engine, plugins)
    run_sql(empty_engine, "UPDATE alembic_version SET version_num = 'strange'")

    with pytest.raises(SchemaUnknown, match="'strange'"):
        enter((empty_engine, plugins), mode)


@pytest.mark.parametrize("mode", ["refuse", "migrate", "ignore"])
def test_a_missing_file_is_named_and_none_is_made(sqlite_engine, plugins, tmp_path, mode):
    with pytest.raises(DatabaseMissing, match="restore it"):
        enter((sqlite_engine, plugins), mode)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", ["refuse", "ignore"])
def test_an_empty_database_cannot_be_used_whatever_is_ignored(empty_engine, plugins, mode):
    empty_engine.connect().close()  # which makes the file

    with pytest.raises(SchemaBehind):
        enter((empty_engine, plugins), mode)


def test_a_database_can_be_migrated_at_the_gate(behind):
    status = enter(behind, "migrate", lambda: upgrade(*behind))

    assert (status.state, set(status.heads)) == ("current", {"newer"})


def test_an_empty_database_can_be_migrated_at_the_gate(empty_engine, plugins):
    empty_engine.connect().close()  # which makes the file

    status = enter((empty_engine, plugins), "migrate", lambda: upgrade(empty_engine, plugins))

    assert status.state == "current"


def test_a_migration_that_does_not_help_is_tried_once(behind):
    attempts = []

    with pytest.raises(SchemaBehind):
        enter(behind, "migrate", lambda: attempts.append(1))

    assert attempts == [1]


def test_that_a_database_is_behind_can_be_ignored(behind, caplog):
    status = enter(behind, "ignore")

    assert (status.state, set(status.heads)) == ("behind", heads_in(behind[0]))
    assert caplog.messages == [f"the database of '/srv/quetz' is behind this version, {IGNORED}"]


def test_that_a_database_is_ahead_can_be_ignored(ahead, caplog):
    status = enter(ahead, "ignore")

    assert (status.state, set(status.heads)) == ("ahead", {"newer"})
    assert caplog.messages == [f"the database of '/srv/quetz' is ahead of this version, {IGNORED}"]


def test_a_server_waits_until_somebody_has_migrated(behind):
    with listening() as heard, ThreadPoolExecutor() as pool:
        waiting = pool.submit(enter, behind, "wait")
        first = heard.next()
        upgrade(*behind)
        status = waiting.result(SECONDS)

    assert first.endswith("lacks migrations; waiting for somebody to apply them")
    assert (status.state, set(status.heads)) == ("current", {"newer"})


def test_who_waits_says_once_who_migrates(behind, monkeypatch):
    monkeypatch.setattr(gate, "LOOK_SECONDS", 0.05)
    engine, plugins = behind
    looks: SimpleQueue[int] = SimpleQueue()

    def look(*_args: object) -> None:
        looks.put(1)

    with listening() as heard, ThreadPoolExecutor() as pool:
        with alone(engine):
            waiting = pool.submit(enter, behind, "wait")
            first = heard.next()
            event.listen(Pool, "checkout", look)
            for _ in range(6):  # it looks again, more than once
                looks.get(timeout=SECONDS)
            event.remove(Pool, "checkout", look)
            said_once = heard.is_all()
        upgrade(engine, plugins)
        waiting.result(SECONDS)

    assert f"process {os.getpid()}" in first
    assert said_once


def test_waiting_ends_after_its_longest_time(behind, monkeypatch):
    monkeypatch.setattr(gate, "WAIT_SECONDS", 0)

    with pytest.raises(SchemaBehind):
        enter(behind, "wait")


@pytest.mark.parametrize("mode", ["refuse", "wait", "migrate"])
def test_a_plugin_that_is_gone_hides_no_revision_that_it_needs(
    empty_engine, copied, mode, monkeypatch
):
    """As after a restore of ``alembic_version`` alone: the ledger tells of more than it does."""
    monkeypatch.setattr(gate, "WAIT_SECONDS", 0)
    before = str(head_of(copied))
    add_revision(copied, "newer")
    upgrade(empty_engine, copied)
    run_sql(
        empty_engine,
        f"UPDATE alembic_version SET version_num = '{before}'",
        "UPDATE quetz_migration_log SET owner = 'quetz-gone', revision = 'gone', labels = '[]', "
        "down_revision = '[\"newer\"]' WHERE revision = 'newer'",
    )

    with pytest.raises(SchemaBehind):
        enter((empty_engine, copied), mode, lambda: None)

    assert read_status(empty_engine, copied).pending == 1
    assert upgrade(empty_engine, copied).applied == ["newer"]
    assert enter((empty_engine, copied), mode).state == "current"
