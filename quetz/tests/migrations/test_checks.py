"""A check finds what somebody, or something, did to a database behind the migrations' back."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from quetz.cli.outcomes import exit_code
from quetz.errors import DatabaseMissing, PluginError
from quetz.errors.migrations import (
    MigrationEdited,
    MigrationsMissing,
    PluginsUnchecked,
    SchemaDrifted,
    SchemaUnknown,
)
from quetz.migrations import downgrade, upgrade
from quetz.migrations.checks import Report, check_database
from quetz.migrations.schemas.comparisons import differences
from quetz.tests.migrations.databases import (
    REVISION,
    add_a_row_everywhere,
    add_revision,
    revisions_of,
    run_sql,
    tables_in,
)

ROW_OF_NOBODY = "INSERT INTO channel_members (channel_id, user_id, role) VALUES (77, 88, 'owner')"


@pytest.fixture
def engine(empty_engine, copied):
    """A database at the head of the core, with a row in each table."""
    upgrade(empty_engine, copied)
    add_a_row_everywhere(empty_engine)
    return empty_engine


@pytest.mark.parametrize("deep", [False, True])
def test_a_sound_database_has_no_finding(engine, copied, deep):
    before = tables_in(engine)

    report = check_database(engine, copied, deep=deep)

    assert report == Report()
    report.verdict("d")
    assert tables_in(engine) == before


def test_what_was_changed_by_hand_is_told_as_drift_and_as_difference(engine, copied):
    run_sql(
        engine,
        "ALTER TABLE users ADD COLUMN shoe_size INTEGER",
        "DROP INDEX ix_files_package_id",
        "CREATE TABLE quetz_migrated_by_hand (id INTEGER)",
    )

    report = check_database(engine, copied)

    assert report.drift == (
        "has users: column shoe_size INTEGER null, default None",
        "lacks files: index ix_files_package_id on ['package_id'], unique False, "
        + ("{}" if engine.dialect.name == "sqlite" else "{'postgresql_include': '[]'}"),
    )
    assert report.differences == (
        "quetz: add index ix_files_package_id of files (package_id)",
        "quetz: drop column users.shoe_size",
    )
    with pytest.raises(SchemaDrifted, match="4 differences") as drifted:
        report.verdict("d")
    assert exit_code(drifted.value) == 4


def test_what_only_the_database_has_can_be_left_out(engine, copied):
    run_sql(
        engine, "ALTER TABLE users ADD COLUMN shoe_size INTEGER", "DROP INDEX ix_files_package_id"
    )

    with engine.connect() as connection:
        found = differences(connection, copied, ["quetz"], extras=False)
        of_nobody = differences(connection, copied, [])

    assert found == {"quetz: add index ix_files_package_id of files (package_id)"}
    assert of_nobody == set()


def test_what_models_lack_is_a_difference_and_no_drift(engine, copied):
    add_revision(copied, "aaaa", upgrade="op.add_column('users', sa.Column('x', sa.Integer))")
    upgrade(engine, copied)

    report = check_database(engine, copied)

    assert (report.drift, report.differences) == ((), ("quetz: drop column users.x",))


def test_a_database_that_is_behind_is_compared_with_what_was_applied(engine, copied):
    add_revision(copied, "aaaa", upgrade="op.add_column('users', sa.Column('x', sa.Integer))")

    report = check_database(engine, copied)
    assert report == Report(pending=("aaaa",))
    with pytest.raises(MigrationsMissing, match="1 migration is missing, run: quetz init-db d; "):
        report.verdict("d")

    run_sql(engine, "ALTER TABLE users ADD COLUMN y INTEGER")
    report = check_database(engine, copied)
    assert report.drift == ("has users: column y INTEGER null, default None",)
    assert report.differences == ()


def test_a_migration_that_was_edited_after_it_was_applied_is_named(engine, copied):
    add_revision(copied, "aaaa", upgrade="pass")
    upgrade(engine, copied)
    file = Path(copied.migrations["quetz"], "aaaa_test.py")
    file.write_text(file.read_text() + "\n# a comment is no change\n")
    assert check_database(engine, copied).edited == ()
    file.write_text(file.read_text().replace("pass", "op.execute('SELECT 1')", 1))

    report = check_database(engine, copied)

    assert report.edited == ("aaaa",)
    with pytest.raises(MigrationEdited, match="aaaa") as edited:
        report.verdict("d")
    assert exit_code(edited.value) == 7


def test_the_copy_of_a_table_that_a_killed_migration_left_is_named(engine, copied):
    run_sql(engine, "CREATE TABLE _alembic_tmp_users (id INTEGER)")

    assert check_database(engine, copied).leftovers == ("_alembic_tmp_users",)


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)
def test_rows_that_refer_to_nothing_are_counted_on_sqlite(engine, copied):
    with engine.connect() as connection:
        driver = connection.connection.cursor()
        driver.execute("PRAGMA foreign_keys=OFF")
        driver.execute(ROW_OF_NOBODY)
        driver.execute("PRAGMA foreign_keys=ON")
        driver.close()

    report = check_database(engine, copied)

    assert report.broken_references == (
        "1 row refers from 'channel_members' to rows of 'channels' that are gone",
        "1 row refers from 'channel_members' to rows of 'users' that are gone",
    )


@pytest.mark.parametrize("databases", ["postgresql"], indirect=True)
def test_rows_that_refer_to_nothing_are_counted_on_postgresql_if_asked_for(engine, copied):
    run_sql(engine, "SET session_replication_role = replica", ROW_OF_NOBODY)

    assert check_database(engine, copied).broken_references == ()
    assert check_database(engine, copied, deep=True).broken_references == (
        "1 row refers from 'channel_members' to rows of 'channels' that are gone",
        "1 row refers from 'channel_members' to rows of 'users' that are gone",
    )


@pytest.mark.parametrize("databases", ["postgresql"], indirect=True)
def test_an_index_that_was_not_built_to_its_end_is_named(engine, copied):
    run_sql(
        engine,
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ix_files_package_id'::regclass",
    )

    assert check_database(engine, copied).invalid_indexes == ("ix_files_package_id",)


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)
def test_a_damaged_file_is_told_if_asked_for(engine, copied):
    run_sql(engine, "CREATE TABLE t (n INTEGER CHECK (n > 0))")
    with engine.connect() as connection:
        driver = connection.connection.cursor()
        driver.execute("PRAGMA ignore_check_constraints=ON")
        driver.execute("INSERT INTO t VALUES (-1)")
        driver.execute("PRAGMA ignore_check_constraints=OFF")
        driver.close()

    assert check_database(engine, copied).damage == ()
    assert check_database(engine, copied, deep=True).damage == ("CHECK constraint failed in t",)


def test_tables_of_others_are_no_finding(engine, copied):
    run_sql(engine, "CREATE TABLE dbos_queues (id INTEGER)", "CREATE TABLE mine (id INTEGER)")

    assert check_database(engine, copied) == Report()


def test_a_plugin_that_is_broken_is_told_and_is_no_fault_of_the_database(engine, copied):
    broken = PluginError("quetz-notes", "cannot import quetz_notes")
    copied.broken["quetz-notes"] = broken

    report = check_database(engine, copied)

    assert report == Report(unchecked=(str(broken),), broken=("quetz-notes",))
    with pytest.raises(PluginsUnchecked, match="1 plugin could not be checked") as unchecked:
        report.verdict("d")
    assert exit_code(unchecked.value) == 12


def test_tables_of_a_plugin_that_is_gone_are_no_finding(engine, copied, tmp_path):
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "aaaa_notes.py").write_text(
        REVISION.format(
            revision="aaaa",
            parent=None,
            labels=("quetz-notes",),
            upgrade="op.create_table('quetz_notes', sa.Column('id', sa.Integer))",
            downgrade="op.drop_table('quetz_notes')",
        )
    )
    with_notes = replace(copied, migrations=copied.migrations | {"quetz-notes": folder})
    upgrade(engine, with_notes)
    assert check_database(engine, with_notes).drift == ()

    assert check_database(engine, copied) == Report()


def test_an_empty_database_lacks_migrations_and_has_no_other_finding(empty_engine, copied):
    empty_engine.connect().close()  # which makes the file of SQLite

    assert check_database(empty_engine, copied) == Report(pending=tuple(revisions_of(copied)))


def test_a_database_that_was_taken_back_lacks_migrations_and_has_no_other_finding(engine, copied):
    downgrade(engine, copied, "quetz@base")

    assert check_database(engine, copied) == Report(pending=tuple(revisions_of(copied)))


def test_a_database_of_nobody_knows_whom_is_refused(empty_engine, copied):
    run_sql(empty_engine, "CREATE TABLE users (id INTEGER)")

    with pytest.raises(SchemaUnknown):
        check_database(empty_engine, copied)


def test_a_file_that_is_missing_is_not_made(sqlite_engine, copied):
    with pytest.raises(DatabaseMissing):
        check_database(sqlite_engine, copied)

    assert not Path(sqlite_engine.url.database).exists()


def test_a_report_is_a_document(engine, copied):
    run_sql(engine, "CREATE TABLE _alembic_tmp_users (id INTEGER)")

    document = json.loads(json.dumps(check_database(engine, copied).document()))

    assert document["leftovers"] == ["_alembic_tmp_users"]
    assert document["drift"] == []
