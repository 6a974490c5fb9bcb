"""Changes outside a transaction: what fails is told, and can be repeated."""

import threading
from contextlib import nullcontext

import pytest
from sqlalchemy import Engine, event, inspect, text
from sqlalchemy.exc import IntegrityError

from quetz.db.engine import open_engine
from quetz.errors.migrations import MigrationFailed, MigrationHalfDone
from quetz.migrations import upgrade
from quetz.migrations.ledger import read_entries
from quetz.tests.migrations.databases import add_a_row_everywhere, add_revision, heads_in, run_sql

MADE = (
    "op.create_table('later', sa.Column('id', sa.Integer, primary_key=True), "
    "sa.Column('size', sa.Integer), sa.Column('channel_id', sa.BigInteger)); "
    "op.execute('INSERT INTO later SELECT id, id, id FROM channels')"
)


@pytest.fixture
def filled(empty_engine, copied):
    """A database with a row in each table, and in one more that nobody's models have."""
    upgrade(empty_engine, copied)
    add_a_row_everywhere(empty_engine)
    add_revision(copied, "aaaa", upgrade=MADE)
    upgrade(empty_engine, copied)
    return empty_engine


def add_safe_revision(copied, statement: str, *, transactional: bool = False) -> None:
    add_revision(
        copied,
        "bbbb",
        upgrade=f"from quetz.plugin_api import safe; {statement}",
        downgrade=f"pass\n\n\ntransactional = {transactional}",
    )


def states_in(engine: Engine) -> list[tuple[str, str]]:
    with engine.connect() as connection:
        return [(entry.revision, entry.state) for entry in read_entries(connection)]


def test_an_index_is_built_and_dropped(filled, copied):
    add_safe_revision(copied, "safe.create_index('ix_later_size', 'later', ['size'], unique=True)")
    upgrade(filled, copied)
    [index] = inspect(filled).get_indexes("later")
    assert (index["name"], index["unique"]) == ("ix_later_size", True)
    add_revision(
        copied,
        "cccc",
        upgrade="from quetz.plugin_api import safe; safe.drop_index('ix_later_size', 'later')",
        downgrade="pass\n\n\ntransactional = False",
    )

    upgrade(filled, copied)

    assert inspect(filled).get_indexes("later") == []


def test_a_foreign_key_is_added_and_checked(filled, copied):
    key = "safe.add_foreign_key('fk_x', 'later', ['channel_id'], 'channels', ['id'], ondelete='CASCADE')"  # noqa: E501
    add_safe_revision(copied, key)

    upgrade(filled, copied)
    run_sql(filled, "DELETE FROM channels")

    with filled.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM later")) == 0


def test_what_looks_like_a_parameter_is_taken_as_it_is(filled, copied):
    change = """safe.change_check('ck_kind', 'later', "kind <> ' :x'")"""
    fill = """safe.batched_update('later', "kind = 'a :x'", where="kind IS NULL", size=1)"""
    add_safe_revision(
        copied, f"op.add_column('later', sa.Column('kind', sa.String(9))); {fill}; {change}"
    )

    upgrade(filled, copied)

    with filled.connect() as connection:
        assert connection.scalars(text("SELECT kind FROM later")).all() == ["a :x"]
    with pytest.raises(IntegrityError, match="ck_kind"):
        run_sql(filled, r"UPDATE later SET kind = ' \:x'")


def test_a_batch_of_no_rows_is_refused(filled, copied):
    add_safe_revision(copied, "safe.batched_update('later', 'size = 1', size=0)")

    with pytest.raises((MigrationFailed, MigrationHalfDone), match="size must be at least 1"):
        upgrade(filled, copied)


def test_null_is_forbidden_only_if_there_is_none(filled, copied):
    run_sql(filled, "INSERT INTO later (id) VALUES (99)")
    add_safe_revision(copied, "safe.set_not_null('later', 'size')")
    with pytest.raises((MigrationFailed, MigrationHalfDone), match=r"null|NULL"):
        upgrade(filled, copied)
    run_sql(filled, "DELETE FROM later WHERE size IS NULL")

    upgrade(filled, copied)

    columns = {column["name"]: column for column in inspect(filled).get_columns("later")}
    assert not columns["size"]["nullable"]
    assert inspect(filled).get_check_constraints("later") == []


def test_a_check_takes_the_place_of_the_one_of_its_name(filled, copied):
    add_safe_revision(
        copied,
        "safe.change_check('ck_x', 'later', 'size > 1'); "
        "safe.change_check('ck_x', 'later', 'size > 2')",
    )

    upgrade(filled, copied)

    [check] = inspect(filled).get_check_constraints("later")
    assert check["name"] == "ck_x"
    assert "2" in check["sqltext"]


def test_rows_are_changed_in_batches_each_once(filled, copied):
    values = ", ".join(f"({number}, 0)" for number in range(100, 130))
    run_sql(filled, f"INSERT INTO later (id, size) VALUES {values}")
    update = "safe.batched_update('later', 'size = size + 1', where='id >= 100', size=7)"
    add_safe_revision(copied, update)

    upgrade(filled, copied)

    with filled.connect() as connection:
        sizes = connection.scalars(text("SELECT DISTINCT size FROM later WHERE id >= 100"))
        assert list(sizes) == [1]


def test_a_revision_outside_a_transaction_that_fails_is_told_and_repeated(filled, copied):
    run_sql(filled, "INSERT INTO later (id, size) VALUES (50, 1), (51, 1)")
    add_safe_revision(copied, "safe.create_index('ix_later_size', 'later', ['size'], unique=True)")
    if filled.dialect.name == "postgresql":
        with pytest.raises(MigrationHalfDone, match="run quetz init-db again"):
            upgrade(filled, copied)
        assert states_in(filled)[-1] == ("bbbb", "failed")
        assert "bbbb" not in heads_in(filled)
    else:
        with pytest.raises(MigrationFailed, match="rolled back"):
            upgrade(filled, copied)
    run_sql(filled, "DELETE FROM later WHERE id = 51")

    assert upgrade(filled, copied).applied == ["bbbb"]

    assert states_in(filled)[-1] == ("bbbb", "done")
    with filled.connect() as connection:
        [index] = inspect(connection).get_indexes("later")
    assert index["unique"]


def test_what_a_killed_process_left_running_is_entered_as_failed(filled, copied):
    run_sql(filled, "UPDATE quetz_migration_log SET state = 'running' WHERE revision = 'aaaa'")
    add_revision(copied, "bbbb")

    upgrade(filled, copied)

    assert ("bbbb", "done") in states_in(filled)
    assert "running" not in {state for _revision, state in states_in(filled)}


@pytest.mark.parametrize("databases", ["postgresql"], indirect=True)
def test_a_revision_gives_way_to_who_uses_its_table_and_tries_again(empty_engine, copied):
    upgrade(empty_engine, copied)
    add_revision(copied, "aaaa", upgrade="op.execute('LOCK TABLE channels')")
    other = open_engine(empty_engine.url)
    reader = other.connect()
    reader.execute(text("SELECT 1 FROM channels"))
    told = []

    def end_reading(progress) -> None:
        told.append(progress.event)
        if progress.event == "waiting":
            threading.Thread(target=reader.close).start()

    outcome = upgrade(empty_engine, copied, watch=end_reading)

    other.dispose()
    assert outcome.applied == ["aaaa"]
    assert "waiting" in told


@pytest.mark.parametrize("databases", ["postgresql"], indirect=True)
def test_a_change_outside_a_transaction_gives_way_too(filled, copied):
    add_safe_revision(copied, "safe.change_check('ck_x', 'later', 'size > 0')")
    other = open_engine(filled.url)
    reader, late = other.connect(), other.connect()
    reader.execute(text("SELECT 1 FROM later"))
    migration = threading.Thread(target=upgrade, args=(filled, copied))
    migration.start()
    waiting = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    while not late.scalar(waiting):
        late.rollback()
    late.execute(text("SET LOCAL statement_timeout = '20s'"))

    count = late.scalar(
        text("SELECT count(*) FROM later")
    )  # behind the ALTER, while reader is there

    late.close()
    reader.close()
    migration.join()
    other.dispose()
    assert count == 1
    [check] = inspect(filled).get_check_constraints("later")
    assert check["name"] == "ck_x"


@pytest.mark.parametrize("databases", ["postgresql"], indirect=True)
def test_rows_that_break_a_new_check_leave_the_old_one_in_force(filled, copied):
    run_sql(filled, "ALTER TABLE later ADD CONSTRAINT ck_x CHECK (size < 50)")
    add_safe_revision(copied, "safe.change_check('ck_x', 'later', 'size > 10')")

    with pytest.raises(MigrationHalfDone, match="ck_x"):
        upgrade(filled, copied)

    assert checks_of_later(filled) == {"ck_x": "size < 50"}


@pytest.mark.parametrize("databases", ["postgresql"], indirect=True)
@pytest.mark.parametrize("statement", range(5))
def test_a_check_is_in_force_wherever_its_change_is_broken_off(filled, copied, statement):
    name = "ck_" + "ä" * 30
    run_sql(filled, f"ALTER TABLE later ADD CONSTRAINT {name} CHECK (size < 50)")
    add_safe_revision(copied, f"safe.change_check('{name}', 'later', 'size < 60')")
    rest = iter(range(statement, -1, -1))

    def break_off(_connection, _cursor, sql, *_context) -> None:
        if "later" in sql and next(rest) == 0:
            raise RuntimeError("broken off")

    event.listen(filled, "after_cursor_execute", break_off)
    with nullcontext() if statement > 3 else pytest.raises(MigrationHalfDone, match="broken off"):
        upgrade(filled, copied)
    event.remove(filled, "after_cursor_execute", break_off)

    with pytest.raises(IntegrityError):
        run_sql(filled, "INSERT INTO later (id, size) VALUES (99, 70)")
    upgrade(filled, copied)
    assert checks_of_later(filled) == {name: "size < 60"}


def checks_of_later(engine: Engine) -> dict[str, str]:
    checks = inspect(engine).get_check_constraints("later")
    return {str(check["name"]): check["sqltext"] for check in checks}
