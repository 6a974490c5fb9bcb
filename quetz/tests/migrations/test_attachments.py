"""What hangs on an SQLite table outlives that a copy takes the table's place."""

import pytest

from quetz.errors.migrations import VerificationFailed
from quetz.migrations import downgrade, upgrade
from quetz.tests.migrations.databases import add_revision, run_sql, schema_of

INDEX = "op.create_index('ix_odd', 'users', [sa.text('lower(username)')])"
TRIGGER = "CREATE TRIGGER odd AFTER DELETE ON users BEGIN SELECT 1; END"
COPY = (
    "batch = op.batch_alter_table('users'); b = batch.__enter__(); "
    "b.alter_column('role', type_=sa.String({length})); batch.__exit__(None, None, None)"
)


def names_in(engine):
    with engine.connect() as connection:
        return set(connection.exec_driver_sql("SELECT name FROM sqlite_master").scalars())


def migrate(engine, plugins):
    return upgrade(engine, plugins, by_models=False).applied


@pytest.fixture
def with_index(copied):
    """Revisions that make an index of an expression, and then a copy of its table."""
    add_revision(copied, "aaaa", upgrade=INDEX, downgrade="op.drop_index('ix_odd', 'users')")
    add_revision(copied, "bbbb", upgrade=COPY.format(length=20), downgrade=COPY.format(length=16))
    return copied


def test_an_index_of_an_expression_outlives_a_copy_made_in_the_same_run(sqlite_engine, with_index):
    migrate(sqlite_engine, with_index)

    assert "ix_odd" in names_in(sqlite_engine)
    assert "users: column role VARCHAR(20) null, default None" in schema_of(sqlite_engine)


def test_an_index_of_an_expression_outlives_a_copy_that_takes_a_change_back(
    sqlite_engine, with_index
):
    migrate(sqlite_engine, with_index)

    downgrade(sqlite_engine, with_index, "aaaa")

    assert "ix_odd" in names_in(sqlite_engine)
    assert "users: column role VARCHAR(16) null, default None" in schema_of(sqlite_engine)


def test_a_trigger_made_in_the_same_run_outlives_a_copy(sqlite_engine, copied):
    add_revision(copied, "aaaa", upgrade=f"op.execute({TRIGGER!r})")
    add_revision(copied, "bbbb", upgrade=COPY.format(length=20))

    migrate(sqlite_engine, copied)

    assert "odd" in names_in(sqlite_engine)


def test_what_a_revision_drops_itself_stays_away(sqlite_engine, with_index):
    add_revision(
        with_index,
        "cccc",
        upgrade="op.drop_index('ix_odd', 'users'); " + COPY.format(length=30),
    )

    migrate(sqlite_engine, with_index)

    assert "ix_odd" not in names_in(sqlite_engine)


@pytest.fixture
def with_trigger(sqlite_engine, none_yet):
    """A table whose removed rows are counted, in a database without any other."""
    add_revision(none_yet, "0000")
    migrate(sqlite_engine, none_yet)
    run_sql(
        sqlite_engine,
        "CREATE TABLE mine (id INTEGER PRIMARY KEY, x TEXT, y TEXT)",
        "CREATE TABLE counted (name TEXT)",
        "CREATE TRIGGER told AFTER DELETE ON mine BEGIN INSERT INTO counted VALUES (OLD.x); END",
        "CREATE INDEX ix_odd ON mine (lower(y))",
        "INSERT INTO mine VALUES (1, 'one', 'two')",
    )
    return none_yet


def batch(change):
    opened = "batch = op.batch_alter_table('mine', recreate='always'); b = batch.__enter__()"
    return f"{opened}; {change}; batch.__exit__(None, None, None)"


def test_what_hangs_on_a_table_outlives_that_its_copy_is_renamed(sqlite_engine, with_trigger):
    change = batch("b.alter_column('y', type_=sa.String(9))")
    add_revision(with_trigger, "aaaa", upgrade=f"{change}; op.rename_table('mine', 'ours')")

    migrate(sqlite_engine, with_trigger)
    run_sql(sqlite_engine, "DELETE FROM ours")

    assert "ix_odd" in names_in(sqlite_engine)
    with sqlite_engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT * FROM counted").all() == [("one",)]


def take_back(engine, plugins):
    return downgrade(engine, plugins, "0000")


WAYS = {"up": migrate, "down": take_back}
UNFIT = {
    "a column of a deleted row": "told",
    "a column of an inserted row": "AFTER INSERT ON mine BEGIN SELECT NEW.x; END",
    "a column of an updated row": "AFTER UPDATE OF y ON mine WHEN NEW.x > '' BEGIN SELECT 1; END",
    "a column that is updated": "BEFORE UPDATE OF id, x ON mine BEGIN SELECT 1; END",
    "a column of another table": "AFTER INSERT ON counted BEGIN UPDATE mine SET x = NULL; END",
}


@pytest.mark.parametrize("trigger", [pytest.param(v, id=k) for k, v in UNFIT.items()])
@pytest.mark.parametrize("direction", WAYS)
def test_a_trigger_that_does_not_fit_any_more_is_told_before_the_commit(
    sqlite_engine, with_trigger, trigger, direction
):
    if trigger != "told":
        run_sql(sqlite_engine, "DROP TRIGGER told", f"CREATE TRIGGER odd {trigger}")
    before = names_in(sqlite_engine)
    drop = batch("b.drop_column('x')")
    add_revision(with_trigger, "aaaa", **{f"{direction}grade": drop})
    if direction == "down":
        migrate(sqlite_engine, with_trigger)

    with pytest.raises(VerificationFailed, match=r"trigger of table '(mine|counted)' .*\bx\b"):
        WAYS[direction](sqlite_engine, with_trigger)

    assert names_in(sqlite_engine) == before


def test_a_trigger_that_is_dropped_with_its_column_stops_nothing(sqlite_engine, with_trigger):
    drop = batch("b.drop_column('x')")
    add_revision(with_trigger, "aaaa", upgrade=f"{drop}; op.execute('DROP TRIGGER told')")

    assert migrate(sqlite_engine, with_trigger) == ["aaaa"]


def test_a_trigger_that_did_not_fit_before_stops_nothing(sqlite_engine, with_trigger):
    run_sql(sqlite_engine, "CREATE TRIGGER odd AFTER INSERT ON mine BEGIN SELECT NEW.gone; END")
    add_revision(with_trigger, "aaaa", upgrade=batch("None"))

    assert migrate(sqlite_engine, with_trigger) == ["aaaa"]
    assert "odd" in names_in(sqlite_engine)
