"""For each edit of models a migration has what the edit needs, and nothing of others."""

import textwrap
from collections import Counter

import pytest
import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import BigInteger, Column, MetaData, Table, Text, UniqueConstraint

from quetz.db.base import NAMING_CONVENTION, RowId
from quetz.migrations import sqlite
from quetz.migrations.comparisons import Models, compare_models
from quetz.migrations.descriptions import describe
from quetz.migrations.fingerprints import fingerprint
from quetz.migrations.rendering import render
from quetz.testing.model_edits import EDITS, OWNER, TABLE

OWNERS = {"users": "quetz", "quetz_other": "quetz-other"}
MAKERS = {TABLE: OWNER, "quetz_edited_b": OWNER, "quetz_gone": "quetz-gone"}


@pytest.fixture
def connection(empty_engine):
    with empty_engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            with sqlite.transaction(connection):
                yield connection
        else:
            yield connection


def test_there_are_many_edits_of_different_names():
    assert len(EDITS) >= 60
    assert max(Counter(edit.name for edit in EDITS).values()) == 1


@pytest.mark.parametrize("edit", [pytest.param(edit, id=edit.name) for edit in EDITS])
def test_a_migration_does_what_an_edit_needs_and_can_be_taken_back(connection, edit):
    world(edit.before).create_all(connection)
    make_strangers(connection)
    models = Models(world(edit.after), lambda table: OWNERS.get(table, OWNER), MAKERS)
    at_first = fingerprint(connection)

    found = compare_models(connection, models, {OWNER})
    assert sorted(describe(found, connection.dialect)) == edit.expected_on(connection.dialect.name)

    code = render(found, MigrationContext.configure(connection))
    run(connection, code, code.upgrade)
    assert describe(compare_models(connection, models, {OWNER}), connection.dialect) == []
    assert of_others(fingerprint(connection)) == of_others(at_first)
    run(connection, code, code.downgrade)
    assert fingerprint(connection) == at_first


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


def run(connection, code, body):
    source = "\n".join(code.imports) + "\ndef run(op, sa):\n" + textwrap.indent(body, "    ")
    names = {}
    exec(textwrap.dedent(source), names)  # as the file of a revision
    with Operations.context(MigrationContext.configure(connection)) as op:
        names["run"](op, sa)
