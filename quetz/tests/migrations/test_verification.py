"""What migrations did is looked at before it is committed."""

import pytest

from quetz.errors.migrations import MigrationFailed, VerificationFailed
from quetz.migrations import upgrade
from quetz.migrations.progress import Progress
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

LOSING_COPY = (
    "op.execute('CREATE TABLE copied AS SELECT * FROM files WHERE id < 0'); "
    "op.execute('DROP TABLE files'); op.execute('ALTER TABLE copied RENAME TO files')"
)
REBUILD = "batch = op.batch_alter_table('{}', recreate='always'); batch.__enter__(); batch.__exit__(None, None, None)"  # noqa: E501


@pytest.fixture
def filled(empty_engine, copied):
    """A database with a row in each table, and revisions to add to."""
    upgrade(empty_engine, copied)
    add_a_row_everywhere(empty_engine)
    return empty_engine


@pytest.fixture
def sqlite_filled(sqlite_engine, copied):
    upgrade(sqlite_engine, copied)
    add_a_row_everywhere(sqlite_engine)
    return sqlite_engine


def test_a_copy_that_loses_rows_is_rolled_back(sqlite_filled, copied):
    run_sql(sqlite_filled, "CREATE TRIGGER odd AFTER DELETE ON files BEGIN SELECT 1; END")
    rows, head = all_rows(sqlite_filled), head_of(copied)
    add_revision(copied, "aaaa", upgrade=LOSING_COPY)

    with pytest.raises(VerificationFailed, match="table 'files' had 1 rows and has 0") as failure:
        upgrade(sqlite_filled, copied)

    assert str(failure.value).endswith(f"stands at {head}")
    assert all_rows(sqlite_filled) == rows


def test_rows_that_a_revision_deletes_on_purpose_may_go(filled, copied):
    add_revision(copied, "aaaa", upgrade="op.execute('DELETE FROM file_downloads')")

    upgrade(filled, copied)

    assert all_rows(filled)["file_downloads"] == []


def test_a_table_that_is_not_as_its_models_need_it_is_rolled_back(filled, copied):
    schema = schema_of(filled)
    add_revision(copied, "aaaa", upgrade="op.drop_table('file_downloads')")

    with pytest.raises(VerificationFailed, match="quetz: add table file_downloads"):
        upgrade(filled, copied)

    assert schema_of(filled) == schema


def test_a_difference_that_was_there_before_is_told_and_stops_nothing(filled, copied):
    run_sql(filled, "DROP TABLE file_downloads")
    add_revision(copied, "aaaa")
    told: list[Progress] = []

    outcome = upgrade(filled, copied, watch=told.append)

    assert outcome.applied == ["aaaa"]
    [warning] = [one.sentence for one in told if one.event == "warning"]
    assert "add table file_downloads" in warning


@pytest.mark.parametrize("body", ["return False", "raise RuntimeError('too few')"])
def test_a_revision_may_check_itself(filled, copied, body):
    add_revision(
        copied,
        "aaaa",
        upgrade="op.create_table('later', sa.Column('id', sa.Integer))",
        downgrade=f"pass\n\n\ndef verify(connection):\n    {body}",
    )

    with pytest.raises(VerificationFailed, match=r"verify of aaaa \(aaaa\)"):
        upgrade(filled, copied)

    assert "later" not in tables_in(filled)
    assert "aaaa" not in heads_in(filled)


def test_a_revision_whose_check_holds_is_applied(filled, copied):
    check = "pass\n\n\ndef verify(connection):\n    assert connection.exec_driver_sql('SELECT 1').scalar() == 1"  # noqa: E501
    add_revision(copied, "aaaa", downgrade=check)

    assert upgrade(filled, copied).applied == ["aaaa"]


def test_triggers_of_a_table_stay_when_a_copy_takes_its_place(sqlite_filled, copied):
    trigger = "CREATE TRIGGER told AFTER DELETE ON files BEGIN DELETE FROM objects; END"
    run_sql(sqlite_filled, trigger)
    add_revision(copied, "aaaa", upgrade=REBUILD.format("files"))

    upgrade(sqlite_filled, copied)
    run_sql(sqlite_filled, "DELETE FROM files")

    assert all_rows(sqlite_filled)["objects"] == []


@pytest.mark.parametrize("option", ["STRICT", "WITHOUT ROWID"])
def test_options_of_a_table_stay_when_a_copy_takes_its_place(sqlite_filled, copied, option):
    run_sql(sqlite_filled, f"CREATE TABLE mine (id INTEGER PRIMARY KEY) {option}")
    add_revision(copied, "aaaa", upgrade=REBUILD.format("mine"))

    upgrade(sqlite_filled, copied)

    with sqlite_filled.connect() as connection:
        query = "SELECT sql FROM sqlite_master WHERE name = 'mine'"
        assert option in connection.exec_driver_sql(query).scalar_one()


def test_a_copy_that_another_tool_left_is_dropped_if_it_holds_nothing(sqlite_filled, copied):
    run_sql(sqlite_filled, "CREATE TABLE _alembic_tmp_files AS SELECT * FROM files")
    add_revision(copied, "aaaa", upgrade=REBUILD.format("files"))

    upgrade(sqlite_filled, copied)

    assert "_alembic_tmp_files" not in tables_in(sqlite_filled)


def test_a_copy_that_another_tool_left_with_rows_is_refused(sqlite_filled, copied):
    run_sql(
        sqlite_filled,
        "CREATE TABLE _alembic_tmp_files AS SELECT * FROM files",
        "DELETE FROM files",
    )
    add_revision(copied, "aaaa", upgrade=REBUILD.format("files"))

    with pytest.raises(VerificationFailed, match=r"'_alembic_tmp_files'.*has rows that 'files'"):
        upgrade(sqlite_filled, copied)

    assert "_alembic_tmp_files" in tables_in(sqlite_filled)


def test_a_revision_that_would_end_the_transaction_is_refused(filled, copied):
    add_revision(copied, "aaaa", upgrade="op.get_context().autocommit_block().__enter__()")

    with pytest.raises(MigrationFailed, match="say transactional = False"):
        upgrade(filled, copied)

    assert "aaaa" not in heads_in(filled)


def test_faults_of_strangers_that_were_there_before_stop_nothing(sqlite_filled, copied):
    run_sql(
        sqlite_filled,
        "CREATE TABLE parent (x INTEGER)",
        'CREATE TABLE "odd ""child" (y INTEGER REFERENCES parent (x))',
    )
    add_revision(copied, "aaaa", upgrade=REBUILD.format("files"))

    assert upgrade(sqlite_filled, copied).applied == ["aaaa"]


def test_a_key_that_others_refer_to_must_stay_one(sqlite_filled, copied):
    rows = all_rows(sqlite_filled)
    add_revision(
        copied,
        "aaaa",
        upgrade="op.execute('CREATE TABLE copied AS SELECT * FROM files'); "
        "op.execute('DROP TABLE files'); op.execute('ALTER TABLE copied RENAME TO files')",
    )

    with pytest.raises(VerificationFailed, match="foreign key mismatch"):
        upgrade(sqlite_filled, copied)

    assert all_rows(sqlite_filled) == rows


def test_a_view_of_a_table_and_a_trigger_that_names_it_stay_when_a_copy_takes_its_place(
    sqlite_filled, copied
):
    run_sql(
        sqlite_filled,
        "CREATE VIEW names AS SELECT name FROM channels",
        "CREATE TABLE mine (id INTEGER)",
        "CREATE TRIGGER told AFTER INSERT ON mine BEGIN UPDATE channels SET ttl = 1; END",
    )
    add_revision(copied, "aaaa", upgrade=REBUILD.format("channels"))

    upgrade(sqlite_filled, copied)

    run_sql(sqlite_filled, "INSERT INTO mine VALUES (1)")
    with sqlite_filled.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM names").scalar() == 1
        assert connection.exec_driver_sql("SELECT ttl FROM channels").scalar() == 1


def test_models_that_are_ahead_of_their_migrations_stop_no_upgrade(empty_engine, copied):
    [file] = copied.migrations["quetz"].glob(f"{revisions_of(copied)[0]}_*.py")
    text = file.read_text()
    column = '        sa.Column("mirror_mode", sa.String(length=16), nullable=True),\n'
    assert column in text
    file.write_text(text.replace(column, ""))
    told: list[Progress] = []

    upgrade(empty_engine, copied, watch=told.append)

    [warning] = [one.sentence for one in told if one.event == "warning"]
    assert "add column channels.mirror_mode" in warning


@pytest.mark.parametrize("name", ["main.told", '"told"', 'main."told"', "told"])
def test_a_trigger_that_a_revision_drops_is_gone(sqlite_filled, copied, name):
    run_sql(
        sqlite_filled,
        "CREATE TRIGGER told AFTER DELETE ON files BEGIN DELETE FROM objects; END",
    )
    add_revision(copied, "aaaa", upgrade=f"op.execute({f'DROP TRIGGER {name}'!r})")

    upgrade(sqlite_filled, copied)
    run_sql(sqlite_filled, "DELETE FROM files")

    assert len(all_rows(sqlite_filled)["objects"]) == 1
