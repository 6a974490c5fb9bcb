"""What hangs on an SQLite table outlives that a copy takes the table's place."""

import pytest

from quetz.migrations import downgrade, upgrade
from quetz.tests.migrations.databases import add_revision, schema_of

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
