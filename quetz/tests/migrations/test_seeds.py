"""Each table gets rows that its types, references and rules take."""

import pytest
from sqlalchemy import (
    JSON,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    Date,
    DateTime,
    Enum,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    String,
    Table,
    Text,
    Time,
    UniqueConstraint,
    Uuid,
    select,
)

from quetz.db.base import RowId
from quetz.migrations import upgrade
from quetz.migrations.authoring.seeds import clear, count_rows, seed


@pytest.fixture
def connection(empty_engine):
    with empty_engine.execution_options(write=True).connect() as connection:
        yield connection


def made(connection, *items, name="t"):
    table = Table(name, MetaData(), Column("id", RowId, primary_key=True), *items)
    table.create(connection)
    return table


@pytest.mark.parametrize(
    "kind",
    [
        Boolean(),
        Integer(),
        Float(),
        Numeric(10, 2),
        String(),
        String(2),
        Text(),
        LargeBinary(),
        DateTime(),
        DateTime(timezone=True),
        Date(),
        Time(),
        Uuid(),
        JSON(),
        Enum("red", "blue", name="color"),
        Enum("red", "blue", name="color", native_enum=False, create_constraint=True),
    ],
    ids=repr,
)
def test_a_column_of_any_type_gets_a_value(connection, kind):
    made(connection, Column("long_name", kind, nullable=False))

    assert seed(connection) == {"t"}

    assert connection.exec_driver_sql("SELECT count(long_name) FROM t").scalar_one() == 2


def test_a_row_refers_to_the_rows_there_are(connection):
    parent = made(connection, Column("n", Integer), UniqueConstraint("id", "n"), name="z_parent")
    child = made(
        connection,
        Column("z_id", RowId, nullable=False),
        Column("z_n", Integer, nullable=False),
        Column("self_id", RowId, ForeignKey("child.id")),
        ForeignKeyConstraint(["z_id", "z_n"], [parent.c.id, parent.c.n]),
        name="child",
    )

    assert seed(connection) == {"z_parent", "child"}

    rows = connection.execute(select(child.c.z_id, child.c.z_n, child.c.self_id)).all()
    [key, other] = connection.execute(select(parent)).all()
    assert other.n is None
    assert rows == [(*key, None), (*key, None)]


def test_a_column_that_the_database_fills_is_left_to_it(connection):
    made(
        connection,
        Column("a", Integer, server_default="7", nullable=False),
        Column("b", Integer, Computed("a * 2", persisted=True)),
    )

    assert seed(connection) == {"t"}

    assert connection.exec_driver_sql("SELECT a, b FROM t").all() == [(7, 14), (7, 14)]


def test_a_table_whose_rule_takes_no_value_tried_stays_empty(connection):
    table = made(connection, Column("n", Integer, CheckConstraint("n > 1000"), nullable=False))
    made(connection, Column("t_id", RowId, ForeignKey(table.c.id), nullable=False), name="needs_t")
    made(connection, name="other")

    assert seed(connection) == {"other"}

    assert count_rows(connection) == {"needs_t": 0, "other": 2, "t": 0}


@pytest.mark.parametrize("kind", [Boolean(), Integer(), String(), String(1), Date(), Uuid()])
def test_a_column_that_is_unique_gets_two_values(connection, kind):
    made(connection, Column("c", kind, nullable=False, unique=True))

    assert seed(connection) == {"t"}

    assert count_rows(connection) == {"t": 2}


def test_one_row_is_full_and_one_has_null_wherever_it_may(connection):
    table = made(
        connection,
        Column("a", Text),
        Column("b", Integer, server_default="7"),
        Column("kind", String(9), CheckConstraint("kind IN ('x', 'y')"), nullable=False),
    )

    assert seed(connection) == {"t"}

    rows = connection.execute(select(table.c.a, table.c.b, table.c.kind)).all()
    assert rows == [("a", 7, "x"), (None, None, "y")]


def test_where_null_may_not_be_beside_a_value_both_rows_are_full(connection):
    both = CheckConstraint("(a IS NULL) = (b IS NULL) AND a IS NOT NULL")
    table = made(connection, Column("a", Text), Column("b", Text), both)

    assert seed(connection) == {"t"}

    assert connection.execute(select(table.c.a, table.c.b)).all() == [("a", "b"), ("2a", "2b")]


def test_rows_there_are_stay_alone(connection):
    made(connection, Column("c", Text))
    connection.exec_driver_sql("INSERT INTO t (id, c) VALUES (5, 'mine')")

    assert seed(connection) == {"t"}

    assert connection.exec_driver_sql("SELECT id, c FROM t").all() == [(5, "mine")]


def test_every_table_of_the_core_gets_two_rows(empty_engine, plugins):
    upgrade(empty_engine, plugins)

    with empty_engine.execution_options(write=True).begin() as connection:
        seed(connection)
        rows = count_rows(connection)

    assert set(rows.values()) == {2}
    assert "quetz_migration_log" not in rows


def test_what_refers_to_a_table_that_is_cleared_goes_before_it(connection):
    table = made(connection, Column("t_id", RowId, ForeignKey("t.id")))
    child = made(connection, Column("t_id", RowId, ForeignKey(table.c.id)), name="a_child")
    made(connection, Column("child_id", RowId, ForeignKey(child.c.id)), name="b_grandchild")
    made(connection, name="other")
    seed(connection)

    clear(connection, {"t"})

    assert count_rows(connection) == {"a_child": 0, "b_grandchild": 0, "other": 2, "t": 0}
