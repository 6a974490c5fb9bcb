"""The ledger: what was applied, by whom, in the transaction of the revision itself."""

import getpass
import os
import socket
from dataclasses import replace

import pytest

import quetz
from quetz.errors.migrations import MigrationFailed
from quetz.migrations import downgrade, upgrade
from quetz.migrations.ledger import (
    Entry,
    applied_by_ledger,
    checksum,
    owners_of_tables,
    read_entries,
    write_entries,
)
from quetz.tests.migrations.databases import add_revision, revisions_of, run_sql

SCRIPT = '''
"""A message"""

from alembic import op

revision = "aaaa"


def upgrade():
    op.execute("SELECT 1")
'''


def entries_in(engine) -> list[Entry]:
    with engine.connect() as connection:
        return read_entries(connection)


def test_each_revision_is_entered_with_who_applied_it_and_what_it_made(empty_engine, copied):
    earlier = revisions_of(copied)
    add_revision(
        copied,
        "aaaa",
        upgrade="op.create_table('later', sa.Column('id', sa.Integer)); "
        "op.execute('INSERT INTO later VALUES (1), (2), (3)')",
    )

    outcome = upgrade(empty_engine, copied)

    entries = entries_in(empty_engine)
    assert [(entry.owner, entry.revision) for entry in entries] == [
        ("quetz", revision) for revision in [*earlier, "aaaa"]
    ]
    assert {(entry.state, entry.direction) for entry in entries} == {("done", "up")}
    assert {entry.run_id for entry in entries} == {outcome.run_id}
    last = entries[-1]
    assert (last.actor, last.host) == (getpass.getuser(), socket.gethostname())
    assert (last.pid, last.app_version) == (os.getpid(), quetz.__version__)
    assert (last.down_revision, last.tables_created, last.rows) == (
        (earlier[-1],),
        ("later",),
        3,
    )
    assert owners_of_tables(entries)["later"] == ("quetz", "aaaa")


def test_what_fails_leaves_no_entry(empty_engine, copied):
    add_revision(copied, "aaaa", upgrade="1 / 0")

    with pytest.raises(MigrationFailed):
        upgrade(empty_engine, copied)

    assert "aaaa" not in applied_by_ledger(entries_in(empty_engine))


def test_what_was_applied_before_there_was_a_ledger_is_its_baseline(empty_engine, plugins):
    upgrade(empty_engine, plugins)
    run_sql(empty_engine, "DROP TABLE quetz_migration_log")

    assert upgrade(empty_engine, plugins).applied == []

    entries = entries_in(empty_engine)
    assert [entry.revision for entry in entries] == revisions_of(plugins)
    assert {entry.state for entry in entries} == {"baseline"}


def test_what_is_taken_back_is_entered_too(empty_engine, copied):
    before = revisions_of(copied)
    add_revision(
        copied,
        "aaaa",
        upgrade="op.create_table('later', sa.Column('id', sa.Integer))",
        downgrade="op.drop_table('later')",
    )
    upgrade(empty_engine, copied)

    downgrade(empty_engine, copied, before[-1])

    entries = entries_in(empty_engine)
    assert (entries[-1].direction, entries[-1].tables_dropped) == ("down", ("later",))
    assert set(applied_by_ledger(entries)) == set(before)
    assert "later" not in owners_of_tables(entries)


@pytest.mark.parametrize(
    "before",
    [
        "CREATE UNIQUE INDEX uq_running ON quetz_migration_log (state) WHERE state = 'running'",
        "SELECT 1",
    ],
    ids=["with-the-index-of-old", "without"],
)
def test_what_somebody_left_running_is_failed_whether_or_not_the_ledger_forbids_two(
    empty_engine, copied, before
):
    upgrade(empty_engine, copied)
    entry = entries_in(empty_engine)[-1]
    run_sql(empty_engine, before)
    with empty_engine.execution_options(write=True).begin() as connection:
        write_entries(connection, [replace(entry, state="running", revision="other")])
    add_revision(copied, "aaaa", downgrade="pass\n\n\ntransactional = False")

    upgrade(empty_engine, copied)

    states = {entry.revision: entry.state for entry in entries_in(empty_engine)}
    assert (states["other"], states["aaaa"]) == ("failed", "done")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("A message", "Another", id="the-message"),
        pytest.param("upgrade():", "upgrade():  # why", id="a-comment"),
        pytest.param('"SELECT 1"', "'SELECT 1'", id="quotes"),
        pytest.param('("SELECT 1")', '(\n        "SELECT 1",\n    )', id="lines"),
        pytest.param("def upgrade", 'loses = ("old",)\ndef upgrade', id="what-it-loses"),
    ],
)
def test_a_checksum_looks_past_what_changes_nothing(old, new):
    assert checksum(SCRIPT.replace(old, new)) == checksum(SCRIPT)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("SELECT 1", "SELECT 2", id="a-statement"),
        pytest.param("aaaa", "aaab", id="the-revision"),
        pytest.param("op.execute", "op.run_sql", id="a-call"),
        pytest.param("upgrade()", "upgrade(x=None)", id="an-argument"),
    ],
)
def test_a_checksum_tells_what_changes_something(old, new):
    assert checksum(SCRIPT.replace(old, new)) != checksum(SCRIPT)
