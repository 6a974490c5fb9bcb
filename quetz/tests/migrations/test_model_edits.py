"""For each edit of models a migration has what the edit needs, and nothing of others."""

import textwrap
from collections import Counter
from contextlib import ExitStack
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.engine import URL

from quetz.db.base import NAMING_CONVENTION, RowId
from quetz.db.engine import open_engine
from quetz.migrations import sqlite
from quetz.migrations.authoring.portability import Reflection, add_missing, change_of
from quetz.migrations.authoring.rendering import render
from quetz.migrations.authoring.seeds import count_rows, seed
from quetz.migrations.schemas.comparisons import Models, compare_models
from quetz.migrations.schemas.descriptions import describe
from quetz.migrations.schemas.fingerprints import fingerprint
from quetz.testing.model_edits import EDITS, OWNER, TABLE
from quetz.testing.model_edits.edits import column

OWNERS = {"users": "quetz", "quetz_other": "quetz-other"}
MAKERS = {TABLE: OWNER, "quetz_edited_b": OWNER, "quetz_gone": "quetz-gone"}


@pytest.fixture
def connections(empty_engine):
    """SQLite alone, as most have it who write a plugin; and both, as a revision has to run on."""
    with ExitStack() as stack:
        on_sqlite = stack.enter_context(open_engine(URL.create("sqlite")).connect())
        stack.callback(on_sqlite.engine.dispose)
        stack.enter_context(sqlite.transaction(on_sqlite))
        connections = [on_sqlite]
        if empty_engine.dialect.name == "postgresql":
            connections.append(stack.enter_context(empty_engine.connect()))
        yield connections


def test_there_are_many_edits_of_different_names():
    assert len(EDITS) >= 60
    assert max(Counter(edit.name for edit in EDITS).values()) == 1


@pytest.mark.parametrize("edit", [pytest.param(edit, id=edit.name) for edit in EDITS])
def test_a_migration_does_what_an_edit_needs_and_can_be_taken_back(connections, edit):
    models = Models(world(edit.after), lambda table: OWNERS.get(table, OWNER), MAKERS)
    for connection in connections:
        world(edit.before).create_all(connection)
        make_strangers(connection)
        seed(connection)
    at_first = [(fingerprint(connection), count_rows(connection)) for connection in connections]

    found = [compare_models(connection, models, {OWNER}) for connection in connections]
    for connection, operations in zip(connections, found, strict=True):
        expected = edit.expected_on(connection.dialect.name)
        assert sorted(describe(operations, connection.dialect)) == expected

    code, lost = written(found, connections)
    for connection, (schema, rows) in zip(connections, at_first, strict=True):
        run(connection, code, code.upgrade)
        assert describe(compare_models(connection, models, {OWNER}), connection.dialect) == []
        assert of_others(fingerprint(connection)) == of_others(schema)
        assert count_rows(connection).items() >= kept(rows, connection).items()
        for table in lost:
            connection.exec_driver_sql(f"DELETE FROM {table}")
        run(connection, code, code.downgrade)
        assert fingerprint(connection) == schema


@pytest.mark.parametrize(
    ("stored", "wanted"),
    [
        pytest.param(Integer, BigInteger, id="numbers"),
        pytest.param(Boolean, Integer, id="flags"),
        pytest.param(String(16), String(32), id="lengths"),
        pytest.param(String(16), Text, id="texts"),
    ],
)
def test_what_sqlite_stores_alike_may_differ_in_use(connections, stored, wanted):
    models = Models(world(column(wanted)), lambda table: OWNERS.get(table, OWNER))
    for connection in connections:
        world(column(stored)).create_all(connection)

        is_equal = compare_models(connection, models, {OWNER}, exact=False).is_empty()

        assert is_equal == (connection.dialect.name == "sqlite")
        assert not compare_models(connection, models, {OWNER}).is_empty()


def world(tables):
    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    Table("users", metadata, Column("id", RowId, primary_key=True), Column("name", Text))
    Table(
        "quetz_other",
        metadata,
        Column("id", RowId, primary_key=True),
        Column("part", BigInteger),
        UniqueConstraint("id", "part"),
    )
    for table in tables:
        table.to_metadata(metadata)
    return metadata


def make_strangers(connection):
    """Let the tables of others differ from their models, so that a change of them would show."""
    for statement in (
        "ALTER TABLE users ADD COLUMN later INTEGER",
        "CREATE INDEX later ON quetz_other (part)",
        "CREATE TABLE quetz_gone (id INTEGER)",
        "CREATE TABLE dbos_queues (id INTEGER)",
    ):
        connection.exec_driver_sql(statement)


def of_others(lines):
    return {line for line in lines if not line.startswith(TABLE)}


def kept(rows, connection):
    return {table: rows[table] for table in count_rows(connection).keys() & rows.keys()}


def written(found, connections):
    for more in found[1:]:
        add_missing(found[0], more)
    reflections = [Reflection.of(connection) for connection in connections]
    change = change_of(found[0], reflections[0], reflections[1] if reflections[1:] else None)
    return render(change, connections[0]), change.lost


def run(connection, code, body):
    lines = [*code.imports, "def run(op, sa):", textwrap.indent(body or "pass", "    ")]
    names: dict[str, Any] = {}
    exec("\n".join(lines), names)  # as the file of a revision
    with Operations.context(MigrationContext.configure(connection)) as op:
        names["run"](op, sa)
