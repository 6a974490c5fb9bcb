"""Applying revisions: all of one, or nothing of it, and no row is lost."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import delete
from sqlalchemy.engine import URL
from sqlalchemy.orm import Session

from quetz.db.engine import open_engine
from quetz.db.models import Channel
from quetz.errors import (
    DatabaseMissing,
)
from quetz.errors.migrations import (
    MigrationFailed,
    SchemaAhead,
    SchemaBehind,
    SchemaUnknown,
    VerificationFailed,
)
from quetz.migrations import check_schema, downgrade, upgrade
from quetz.testing.factories import make_channel
from quetz.tests.migrations.databases import (
    add_a_row_everywhere,
    add_revision,
    all_rows,
    head_of,
    heads_in,
    revisions_of,
    run_sql,
    schema_of,
    tables_in,
)

# The models need no such column, and it does no harm.
REBUILD_CHANNELS = """\
with op.batch_alter_table("channels", recreate="auto") as batch:
        batch.add_column(sa.Column("later", sa.Integer(), sa.CheckConstraint("later > 0")))
        batch.alter_column("ttl", existing_type=sa.Integer(), type_=sa.Integer())"""


def check(engine, plugins):
    check_schema(engine, plugins, "x")


def downgrade_all(engine, plugins):
    downgrade(engine, plugins, "quetz@base")


def test_an_empty_database_is_behind_until_it_is_upgraded(empty_engine, plugins):
    empty_engine.connect().close()  # which makes the file

    with pytest.raises(SchemaBehind, match="quetz init-db /srv/quetz"):
        check_schema(empty_engine, plugins, "/srv/quetz")

    upgrade(empty_engine, plugins)

    check_schema(empty_engine, plugins, "/srv/quetz")


def test_a_database_file_that_is_missing_is_named_and_not_made(sqlite_engine, plugins, tmp_path):
    with pytest.raises(DatabaseMissing, match=f"'{tmp_path / 'quetz.sqlite'}' is missing"):
        check_schema(sqlite_engine, plugins, "/srv/quetz")

    assert list(tmp_path.iterdir()) == []


def test_upgrading_again_applies_nothing_and_leaves_the_rows_alone(empty_engine, plugins):
    applied = upgrade(empty_engine, plugins).applied
    add_a_row_everywhere(empty_engine)
    rows = all_rows(empty_engine)

    assert applied == revisions_of(plugins)
    assert upgrade(empty_engine, plugins).applied == []
    assert all_rows(empty_engine) == rows


def test_a_new_revision_is_applied_to_tables_full_of_rows(empty_engine, copied):
    upgrade(empty_engine, copied)
    add_a_row_everywhere(empty_engine)
    rows = all_rows(empty_engine)
    add_revision(copied, "aaaa", upgrade=REBUILD_CHANNELS)

    with pytest.raises(SchemaBehind):
        check_schema(empty_engine, copied, "x")
    assert upgrade(empty_engine, copied).applied == ["aaaa"]

    assert all_rows(empty_engine) == rows
    assert "channels: column later INTEGER null, default None" in schema_of(empty_engine)


def test_the_id_of_a_deleted_channel_is_not_given_again_after_a_rebuild(empty_engine, copied):
    upgrade(empty_engine, copied)
    with Session(empty_engine.execution_options(write=True)) as session:
        deleted = [make_channel(session).id for _ in range(3)]
        session.execute(delete(Channel))
        session.commit()
    add_revision(copied, "aaaa", upgrade=REBUILD_CHANNELS)

    upgrade(empty_engine, copied)

    with Session(empty_engine.execution_options(write=True)) as session:
        assert make_channel(session).id > max(deleted)


def test_foreign_keys_hold_again_after_an_upgrade(empty_engine, plugins):
    upgrade(empty_engine, plugins)
    add_a_row_everywhere(empty_engine)

    run_sql(empty_engine, "DELETE FROM channels")

    assert all_rows(empty_engine)["files"] == []


def test_a_failing_revision_is_named_and_leaves_no_trace(empty_engine, copied):
    upgrade(empty_engine, copied)
    add_a_row_everywhere(empty_engine)
    rows, schema, head = all_rows(empty_engine), schema_of(empty_engine), head_of(copied)
    add_revision(
        copied,
        "aaaa",
        upgrade="op.execute('CREATE TABLE t (id INTEGER)'); op.execute('DELETE FROM files'); 1 / 0",
    )

    with pytest.raises(MigrationFailed, match="ZeroDivisionError: division by zero") as failure:
        upgrade(empty_engine, copied)

    assert str(failure.value).endswith(f"stands at {head}")
    assert all_rows(empty_engine) == rows
    assert schema_of(empty_engine) == schema
    assert heads_in(empty_engine) == {head}


def test_a_revision_that_exits_is_a_revision_that_fails(empty_engine, copied):
    add_revision(copied, "aaaa", upgrade="import sys; sys.exit('bye')")

    with pytest.raises(MigrationFailed, match=r"'aaaa .*, line 13: SystemExit: bye; the data"):
        upgrade(empty_engine, copied)

    assert "aaaa" not in heads_in(empty_engine)


def test_a_failure_names_the_line_of_the_revision_and_the_type_of_what_was_raised(
    empty_engine, copied
):
    add_revision(copied, "aaaa", upgrade="raise ValueError('boo')")
    file = copied.migrations["quetz"] / "aaaa_test.py"

    with pytest.raises(MigrationFailed) as failure:
        upgrade(empty_engine, copied)

    assert failure.value.reason == f"{file}, line 13: ValueError: boo"


def test_a_failed_copy_of_a_table_is_told_by_the_name_of_the_table(sqlite_engine, none_yet):
    add_revision(
        none_yet,
        "aaaa",
        upgrade="op.create_table('a', sa.Column('n', sa.Integer)); "
        "op.execute('INSERT INTO a VALUES (1), (1)'); "
        "batch = op.batch_alter_table('a', recreate='always'); b = batch.__enter__(); "
        "b.create_unique_constraint('uq_a_n', ['n']); batch.__exit__(None, None, None)",
    )

    with pytest.raises(MigrationFailed, match=r"line 13: UNIQUE constraint failed: a\.n; "):
        upgrade(sqlite_engine, none_yet, by_models=False)


def test_a_failure_leaves_sqlite_as_before_and_postgresql_at_a_whole_revision(
    empty_engine, none_yet
):
    add_revision(none_yet, "aaaa", upgrade="op.create_table('a', sa.Column('id', sa.Integer))")
    add_revision(none_yet, "bbbb", upgrade="op.create_table('b'); op.execute('nonsense')")
    whole = {"sqlite": set(), "postgresql": {"aaaa"}}[empty_engine.dialect.name]

    with pytest.raises(MigrationFailed, match="bbbb"):
        upgrade(empty_engine, none_yet)

    assert tables_in(empty_engine) & {"a", "b"} == ({"a"} if whole else set())
    assert heads_in(empty_engine) == whole


def test_a_revision_that_breaks_references_is_undone(sqlite_engine, copied):
    upgrade(sqlite_engine, copied)
    add_a_row_everywhere(sqlite_engine)
    rows = all_rows(sqlite_engine)
    add_revision(copied, "aaaa", upgrade="op.execute('DELETE FROM packages')")

    with pytest.raises(VerificationFailed, match="refers to a row of 'packages' that is gone"):
        upgrade(sqlite_engine, copied)

    assert all_rows(sqlite_engine) == rows


def test_a_newer_release_of_the_core_left_a_revision_that_an_older_one_refuses(
    empty_engine, copied
):
    add_revision(copied, "aaaa", upgrade="op.create_table('later', sa.Column('id', sa.Integer))")
    upgrade(empty_engine, copied)
    add_a_row_everywhere(empty_engine)
    rows, tables = all_rows(empty_engine), tables_in(empty_engine)
    Path(copied.migrations["quetz"], "aaaa_test.py").unlink()

    for refused in (upgrade, check, downgrade_all):
        with pytest.raises(SchemaAhead, match=r"ahead of 'quetz': aaaa .*untouched"):
            refused(empty_engine, copied)

    assert (all_rows(empty_engine), tables_in(empty_engine)) == (rows, tables)
    assert heads_in(empty_engine) == {"aaaa"}


def test_tables_of_our_names_without_a_record_are_refused(empty_engine, plugins):
    run_sql(empty_engine, "CREATE TABLE users (id INTEGER)", "INSERT INTO users VALUES (1)")

    for refused in (upgrade, check):
        with pytest.raises(SchemaUnknown, match="table 'users' without a record of migrations"):
            refused(empty_engine, plugins)

    assert tables_in(empty_engine) == {"users"}


def test_tables_of_others_are_left_alone(empty_engine, plugins):
    run_sql(empty_engine, "CREATE TABLE dbos_queues (id INTEGER)")

    upgrade(empty_engine, plugins)

    assert "dbos_queues" in tables_in(empty_engine)


def test_not_a_byte_of_a_refused_file_changes(tmp_path, plugins):
    file = tmp_path / "foreign.sqlite"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE users (id INTEGER)")
    content = file.read_bytes()
    engine = open_engine(URL.create("sqlite", database=str(file)))

    for refused in (upgrade, check):
        with pytest.raises(SchemaUnknown):
            refused(engine, plugins)
    engine.dispose()

    assert file.read_bytes() == content
    assert list(tmp_path.iterdir()) == [file]
