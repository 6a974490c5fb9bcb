"""Models and changes that one of the databases would not take are refused in a sentence."""

import pytest
from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    Date,
    DateTime,
    Enum,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Sequence,
    String,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
    true,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.postgresql import INT4RANGE, ExcludeConstraint

from quetz.db.base import Base
from quetz.errors import PluginError
from quetz.migrations.authoring.model_rules import (
    check_changes,
    check_models,
    warn_of_equal_rows,
    warn_of_losses,
)
from quetz.migrations.schemas.comparisons import Models, compare_models
from quetz.migrations.schemas.descriptions import describe
from quetz.testing.model_edits import OWNER, TABLE
from quetz.testing.model_edits.edits import column, table


@pytest.fixture
def declare():
    """Add tables to the models for as long as the test runs."""
    tables = []

    def declare(*items, name="extra", **options):
        key = Column("id", Integer, primary_key=True)
        tables.append(Table(name, Base.metadata, key, *items, **options))

    yield declare
    for one in tables:
        Base.metadata.remove(one)


ROWS = text("c = ':x'")


@pytest.mark.parametrize(
    ("items", "sentence"),
    [
        pytest.param(
            [Column("c", Enum("a", native_enum=False, create_constraint=True, length=9))],
            r"the CHECK of extra\.c has no name, .*; say Enum\(name=\.\.\.\)",
            id="an enumeration without a name",
        ),
        pytest.param(
            [Column("c", Boolean, server_default=text("0"))],
            r"the default of extra\.c is a number, .*; say server_default=sa\.false\(\)",
            id="a number for a flag",
        ),
        pytest.param(
            [Column("c", Integer, Identity())],
            r"extra\.c is numbered .*; say mapped_column\(RowId",
            id="identity",
        ),
        pytest.param(
            [Column("c", Integer, Sequence("numbers"))], r"extra\.c is numbered", id="sequence"
        ),
        pytest.param(
            [Column("c", Integer, Computed("id * 2"))],
            r"extra\.c is computed .*; compute it in Python",
            id="computed",
        ),
        pytest.param(
            [Column("c", Boolean(create_constraint=True, name="flag"))],
            r"extra\.c would have a CHECK .*; leave create_constraint out",
            id="checked-flag",
        ),
        pytest.param(
            [Column("c", INT4RANGE), ExcludeConstraint(("c", "&&"), name="x")],
            "'extra' has an ExcludeConstraint, which SQLite has not; leave it out",
            id="exclusion",
        ),
        pytest.param(
            [Column("c", Text, server_default=text("""'{"a":1}'"""))],
            r"the default of extra\.c has ':1', which .* takes for a parameter; write '\\:1'",
            id="parameter-in-default",
        ),
        pytest.param(
            [Column("c", Text), CheckConstraint("c <> ':x'", name="odd")],
            r"the CHECK 'ck_extra_odd' of extra has ':x'",
            id="parameter-in-check",
        ),
        pytest.param(
            [Column("c", Text), Index("ix_extra_x", "c", sqlite_where=ROWS)],
            r"the index 'ix_extra_x' has ':x'",
            id="parameter-in-condition",
        ),
    ],
)
def test_a_table_that_one_of_the_databases_does_not_take_is_refused(
    plugins, declare, items, sentence
):
    declare(*items)

    with pytest.raises(PluginError, match=sentence):
        check_models(plugins, "quetz")


def test_a_table_in_a_schema_is_refused(plugins, declare):
    declare(schema="other")

    with pytest.raises(PluginError, match=r"'other\.extra' is in a schema of its own"):
        check_models(plugins, "quetz")


def test_tables_that_need_each_other_are_refused(plugins, declare):
    declare(Column("b_id", ForeignKey("extra_b.id", ondelete="CASCADE")))
    declare(Column("a_id", ForeignKey("extra.id", ondelete="CASCADE")), name="extra_b")

    with pytest.raises(PluginError, match=r"closes a circle of tables.*; leave one .* out"):
        check_models(plugins, "quetz")


@pytest.fixture
def changes(empty_engine):
    """Return what is found where the tables are of one kind and the models of another."""
    with empty_engine.execution_options(write=True).connect() as connection:

        def changes(before, after):
            before[0].metadata.create_all(connection)
            models = Models(after[0].metadata, lambda _table: OWNER)
            return compare_models(connection, models, {OWNER})

        yield changes


def keyed(*columns):
    [made] = table()
    made.metadata.remove(made)
    return [Table(TABLE, made.metadata, *columns)]


def key(name, **options):
    return Column(name, Integer, primary_key=True, autoincrement=False, **options)


@pytest.mark.parametrize(
    ("before", "after", "change"),
    [
        pytest.param(
            keyed(key("a"), Column("b", Integer, nullable=False)),
            keyed(key("a"), key("b")),
            "from (a) to (a, b)",
            id="a-column-more",
        ),
        pytest.param(
            keyed(key("a"), key("b")),
            keyed(key("a"), Column("b", Integer, nullable=False)),
            "from (a, b) to (a)",
            id="a-column-less",
        ),
        pytest.param(
            keyed(key("a")),
            keyed(key("a"), key("b", server_default="1")),
            "from (a) to (a, b)",
            id="a-new-column",
        ),
        pytest.param(keyed(key("a")), keyed(key("b")), "from (a) to (b)", id="another-column"),
        pytest.param(
            keyed(Column("a", Integer, nullable=False)),
            keyed(key("a")),
            "from () to (a)",
            id="none",
        ),
    ],
)
def test_another_primary_key_is_told_and_refused(changes, before, after, change):
    found = changes(before, after)

    with pytest.raises(PluginError) as refused:
        check_changes(OWNER, found)

    assert f"change key of {TABLE} {change}" in describe(found, sqlite.dialect())
    assert f"primary key of {TABLE} changes {change}" in str(refused.value)
    assert "declare a new table" in str(refused.value)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(Text, Integer, id="text-to-number"),
        pytest.param(String(36), Uuid, id="text-to-id"),
        pytest.param(Text, DateTime, id="text-to-time"),
        pytest.param(DateTime, BigInteger, id="time-to-number"),
        pytest.param(Text, Date, id="text-to-day"),
    ],
)
def test_a_type_that_the_values_there_may_not_have_is_refused(changes, old, new):
    found = changes(column(old), column(new))

    with pytest.raises(PluginError, match=rf"values of {TABLE}\.c may .*; declare a new column"):
        check_changes(OWNER, found)


def test_a_default_that_postgresql_does_not_turn_is_refused(changes):
    found = changes(
        column(Boolean, server_default=true()), column(Integer, server_default=text("1"))
    )

    with pytest.raises(PluginError, match=rf"{TABLE}\.c has a default, .*; take it away first"):
        check_changes(OWNER, found)


def test_a_column_that_must_not_be_null_any_more_needs_a_value_for_rows_that_are(changes):
    found = changes(column(Text), column(Text, nullable=False))

    with pytest.raises(PluginError, match=rf"{TABLE}\.c must not be null .*; give it a server_def"):
        check_changes(OWNER, found)


def test_a_column_that_may_be_one_renamed_is_refused_with_the_way_to_rename(changes):
    before = table(Column("a", Text, nullable=False), Column("n", Integer))
    found = changes(before, table(Column("b", String(9), nullable=False)))

    with pytest.raises(PluginError) as refused:
        check_changes(OWNER, found)

    hint = f"; if it is {TABLE}.a renamed, write it by hand with --empty (docs/plugins.md)"
    assert str(refused.value).endswith(hint)


def test_a_column_is_taken_for_renamed_only_if_its_type_could_be_the_same(changes):
    before = table(Column("a", Text), Column("n", Integer))
    found = changes(before, table(Column("b", Text), Column("at", DateTime)))
    warnings: list[str] = []

    warn_of_losses(found, warnings.append)

    [warning] = warnings
    assert warning.startswith(f"the migration drops column {TABLE}.a with its values, and adds b;")
    assert f'op.alter_column("{TABLE}", "a", new_column_name="b"), the reverse in downgr' in warning


@pytest.mark.parametrize(
    "unique",
    [
        pytest.param(lambda: UniqueConstraint("c", "d"), id="constraint"),
        pytest.param(lambda: Index(None, "c", "d", unique=True), id="index"),
    ],
)
def test_rows_that_are_equal_in_what_becomes_unique_are_told(changes, unique):
    columns = Column("c", Text), Column("d", Text)
    found = changes(table(*columns), table(Column("c", Text), Column("d", Text), unique()))
    warnings: list[str] = []

    warn_of_equal_rows(found, warnings.append)

    [warning] = warnings
    assert f"fails where rows of {TABLE} are equal in (c, d); look for them before: " in warning
    assert warning.endswith(f" FROM {TABLE} GROUP BY c, d HAVING count(*) > 1")


def test_nothing_is_told_of_new_columns_that_are_unique(changes):
    found = changes(table(), column(Text, unique=True))
    warnings: list[str] = []

    warn_of_equal_rows(found, warnings.append)

    assert warnings == []
