"""A copy that takes the place of an SQLite table is as the table was, or is refused."""

import re

import pytest

from quetz.errors.migrations import VerificationFailed
from quetz.migrations import downgrade, upgrade
from quetz.tests.migrations.databases import add_revision, run_sql, schema_of

ROW = "INSERT INTO mine (id, x, z) VALUES (1, '007', 'z')"
TABLE = "CREATE TABLE mine (id INTEGER PRIMARY KEY, x {}, z VARCHAR(5){})"


def copy_with(change, table="mine"):
    """Write a revision's statements that change a table by a copy."""
    opened = f"batch = op.batch_alter_table('{table}', recreate='always'); b = batch.__enter__()"
    return f"{opened}; {change}; batch.__exit__(None, None, None)"


CHANGE = copy_with("b.alter_column('z', server_default='q')")


@pytest.fixture
def revisions(none_yet):
    """Revisions, of which the first makes nothing."""
    add_revision(none_yet, "0000")
    return none_yet


@pytest.fixture
def filled(sqlite_engine, revisions):
    """A database with a table that others may refer to."""
    upgrade(sqlite_engine, revisions, by_models=False)
    run_sql(
        sqlite_engine,
        "CREATE TABLE parent (id INTEGER PRIMARY KEY, k TEXT UNIQUE)",
        "INSERT INTO parent VALUES (1, '007')",
    )
    return sqlite_engine


def words_of(engine):
    """Return the statements that made the table and what hangs on it."""
    with engine.connect() as connection:
        query = "SELECT sql FROM sqlite_master WHERE tbl_name = 'mine' AND sql IS NOT NULL"
        return " ".join(" ".join(connection.exec_driver_sql(query).scalars()).split())


def rows_of(engine):
    """Return the rows, and how they are stored."""
    with engine.connect() as connection:
        query = "SELECT id, x, typeof(id), typeof(x) FROM mine ORDER BY id"
        return [tuple(row) for row in connection.exec_driver_sql(query)]


def migrate(engine, plugins):
    return upgrade(engine, plugins, by_models=False)


KEPT = {
    "collation": (TABLE.format("TEXT COLLATE NOCASE", ""), 'x TEXT COLLATE "?NOCASE'),
    "no type": (TABLE.format("", ""), r"x ?,"),
    "unknown type of blobs": (TABLE.format("MYBLOB", ""), "x MYBLOB"),
    "unknown type of a name with umlauts": (TABLE.format("TEXT", ", Ä MYBLOB"), "Ä. MYBLOB"),
    "default": (TABLE.format("TEXT DEFAULT (lower('A'))", ""), r"DEFAULT \(lower\('A'\)\)"),
    "odd defaults": (
        TABLE.format("TEXT DEFAULT 'it''s (1)'", ", a BLOB DEFAULT x'00ff', b DEFAULT -1.5"),
        r"'it''s \(1\)'.*x'00ff'.*-1.5",
    ),
    "a default of the time": (TABLE.format("TEXT DEFAULT CURRENT_TIMESTAMP", ""), "CURRENT_TIMES"),
    "primary key of text": (TABLE.format("", "").replace("INTEGER", "TEXT"), "id TEXT"),
    "collation of a constraint": (
        TABLE.format("TEXT COLLATE NoCase", ", UNIQUE (x)"),
        r"UNIQUE \(x\)",
    ),
    "unique": (TABLE.format("TEXT", ", UNIQUE (x)"), r"UNIQUE \(x\)"),
    "names like words": (
        "CREATE TABLE unique_t (k TEXT PRIMARY KEY); INSERT INTO unique_t VALUES ('007'); "
        + TABLE.format("TEXT REFERENCES unique_t (k)", ", check_y INT, [primary key] INT"),
        r"REFERENCES unique_t \(k\)",
    ),
    "a reference to itself": (
        TABLE.format("TEXT", ", up INT REFERENCES mine (id)"),
        r"FOREIGN KEY\(up\) REFERENCES mine \(id\)",
    ),
    "named check": (
        TABLE.format("TEXT CONSTRAINT odd CHECK (x <> ')')", ""),
        r"CHECK \(x <> '\)'\)",
    ),
    "foreign key": (
        TABLE.format(
            "TEXT",
            ", FOREIGN KEY (x) REFERENCES parent (k) ON UPDATE CASCADE "
            "DEFERRABLE INITIALLY DEFERRED",
        ),
        "ON UPDATE CASCADE DEFERRABLE INITIALLY DEFERRED",
    ),
    "foreign key beside its column": (
        TABLE.format(
            "TEXT REFERENCES parent (k) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED", ""
        ),
        r"REFERENCES parent \(k\) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED",
    ),
    "foreign key beside its column to the same table": (
        TABLE.format("TEXT", ", up INT CONSTRAINT fk REFERENCES mine ON UPDATE SET NULL"),
        r"REFERENCES mine \(id\) ON UPDATE SET NULL",
    ),
    "strict": (
        "CREATE TABLE mine (id INTEGER PRIMARY KEY, x ANY, z TEXT) STRICT",
        "x ANY.* STRICT",
    ),
    "order": (
        TABLE.format("TEXT", "); CREATE INDEX odd ON mine (x COLLATE NOCASE DESC"),
        "COLLATE NOCASE DESC",
    ),
    "condition": (
        TABLE.format("TEXT", "); CREATE INDEX odd ON mine (x) WHERE (x > 'a'\n AND z > 'b'"),
        "x > 'a' AND z > 'b'",
    ),
    "virtual": (
        "CREATE TABLE mine (id INTEGER PRIMARY KEY, x TEXT, y AS (x || ',') VIRTUAL, z TEXT)",
        r"AS \(x \|\| ','\) VIRTUAL",
    ),
    "stored": (
        "CREATE TABLE mine (id INTEGER PRIMARY KEY, x TEXT, z TEXT, y AS (z || x) STORED)",
        r"AS \(z \|\| x\) STORED",
    ),
}


@pytest.mark.parametrize(("made", "kept"), [pytest.param(*v, id=k) for k, v in KEPT.items()])
def test_a_copy_keeps_what_no_one_changes(filled, revisions, made, kept):
    run_sql(filled, *made.split("; "), ROW)
    rows = rows_of(filled)
    add_revision(revisions, "aaaa", upgrade=CHANGE)

    migrate(filled, revisions)

    words = words_of(filled)
    assert "DEFAULT 'q'" in words
    assert re.search(kept, words), words
    assert rows_of(filled) == rows


REFUSED = {
    "NOT NULL (x)": TABLE.format("TEXT NOT NULL ON CONFLICT REPLACE DEFAULT 'q'", ""),
    "unique (x)": TABLE.format("VARCHAR(10) UNIQUE", ""),
    "unique (x), it replaces": TABLE.format("TEXT", ", UNIQUE (x) ON CONFLICT REPLACE"),
    "unique (x), it compares": TABLE.format("TEXT", ", UNIQUE (x COLLATE NOCASE)"),
    "primary key (id)": TABLE.format("TEXT", "").replace("KEY", "KEY ON CONFLICT REPLACE"),
    "primary key (id), it is down": TABLE.format("TEXT", "").replace("KEY", "KEY DESC"),
    "primary key (id), it holds text": TABLE.format("TEXT", "").replace("INTEGER", "INT"),
    "foreign key (x) to parent, twice": TABLE.format(
        "TEXT REFERENCES parent (k) REFERENCES parent (k) ON DELETE CASCADE", ""
    ),
    "check (x) (x <> '')": TABLE.format("TEXT CHECK (x <> '')", ""),
    "collation (x)": TABLE.format("DATETIME COLLATE NOCASE", ""),
}


@pytest.mark.filterwarnings("ignore:Unnamed CHECK constraint", "ignore:WARNING. SQL-parsed")
@pytest.mark.parametrize(
    ("lost", "made"), [pytest.param(*one, id=one[0]) for one in REFUSED.items()]
)
def test_a_copy_that_would_lose_something_is_refused(filled, revisions, lost, made):
    run_sql(filled, made, ROW)
    before = words_of(filled), rows_of(filled)
    add_revision(revisions, "aaaa", upgrade=CHANGE)

    with pytest.raises(VerificationFailed) as failure:
        migrate(filled, revisions)

    assert f"the copy of table 'mine' would lose {lost.split(', ')[0]};" in str(failure.value)
    assert (words_of(filled), rows_of(filled)) == before


def test_a_fingerprint_tells_what_is_kept(filled):
    run_sql(
        filled,
        "CREATE TABLE mine (x TEXT COLLATE NOCASE, y AS (x || 'a b') STORED, [z ,z] TEXT)",
        "CREATE INDEX odd ON mine (x DESC)",
    )

    lines = {line for line in schema_of(filled) if line.startswith("mine: ")}

    assert lines >= {
        "mine: column x by NOCASE",
        "mine: column y made of x || 'a b' stored",
        "mine: index create index odd on mine(x desc)",
    }
    assert sum(" z ,z " in line for line in lines) == 1


MEANT = {
    "a constraint is dropped": (
        TABLE.format("TEXT", ", CONSTRAINT uq UNIQUE (x) ON CONFLICT REPLACE"),
        "b.drop_constraint('uq', type_='unique')",
        "z VARCHAR(5), PRIMARY KEY (id) )",
    ),
    "a reference is made anew": (
        TABLE.format(
            "TEXT",
            ", CONSTRAINT fk FOREIGN KEY (x) REFERENCES parent (k) ON DELETE CASCADE",
        ),
        "b.drop_constraint('fk'); b.create_foreign_key('fk', 'parent', ['x'], ['k'])",
        "REFERENCES parent (k) )",
    ),
    "a column is dropped": (
        TABLE.format("TEXT CHECK (x <> '') UNIQUE ON CONFLICT IGNORE", ""),
        "b.drop_column('x')",
        "( id INTEGER, z VARCHAR(5), PRIMARY KEY (id) )",
    ),
    "null is allowed": (
        TABLE.format("TEXT NOT NULL ON CONFLICT REPLACE DEFAULT 'q'", ""),
        "b.alter_column('x', nullable=True)",
        "x TEXT DEFAULT 'q',",
    ),
    "a collation is dropped": (
        TABLE.format("TEXT COLLATE NOCASE", ""),
        "b.alter_column('x', type_=sa.Text())",
        "x TEXT,",
    ),
    "a column is renamed": (
        TABLE.format("TEXT COLLATE NOCASE", "); CREATE INDEX odd ON mine (x DESC"),
        "b.alter_column('x', new_column_name='y')",
        '("y" DESC)',
    ),
    "a column with a named check is renamed": (
        TABLE.format("TEXT CONSTRAINT ck CHECK (x IN ('007', 'x:z'))", ""),
        "b.alter_column('x', new_column_name='y')",
        """CHECK ("y" IN ('007', 'x:z'))""",
    ),
    "a column that another is made of is renamed": (
        TABLE.format("TEXT", ", w AS (z || x)"),
        "b.alter_column('x', new_column_name='y')",
        'AS (z || "y")',
    ),
    "a column with a reference is renamed": (
        TABLE.format("TEXT REFERENCES parent (k) ON DELETE CASCADE", ""),
        "b.alter_column('x', new_column_name='y')",
        "FOREIGN KEY(y) REFERENCES parent (k) ON DELETE CASCADE",
    ),
    "a column of an expression's index is renamed": (
        TABLE.format("TEXT", "); CREATE INDEX odd ON mine (lower(x)"),
        "b.alter_column('x', new_column_name='y')",
        'INDEX odd ON mine (lower("y"))',
    ),
    "columns change their names": (
        TABLE.format("TEXT CONSTRAINT ck CHECK (x = '007')", ""),
        "b.alter_column('x', new_column_name='z'); b.alter_column('z', new_column_name='x')",
        """CHECK ("z" = '007')""",
    ),
    "a column with an index is dropped": (
        TABLE.format("TEXT", "); CREATE INDEX odd ON mine (x DESC, z); CREATE INDEX z ON mine (z"),
        "b.drop_index('odd'); b.drop_column('x')",
        "PRIMARY KEY (id) ) CREATE INDEX z ON mine (z)",
    ),
    "an index is made anew": (
        TABLE.format("TEXT", "); CREATE INDEX odd ON mine (x DESC"),
        "b.drop_index('odd'); b.create_index('odd', ['x'])",
        "INDEX odd ON mine (x)",
    ),
}


@pytest.mark.filterwarnings("ignore:Unnamed CHECK constraint")
@pytest.mark.parametrize(
    ("made", "change", "left"), [pytest.param(*v, id=k) for k, v in MEANT.items()]
)
def test_what_a_revision_means_to_change_is_changed(filled, revisions, made, change, left):
    run_sql(filled, *made.split("; "), ROW)
    add_revision(revisions, "aaaa", upgrade=copy_with(change))

    migrate(filled, revisions)

    assert left in words_of(filled)


@pytest.mark.filterwarnings("ignore:Unnamed CHECK constraint")
def test_a_renamed_column_whose_check_would_be_lost_is_refused(filled, revisions):
    run_sql(filled, TABLE.format("TEXT CHECK (x <> '')", ""), ROW)
    add_revision(revisions, "aaaa", upgrade=copy_with("b.alter_column('x', new_column_name='y')"))

    with pytest.raises(VerificationFailed, match="would lose check"):
        migrate(filled, revisions)


def test_a_check_that_a_copy_is_given_again_may_be_told_so(filled, revisions):
    run_sql(filled, TABLE.format("TEXT CHECK (x <> '')", ""), ROW)
    given = "table_args=[sa.CheckConstraint(\"x <> ''\")]"
    add_revision(
        revisions,
        "aaaa",
        upgrade=CHANGE.replace("recreate='always'", f"recreate='always', {given}"),
    )

    migrate(filled, revisions)

    assert "CHECK (x <> '')" in words_of(filled)


@pytest.mark.filterwarnings("ignore:Unnamed CHECK constraint")
def test_a_revision_may_copy_a_table_by_sql_of_its_own(filled, revisions):
    run_sql(filled, TABLE.format("TEXT CHECK (x <> '') UNIQUE", ""), ROW)
    copy = (
        "CREATE TABLE copied (id INTEGER PRIMARY KEY, x TEXT)",
        "INSERT INTO copied SELECT id, x FROM mine",
        "DROP TABLE mine",
        "ALTER TABLE copied RENAME TO mine",
    )
    add_revision(revisions, "aaaa", upgrade="; ".join(f"op.execute({one!r})" for one in copy))

    migrate(filled, revisions)

    assert words_of(filled) == 'CREATE TABLE "mine" (id INTEGER PRIMARY KEY, x TEXT)'


@pytest.mark.filterwarnings("ignore:Unnamed CHECK constraint")
def test_a_change_is_not_taken_back_by_a_copy_that_would_lose_something(filled, revisions):
    run_sql(filled, TABLE.format("TEXT", ""), ROW)
    add_revision(revisions, "aaaa", upgrade=CHANGE, downgrade=CHANGE.replace("'q'", "None"))
    migrate(filled, revisions)
    run_sql(filled, "ALTER TABLE mine ADD COLUMN y TEXT CHECK (y <> '')")
    before = words_of(filled)

    with pytest.raises(VerificationFailed, match="would lose check"):
        downgrade(filled, revisions, "0000")

    assert words_of(filled) == before


def test_a_table_that_is_called_in_other_letters_loses_nothing(filled, revisions):
    run_sql(filled, TABLE.format("TEXT", ", UNIQUE (x)"), ROW)
    before = words_of(filled)
    add_revision(revisions, "aaaa", upgrade=CHANGE.replace("'mine'", "'MINE'"))

    with pytest.raises(VerificationFailed, match=r"would lose primary key \(id\), unique \(x\)"):
        migrate(filled, revisions)

    assert words_of(filled) == before


def test_a_copy_by_another_case_that_loses_rows_is_rolled_back(filled, revisions):
    run_sql(filled, TABLE.format("TEXT", ""), ROW)
    lose = "op.execute('DROP TABLE mine'); op.execute('CREATE TABLE MINE (id INTEGER, x TEXT)')"
    add_revision(revisions, "aaaa", upgrade=lose)

    with pytest.raises(VerificationFailed, match="'MINE' had 1 rows and has 0"):
        migrate(filled, revisions)
