"""What is restored of a PostgreSQL schema besides its tables."""

import pytest

from quetz.migrations.backups.tools import find_tools
from quetz.tests.migrations.databases import run_sql

pytestmark = [
    pytest.mark.parametrize("databases", ["postgresql"], indirect=True),
    pytest.mark.usefixtures("database_programs"),
]

MADE = {
    "range": ["CREATE TYPE a_range AS RANGE (subtype = float8)"],
    "range in a column": [
        "CREATE TYPE a_range AS RANGE (subtype = float8, multirange_type_name = many)",
        "CREATE TABLE uses (x a_range, y many)",
        "INSERT INTO uses VALUES ('[1,2]', '{[1,2]}')",
    ],
    "domain": [
        "CREATE FUNCTION is_short(text) RETURNS bool LANGUAGE sql IMMUTABLE RETURN length($1) < 9",
        "CREATE DOMAIN short AS text DEFAULT 'x' CHECK (is_short(VALUE))",
        "CREATE TABLE uses (x short, y short[])",
        "INSERT INTO uses VALUES ('a', '{b}')",
    ],
    "enum": [
        "CREATE TYPE mood AS ENUM ('good', 'bad')",
        "CREATE TABLE uses (x mood DEFAULT 'bad', y mood[])",
        "INSERT INTO uses VALUES (DEFAULT, '{good}')",
    ],
    "composite": [
        "CREATE TYPE mood AS ENUM ('good', 'bad')",
        "CREATE TYPE pair AS (a int, b mood)",
        "CREATE TABLE uses (x pair)",
        "INSERT INTO uses VALUES ((1, 'good'))",
    ],
    "function": [
        "CREATE FUNCTION twice(x int, y int DEFAULT 2) RETURNS int LANGUAGE sql RETURN x * y",
        "CREATE FUNCTION twice(x text) RETURNS SETOF text LANGUAGE sql AS 'SELECT $1'",
        "CREATE TABLE uses (x int DEFAULT twice(2))",
        "INSERT INTO uses VALUES (DEFAULT)",
    ],
    "aggregate": [
        "CREATE FUNCTION add(int, int) RETURNS int LANGUAGE sql IMMUTABLE RETURN $1 + $2",
        "CREATE AGGREGATE total(int) (SFUNC = add, STYPE = int, INITCOND = '0')",
        "CREATE AGGREGATE nothing(*) (SFUNC = int8inc, STYPE = int8, INITCOND = '0')",
        "CREATE VIEW seen AS SELECT total(x) FROM (VALUES (1)) AS v (x)",
    ],
    "ordered aggregate": [
        """CREATE AGGREGATE middle(float8 ORDER BY anyelement) (SFUNC = ordered_set_transition,
        STYPE = internal, FINALFUNC = percentile_disc_final, FINALFUNC_EXTRA)""",
    ],
    "procedure": [
        "CREATE PROCEDURE add(INOUT x int, VARIADIC y int[]) LANGUAGE sql AS 'SELECT 1'",
    ],
    "trigger": [
        "CREATE TABLE uses (x int)",
        "CREATE FUNCTION told() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        "CREATE TRIGGER told BEFORE INSERT ON uses FOR EACH ROW EXECUTE FUNCTION told()",
    ],
    "operator": [
        "CREATE FUNCTION add(int, int) RETURNS int LANGUAGE sql IMMUTABLE RETURN $1 + $2",
        "CREATE OPERATOR +|+ (FUNCTION = add, LEFTARG = int, RIGHTARG = int)",
        "CREATE OPERATOR |+| (FUNCTION = textcat, LEFTARG = text, RIGHTARG = text)",
        "CREATE VIEW seen AS SELECT 1 +|+ 2 AS x",
    ],
    "collation": [
        'CREATE COLLATION odd FROM "C"',
        "CREATE TABLE uses (x text COLLATE odd)",
        "CREATE INDEX by_x ON uses (x)",
    ],
    "search": [
        "CREATE TEXT SEARCH DICTIONARY words (TEMPLATE = simple)",
        "CREATE TEXT SEARCH CONFIGURATION words (COPY = simple)",
    ],
    "cast": [
        "CREATE TYPE mood AS ENUM ('good', 'bad')",
        "CREATE FUNCTION number(mood) RETURNS int LANGUAGE sql IMMUTABLE RETURN 1",
        "CREATE CAST (mood AS int) WITH FUNCTION number(mood)",
    ],
    "operator class": [
        """CREATE OPERATOR CLASS odd FOR TYPE int USING btree AS OPERATOR 1 <,
        FUNCTION 1 btint4cmp(int, int)""",
        "CREATE TABLE uses (x int)",
        "CREATE INDEX by_x ON uses (x odd)",
    ],
    "statistics": [
        "CREATE TABLE uses (x int, y int)",
        "CREATE STATISTICS both_of ON x, y FROM uses",
    ],
    "rule": [
        "CREATE TABLE uses (x int)",
        "CREATE VIEW seen AS SELECT x FROM uses",
        "CREATE RULE kept AS ON INSERT TO seen DO INSTEAD INSERT INTO uses VALUES (NEW.x)",
    ],
    "partitions": [
        "CREATE TABLE uses (x int) PARTITION BY LIST (x)",
        "CREATE TABLE uses_1 PARTITION OF uses FOR VALUES IN (1)",
        "INSERT INTO uses VALUES (1)",
    ],
}


def told_of(engine):
    """Return what pg_dump tells of the schema, without what differs at each run."""
    dump = find_tools(engine).run("pg_dump", "--schema=public", "--no-password")
    return [line for line in dump.splitlines() if line and line[:2] not in {"--", "\\r", "\\u"}]


@pytest.mark.parametrize("made", [pytest.param(made, id=name) for name, made in MADE.items()])
def test_what_was_made_is_restored(empty_engine, backups, made):
    run_sql(empty_engine, *made)
    before = told_of(empty_engine)
    backups.take(empty_engine)
    run_sql(empty_engine, "CREATE TABLE later (id INT)")

    backups.restore(empty_engine, "latest")

    assert told_of(empty_engine) == before


@pytest.mark.parametrize("made", [pytest.param(made, id=name) for name, made in MADE.items()])
def test_what_was_made_later_is_gone(empty_engine, backups, made):
    before = told_of(empty_engine)
    backups.take(empty_engine)
    run_sql(empty_engine, *made)

    backups.restore(empty_engine, "latest")

    assert told_of(empty_engine) == before
