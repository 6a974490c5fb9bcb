"""A change of a column's type changes no value on SQLite, or is refused."""

import pytest

from quetz.errors.migrations import VerificationFailed
from quetz.migrations import upgrade
from quetz.tests.migrations.databases import add_revision, heads_in, run_sql

KEPT = {
    "numbers": ("TEXT", "sa.Integer", ["'12'", "'-3'", "' 4'", "'007'", "5", "NULL"]),
    "large numbers": ("TEXT", "sa.BigInteger", ["'9223372036854775807'"]),
    "decimals": ("TEXT", "sa.Numeric(20, 2)", ["'1.50'", "'-0.00012'", "'12345678901234567'"]),
    "real numbers": ("TEXT", "sa.Float", ["'1e3'", "'0.30000000000000004'"]),
    "flags": ("TEXT", "sa.Boolean", ["'0'", "'1'"]),
    "whole numbers": ("FLOAT", "sa.Integer", ["1.0", "1e15"]),
    "texts of numbers": ("INTEGER", "sa.Text", ["1", "-9223372036854775807"]),
    "dates": ("TEXT", "sa.Date", ["'2020-01-01'", "'abc'", "''", "'2020'"]),
    "times": ("TEXT", "sa.DateTime", ["'2020-01-01 10:11:12.000000'", "'12:30'", "1700000000"]),
    "a date with a time": ("DATETIME", "sa.Date", ["'2020-01-01 10:11:12.000000'"]),
    "a text of a time": ("DATETIME", "sa.String(30)", ["'2020-01-01 10:11:12.000000'"]),
    "documents": ("TEXT", "sa.JSON", ["'{\"a\": 1.50}'", "'[1]'", "'null'", "'12'"]),
    "ids": ("TEXT", "sa.Uuid", ["'12e40000000000000000000000000000'"]),
    "ids of another type": ("TEXT", "sa.UUID", ["'12-e4'"]),
    "bytes": ("TEXT", "sa.LargeBinary", ["'abc'", "X'616263'"]),
}
AS_GIVEN = "SELECT CAST(x AS TEXT) FROM mine ORDER BY id"
AS_A_NUMBER = "SELECT x + 0.0 FROM mine ORDER BY id"


def change_type(filled, revisions, kinds):
    changes = (f"mine.alter_column('x', type_={kind})" for kind in kinds.split(" then "))
    opened = "batch = op.batch_alter_table('mine'); mine = batch.__enter__()"
    closed = "batch.__exit__(None, None, None)"
    add_revision(revisions, "aaaa", upgrade="; ".join([opened, *changes, closed]))
    upgrade(filled, revisions, by_models=False)


@pytest.fixture
def revisions(none_yet):
    """Revisions, of which the first makes nothing."""
    add_revision(none_yet, "0000")
    return none_yet


@pytest.fixture
def make(sqlite_engine, revisions):
    """Make a table whose column ``x`` has a type and values."""

    def made(kind, values):
        upgrade(sqlite_engine, revisions, by_models=False)
        run_sql(sqlite_engine, f"CREATE TABLE mine (id INTEGER PRIMARY KEY, x {kind})")
        run_sql(sqlite_engine, *(f"INSERT INTO mine (x) VALUES ({value})" for value in values))
        return sqlite_engine

    return made


def values_of(engine, query):
    with engine.connect() as connection:
        return list(connection.exec_driver_sql(query).scalars())


@pytest.mark.parametrize(
    ("before", "after", "values"), [pytest.param(*v, id=k) for k, v in KEPT.items()]
)
def test_a_change_of_type_keeps_every_value(make, revisions, before, after, values):
    engine = make(before, values)
    is_number = any(word in after for word in ("Int", "Num", "Float", "Bool"))
    query = AS_A_NUMBER if is_number else AS_GIVEN
    wanted = values_of(engine, query)

    change_type(engine, revisions, after)

    assert values_of(engine, query) == wanted


REFUSED = {
    "a text": ("TEXT", "sa.Integer", ["'1'", "'abc'", "''"], "2 values, such as ''"),
    "a beginning": ("TEXT", "sa.Integer", ["'12abc'"], "1 value, such as '12abc'"),
    "a power": ("TEXT", "sa.Integer", ["'1e3'"], "1 value, such as '1e3'"),
    "a number too large": ("TEXT", "sa.BigInteger", ["'9223372036854775808'"], "1 value, such"),
    "a fraction": ("FLOAT", "sa.Integer", ["1.9", "2.0"], "1 value, such as 1.9;"),
    "a date": ("DATE", "sa.Integer", ["'2020-01-01'"], "1 value, such as '2020-01-01'"),
    "a word": ("TEXT", "sa.Boolean", ["'true'"], "1 value, such as 'true'"),
    "a long decimal": ("TEXT", "sa.Numeric", ["'1.2345678901234567'"], "1 value, such as '1.2"),
    "a long fraction": ("FLOAT", "sa.Text", ["0.1 + 0.2"], "1 value, such as"),
    "a number of a document": ("TEXT", "sa.JSON", ["'1.50'"], "1 value, such as '1.50'"),
    "bytes": ("BLOB", "sa.Text", ["X'ff'"], "1 value, such as X'FF'"),
    "a number that is made a text again": (
        "TEXT",
        "sa.Integer then sa.Text",
        ["'007'"],
        "1 value, such as '007'",
    ),
    "a large number": ("BIGINT", "sa.Float", ["9007199254740993"], "1 value, such as 90071"),
}


@pytest.mark.parametrize(
    ("before", "after", "values", "told"), [pytest.param(*v, id=k) for k, v in REFUSED.items()]
)
def test_a_change_of_type_that_would_change_a_value_is_refused(
    make, revisions, before, after, values, told
):
    engine = make(before, values)
    stored = values_of(engine, "SELECT quote(x) FROM mine")

    with pytest.raises(VerificationFailed) as failure:
        change_type(engine, revisions, after)

    assert "column 'x' of table 'mine'" in str(failure.value)
    assert f"would change {told}" in str(failure.value)
    assert values_of(engine, "SELECT quote(x) FROM mine") == stored
    assert heads_in(engine) == {"0000"}
