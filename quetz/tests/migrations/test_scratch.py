"""Revisions are tried out beside a deployment's PostgreSQL database, and leave nothing there."""

import re

import pytest
from sqlalchemy import Engine, event, inspect

from quetz.cli.outcomes import exit_code
from quetz.db.engine import open_engine
from quetz.errors.migrations import MigrationUnfit, PostgreSQLUnseen
from quetz.migrations import make_migration, upgrade
from quetz.migrations.authoring.scratch import scratch_databases
from quetz.tests.migrations.databases import add_revision, run_sql, schema_of, tables_in

pytestmark = pytest.mark.parametrize("databases", ["postgresql"], indirect=True)


@pytest.fixture
def tried():
    """The statements that ran on PostgreSQL."""
    statements = []

    def note(connection, _cursor, statement, *_):
        if connection.dialect.name == "postgresql":
            statements.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    yield statements
    event.remove(Engine, "before_cursor_execute", note)


def test_a_revision_is_tried_out_in_a_schema_that_is_gone_afterwards(none_yet, empty_engine, tried):
    run_sql(empty_engine, "CREATE TABLE channels (odd TEXT)")

    make_migration(none_yet, message="initial", like=empty_engine, warn=pytest.fail)

    assert any(statement.strip().startswith("CREATE TABLE channels") for statement in tried)
    assert inspect(empty_engine).get_schema_names() == ["information_schema", "public"]
    assert tables_in(empty_engine) == {"channels"}
    assert schema_of(empty_engine) == {
        "channels: column odd TEXT null, default None",
        "channels: key None on []",
    }


def test_the_schema_goes_after_a_failure_too(copied, empty_engine):
    # SQLite knows nothing of what PostgreSQL refuses here.
    add_revision(
        copied,
        "aaaa",
        upgrade="op.create_table('t', sa.Column('c', sa.Text)); "
        "op.execute(\"INSERT INTO t VALUES ('x')\")",
        downgrade="op.drop_table('t')",
    )
    add_revision(
        copied,
        "bbbb",
        upgrade="[op.execute('ALTER TABLE t ALTER c TYPE INTEGER USING c::integer') "
        "for _ in range(op.get_bind().dialect.name == 'postgresql')]",
    )

    with pytest.raises(MigrationUnfit, match=r"on PostgreSQL: .*: invalid input syntax for"):
        make_migration(copied, message="x", like=empty_engine)

    assert inspect(empty_engine).get_schema_names() == ["information_schema", "public"]


def test_what_only_postgresql_tells_gets_a_migration_too(none_yet, empty_engine):
    root = make_migration(none_yet, message="initial")
    assert root is not None
    by_bytes = r'sa.String\(\).with_variant\(\s*sa.String\(collation="C"\), "postgresql"\s*\)'
    text = re.sub(
        rf'("objects".*?"sha256",\s*){by_bytes}',
        r"\1sa.String()",
        root.read_text(),
        flags=re.DOTALL,
    )
    root.write_text(text)
    assert make_migration(none_yet, message="x") is None

    file = make_migration(none_yet, message="order by bytes", like=empty_engine)

    assert file is not None
    changes = re.findall(r'alter_column\(\s*"(\w+)"', file.read_text())
    assert changes == ["sha256", "sha256"]
    upgrade(empty_engine, none_yet)
    [line] = [one for one in schema_of(empty_engine) if one.startswith("objects: column sha256")]
    assert 'COLLATE "C"' in line


@pytest.fixture
def modest(empty_engine, empty_database_url):
    """An engine whose user may make no schema."""
    run_sql(empty_engine, "DROP ROLE IF EXISTS quetz_modest", "CREATE ROLE quetz_modest LOGIN")
    engine = open_engine(empty_database_url.set(username="quetz_modest"))
    yield engine
    engine.dispose()
    run_sql(empty_engine, "DROP ROLE quetz_modest")


def test_a_user_who_may_make_no_schema_is_told_and_gets_a_migration(none_yet, modest):
    warnings: list[str] = []

    file = make_migration(none_yet, message="initial", like=modest, warn=warnings.append)

    assert file is not None
    [warning] = warnings
    assert warning.startswith("nothing was tried on PostgreSQL")
    assert "permission denied" in warning


def test_a_check_that_saw_no_postgresql_does_not_say_that_nothing_is_needed(plugins, modest):
    with pytest.raises(PostgreSQLUnseen, match="no migration on SQLite, but") as unseen:
        make_migration(plugins, message="", check=True, like=modest)

    assert exit_code(unseen.value) == 1


def test_a_schema_sees_nothing_of_the_database_around_it(empty_engine):
    run_sql(empty_engine, "CREATE TABLE around (id INTEGER)")

    with scratch_databases(empty_engine, pytest.fail) as [_, scratch]:
        assert tables_in(scratch.engine) == set()
        run_sql(scratch.engine, "CREATE TABLE within (id INTEGER)")

    assert tables_in(empty_engine) == {"around"}


def test_a_schema_that_a_killed_process_left_is_removed_by_the_next(empty_engine):
    left = "quetz_scratch_0123456789ab"
    run_sql(empty_engine, f"CREATE SCHEMA {left}", f"CREATE TABLE {left}.users (id INTEGER)")

    with scratch_databases(empty_engine, pytest.fail):
        pass

    assert inspect(empty_engine).get_schema_names() == ["information_schema", "public"]


def test_a_schema_in_use_is_left_to_its_process(empty_engine):
    with scratch_databases(empty_engine, pytest.fail) as [_, first]:
        run_sql(first.engine, "CREATE TABLE mine (id INTEGER)")

        with scratch_databases(empty_engine, pytest.fail) as [_, second]:
            assert tables_in(second.engine) == set()

        assert tables_in(first.engine) == {"mine"}


@pytest.mark.parametrize("name", ["quetz_scratch_notes", "quetz_scratch", "my_quetz_scratch_0123"])
def test_a_schema_of_somebody_else_stays(empty_engine, name):
    run_sql(empty_engine, f"CREATE SCHEMA {name}")

    with scratch_databases(empty_engine, pytest.fail):
        pass

    assert name in inspect(empty_engine).get_schema_names()
