"""Rows that refer to none are told apart from those that a migration makes."""

import pytest

from quetz.errors.migrations import VerificationFailed
from quetz.migrations import upgrade
from quetz.tests.migrations.databases import add_revision, run_sql

COPY = (
    "batch = op.batch_alter_table('child', recreate='always'); b = batch.__enter__(); "
    "batch.__exit__(None, None, None)"
)
TABLES = {
    "a table without a number": "CREATE TABLE child (x TEXT REFERENCES parent (k))",
    "a table without rowid": (
        "CREATE TABLE child (x TEXT PRIMARY KEY REFERENCES parent (k)) WITHOUT ROWID"
    ),
}


@pytest.fixture(params=[pytest.param(made, id=name) for name, made in TABLES.items()])
def engine(request, sqlite_engine, none_yet):
    """A table with rows that refer to none, beside one that refers to a row."""
    add_revision(none_yet, "0000")
    upgrade(sqlite_engine, none_yet, by_models=False)
    run_sql(
        sqlite_engine,
        "CREATE TABLE parent (id INTEGER PRIMARY KEY, k TEXT UNIQUE)",
        "INSERT INTO parent VALUES (1, 'here')",
        request.param,
    )
    with sqlite_engine.connect() as connection:
        driver = connection.connection.cursor()
        driver.execute("PRAGMA foreign_keys=OFF")
        driver.execute("INSERT INTO child VALUES ('passing'), ('here'), ('gone'), ('lost')")
        driver.execute("DELETE FROM child WHERE x = 'passing'")  # a copy has other rowids
        driver.execute("PRAGMA foreign_keys=ON")
    return sqlite_engine


def test_rows_that_referred_to_none_before_stop_nothing(engine, none_yet):
    add_revision(none_yet, "aaaa", upgrade=COPY)

    assert upgrade(engine, none_yet, by_models=False).applied == ["aaaa"]


def test_a_row_whose_parent_a_migration_takes_is_missed(engine, none_yet):
    delete = "op.execute(\"DELETE FROM parent WHERE k = 'here'\")"
    add_revision(none_yet, "aaaa", upgrade=f"{delete}; {COPY}")

    with pytest.raises(
        VerificationFailed, match=r"row of 'child' refers to a row of 'parent' that"
    ):
        upgrade(engine, none_yet, by_models=False)


@pytest.mark.parametrize("engine", [TABLES["a table without a number"]], indirect=True)
def test_a_lost_parent_is_missed_though_as_many_rows_referred_to_none_before(engine, none_yet):
    swap = "op.execute(\"DELETE FROM child WHERE x = 'gone'\"); op.execute('DELETE FROM parent')"
    add_revision(none_yet, "aaaa", upgrade=f"{swap}; {COPY}")

    with pytest.raises(VerificationFailed, match="'parent' that is gone, 'here' "):
        upgrade(engine, none_yet, by_models=False)
