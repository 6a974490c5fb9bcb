"""Backups of SQLite databases that other programs made, or changed."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text

from quetz.migrations.locks import alone
from quetz.tests.migrations.databases import run_sql


@pytest.fixture
def engine(sqlite_engine):
    run_sql(
        sqlite_engine,
        "CREATE TABLE words (word TEXT)",
        "INSERT INTO words VALUES ('first')",
    )
    return sqlite_engine


@pytest.fixture
def elsewhere(engine):
    """Run statements in a program that has a collation and a function of its own."""
    file = engine.url.database
    engine.dispose()

    def run(*statements):
        with closing(sqlite3.connect(file, isolation_level=None)) as connection:
            connection.create_collation("odd", lambda one, other: (one < other) - (one > other))
            connection.create_function("odd", 1, lambda value: value, deterministic=True)
            for statement in statements:
                connection.execute(statement)

    return run


def words_in(engine):
    with engine.connect() as connection:
        return list(connection.scalars(text("SELECT word FROM words")))


def page_size_of(engine):
    with engine.connect() as connection:
        return connection.scalar(text("PRAGMA page_size"))


OF_OTHERS = {
    "a collation of a column": ["CREATE TABLE theirs (x TEXT COLLATE odd, UNIQUE (x))"],
    "a collation of an index": [
        "CREATE TABLE theirs (x TEXT)",
        "CREATE INDEX by_x ON theirs (x COLLATE odd)",
    ],
    "a function in an index": [
        "CREATE TABLE theirs (x TEXT)",
        "CREATE INDEX by_x ON theirs (odd(x))",
    ],
    "a function in a check": ["CREATE TABLE theirs (x TEXT CHECK (odd(x) > ''))"],
    "a function of a column": ["CREATE TABLE theirs (x TEXT, y AS (odd(x)) STORED NOT NULL)"],
}


@pytest.mark.parametrize("made", [pytest.param(made, id=name) for name, made in OF_OTHERS.items()])
def test_what_only_another_program_knows_is_no_damage(engine, backups, elsewhere, made):
    elsewhere(*made, "INSERT INTO theirs (x) VALUES ('a'), ('b')")
    file = backups.take(engine)
    run_sql(engine, "UPDATE words SET word = 'second'")

    former = backups.restore(engine, file)

    assert backups.verify(file).rows == {"words": 1, "theirs": 2}
    assert backups.find(former).safety
    assert words_in(engine) == ["first"]


@pytest.mark.parametrize("size", [1024, 65536])
def test_a_backup_is_restored_into_a_database_with_other_pages(engine, backups, elsewhere, size):
    backups.take(engine)
    engine.dispose()
    elsewhere("PRAGMA journal_mode=DELETE", f"PRAGMA page_size={size}", "VACUUM")
    run_sql(engine, "UPDATE words SET word = 'second'")

    backups.restore(engine, "latest", alone(engine))

    assert words_in(engine) == ["first"]
    assert page_size_of(engine) == size
    assert not list(Path(engine.url.database).parent.glob("*.restoring*"))
