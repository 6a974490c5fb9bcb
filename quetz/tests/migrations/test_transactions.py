"""A revision is in one transaction with its entry, and must not end it."""

from pathlib import Path

import pytest
from sqlalchemy import inspect

from quetz.errors.migrations import MigrationFailed, MigrationHalfDone, VerificationFailed
from quetz.migrations import upgrade
from quetz.tests.migrations.databases import add_revision, head_of, heads_in, run_sql, tables_in

MADE = "op.create_table('later', sa.Column('id', sa.Integer))"


@pytest.mark.parametrize(
    ("ending", "named"),
    [
        pytest.param("op.execute('COMMIT')", "COMMIT", id="commit"),
        pytest.param("op.execute(' rollback')", "ROLLBACK", id="rollback"),
        pytest.param("op.execute('END;')", "END", id="end"),
        pytest.param("op.execute('BEGIN; SELECT 1; COMMIT')", "BEGIN", id="a-script"),
        pytest.param("op.get_bind().commit()", r"connection.commit\(\)", id="commit()"),
        pytest.param("op.get_bind().rollback()", r"connection.rollback\(\)", id="rollback()"),
    ],
)
def test_a_revision_that_would_end_its_transaction_is_refused_and_leaves_no_trace(
    empty_engine, copied, ending, named
):
    upgrade(empty_engine, copied)
    head = head_of(copied)
    add_revision(copied, "aaaa", upgrade=f"{MADE}; {ending}; op.execute('SELECT 1')")

    with pytest.raises(MigrationFailed, match=f"as {named} does.*; leave it out.* stands at"):
        upgrade(empty_engine, copied)

    assert heads_in(empty_engine) == {head}
    assert "later" not in tables_in(empty_engine)


@pytest.mark.parametrize(
    ("ending", "is_kept"),
    [
        pytest.param("op.execute('/* now */ COMMIT')", True, id="a-statement"),
        pytest.param("op.get_bind().connection.commit()", True, id="the-driver"),
        pytest.param("op.get_bind().connection.commit(); 1 / 0", True, id="and-then-an-error"),
        pytest.param("op.get_bind().connection.rollback()", False, id="taken-back"),
    ],
)
def test_what_a_revision_committed_all_the_same_is_told(empty_engine, copied, ending, is_kept):
    upgrade(empty_engine, copied)
    before = head_of(copied)
    add_revision(copied, "aaaa")
    add_revision(copied, "bbbb", upgrade=f"{MADE}; {ending}")

    with pytest.raises(MigrationHalfDone, match=r"'bbbb .* ended its transaction itself") as told:
        upgrade(empty_engine, copied)

    is_whole = empty_engine.dialect.name == "sqlite" and not is_kept
    assert heads_in(empty_engine) == ({before} if is_whole else {"aaaa"})
    assert f"stands at {min(heads_in(empty_engine))}; mend" in str(told.value)
    assert ("later" in tables_in(empty_engine)) == is_kept


def test_a_verification_must_not_end_the_transaction_either(empty_engine, copied):
    upgrade(empty_engine, copied)
    add_revision(copied, "aaaa", upgrade=MADE)
    with Path(copied.migrations["quetz"], "aaaa_test.py").open("a") as script:
        script.write("\n\ndef verify(connection):\n    connection.commit()\n")

    with pytest.raises(VerificationFailed, match=r"as connection.commit\(\)"):
        upgrade(empty_engine, copied)

    assert "later" not in tables_in(empty_engine)


@pytest.mark.parametrize(
    "failing",
    [
        pytest.param("op.execute('INSERT INTO full VALUES (zeroblob(9999999))')", id="a-statement"),
        pytest.param(
            "b = op.batch_alter_table('full', recreate='always'); "
            "b.__enter__().add_column(sa.Column('y', sa.Text)); b.__exit__(None, None, None)",
            id="a-copy",
        ),
    ],
)
def test_what_sqlite_takes_back_as_the_disk_is_full_is_not_told_as_committed(
    sqlite_engine, copied, failing
):
    upgrade(sqlite_engine, copied)
    head = head_of(copied)
    run_sql(
        sqlite_engine,
        "CREATE TABLE full (x)",
        "INSERT INTO full SELECT hex(randomblob(999)) FROM pragma_function_list",
    )
    with sqlite_engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar() + 5
    fill = f"op.execute('PRAGMA max_page_count = {pages}')"
    add_revision(copied, "aaaa", upgrade=f"{fill}; {failing}")

    with pytest.raises(MigrationFailed, match=r"rolled back: .* disk is full; .* stands at"):
        upgrade(sqlite_engine, copied)

    assert heads_in(sqlite_engine) == {head}


def test_what_is_committed_after_an_error_is_not_told_as_rolled_back(sqlite_engine, copied):
    upgrade(sqlite_engine, copied)
    fail = "from contextlib import ExitStack; s = ExitStack(); s.push(lambda *_: True); "
    fail += "s.enter_context(ExitStack()).callback(op.execute, 'SELECT nothing'); s.close()"
    add_revision(copied, "aaaa", upgrade=f"{MADE}; {fail}; op.get_bind().connection.commit()")

    with pytest.raises(MigrationHalfDone, match="ended its transaction itself"):
        upgrade(sqlite_engine, copied)

    assert "later" in tables_in(sqlite_engine)


def test_a_session_of_the_orm_may_be_committed(empty_engine, copied):
    add_revision(
        copied,
        "aaaa",
        upgrade=f"{MADE}; from sqlalchemy.orm import Session; session = Session(op.get_bind()); "
        "session.execute(sa.text('INSERT INTO later VALUES (1)')); session.commit()",
    )

    assert "aaaa" in upgrade(empty_engine, copied).applied


def test_savepoints_are_a_revisions_own(empty_engine, copied):
    add_revision(
        copied,
        "aaaa",
        upgrade=f"op.execute('SAVEPOINT x'); {MADE}; op.execute('ROLLBACK TO SAVEPOINT x'); "
        f"nested = op.get_bind().begin_nested(); {MADE}; nested.rollback(); {MADE}",
    )

    upgrade(empty_engine, copied)

    assert [column["name"] for column in inspect(empty_engine).get_columns("later")] == ["id"]


@pytest.mark.parametrize("databases", ["postgresql"], indirect=True)
def test_a_revision_outside_a_transaction_may_begin_and_end_its_own(empty_engine, copied):
    add_revision(
        copied,
        "aaaa",
        upgrade=f"{MADE}; op.execute('COMMIT')",
        downgrade="pass\n\n\ntransactional = False",
    )

    assert "aaaa" in upgrade(empty_engine, copied).applied
