import shutil
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import IntegrityError, OperationalError

from quetz.db.engine import BUSY_SECONDS, open_engine
from quetz.testing.databases import SqliteDatabases, chosen_dbinit

INSERT = text("INSERT INTO objects (sha256, size, touched_at) VALUES (:sha256, :size, 0)")
COUNT = text("SELECT count(*) FROM objects")


@pytest.fixture
def writer(engine):
    return engine.execution_options(write=True)


@pytest.fixture
def sqlite(tmp_path):
    """Open an engine on SQLite only: there, one transaction writes at a time."""
    engine = open_engine(SqliteDatabases(tmp_path, chosen_dbinit()).ready())
    yield engine
    engine.dispose()


@pytest.fixture
def others(sqlite):
    """Open a connection that does not wait for locks."""
    connection = sqlite3.connect(sqlite.url.database, timeout=0, isolation_level=None)
    yield connection
    connection.close()


def add(connection, sha256):
    connection.execute(INSERT, {"sha256": sha256, "size": 1})


def test_what_was_committed_is_seen_by_the_next_transaction(engine, writer):
    with writer.begin() as connection:
        add(connection, "a")

    with engine.begin() as connection:
        assert connection.scalar(COUNT) == 1


def test_an_error_undoes_the_whole_transaction(engine, writer):
    def fail():
        with writer.begin() as connection:
            add(connection, "a")
            add(connection, "a")

    with pytest.raises(IntegrityError):
        fail()

    with engine.begin() as connection:
        assert connection.scalar(COUNT) == 0


def test_a_savepoint_is_undone_alone(engine, writer):
    with writer.begin() as connection:
        add(connection, "kept")
        savepoint = connection.begin_nested()
        add(connection, "undone")
        savepoint.rollback()

    with engine.begin() as connection:
        assert connection.scalars(text("SELECT sha256 FROM objects")).all() == ["kept"]


def test_foreign_keys_hold(writer):
    with pytest.raises(IntegrityError), writer.begin() as connection:
        connection.execute(
            text("INSERT INTO channel_members (channel_id, user_id, role) VALUES (1, 1, 'owner')")
        )


def test_values_do_not_show_in_errors(writer):
    with pytest.raises(IntegrityError) as caught, writer.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO sessions (token_hash, user_id, provider, created_at, last_used_at) "
                "VALUES (:hash, :user, NULL, 0, 0)"
            ),
            {"hash": "a-secret-hash", "user": 1},
        )

    statement_part = str(caught.value).partition("[SQL:")[2]
    assert "a-secret-hash" not in statement_part


def test_many_threads_write_without_an_error(engine, writer):
    def read_and_add(number):
        with writer.begin() as connection:
            before = connection.scalar(COUNT)
            add(connection, str(number))
            return before

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(read_and_add, range(200)))

    with engine.begin() as connection:
        assert connection.scalar(COUNT) == 200


def test_40_threads_find_a_connection_each(engine):
    together = threading.Barrier(40)

    def read(_number):
        with engine.begin() as connection:
            together.wait(timeout=60)
            return connection.scalar(COUNT)

    with ThreadPoolExecutor(40) as threads:
        assert list(threads.map(read, range(40))) == [0] * 40


def test_a_read_lets_others_write(engine, writer):
    with engine.begin() as reader:
        before = reader.scalar(COUNT)

        with writer.begin() as connection:
            add(connection, "a")

        assert before == 0
        assert reader.scalar(COUNT) == (0 if engine.dialect.name == "sqlite" else 1)


def test_a_write_transaction_holds_the_write_lock_from_its_start(sqlite, others):
    with (
        sqlite.execution_options(write=True).begin(),
        pytest.raises(sqlite3.OperationalError, match="locked"),
    ):
        others.execute("BEGIN IMMEDIATE")


def test_a_read_transaction_holds_no_write_lock(sqlite, others):
    with sqlite.begin() as reader:
        reader.scalar(COUNT)

        others.execute("BEGIN IMMEDIATE")

        assert others.in_transaction


def test_a_read_transaction_cannot_write_once_others_have(sqlite, others):
    with sqlite.connect() as reader:
        reader.scalar(COUNT)
        others.execute("INSERT INTO objects (sha256, size, touched_at) VALUES ('a', 1, 0)")

        with pytest.raises(OperationalError, match="locked"):
            add(reader, "b")


@pytest.mark.parametrize(
    ("pragma", "value"),
    [
        pytest.param("journal_mode", "wal", id="readers and a writer at once"),
        pytest.param("synchronous", 2, id="a commit is on disk"),
        pytest.param("foreign_keys", 1, id="references hold"),
        pytest.param("busy_timeout", BUSY_SECONDS * 1000, id="writers wait for one another"),
    ],
)
def test_sqlite_is_set_up_for_durability_and_waiting(sqlite, pragma, value):
    with sqlite.begin() as connection:
        assert connection.exec_driver_sql(f"PRAGMA {pragma}").scalar() == value


def take_away(file):
    file.unlink()


def put_another_there(file):
    other = file.with_name("other.sqlite")
    shutil.copyfile(file, other)
    other.replace(file)


@pytest.mark.parametrize("change", [take_away, put_another_there])
def test_a_file_that_is_no_longer_the_one_that_was_opened_is_not_used(sqlite, change):
    file = Path(sqlite.url.database)
    with sqlite.execution_options(write=True).begin() as connection:
        add(connection, "a")
    change(file)
    before = file.exists() and file.read_bytes()

    for _ in range(2):
        with pytest.raises(OperationalError, match=r"removed or replaced|unable to open"):
            sqlite.connect()

    assert (file.exists() and file.read_bytes()) == before


def test_a_file_that_comes_back_is_used_again(sqlite):
    file = Path(sqlite.url.database)
    with sqlite.begin() as connection:
        connection.scalar(COUNT)
    away = file.rename(file.with_name("away.sqlite"))
    with pytest.raises(OperationalError):
        sqlite.connect()
    away.rename(file)

    with sqlite.begin() as connection:
        assert connection.scalar(COUNT) == 0


def test_an_engine_makes_no_file_unless_it_may(tmp_path):
    url = make_url("sqlite://").set(database=str(tmp_path / "a ?#%.sqlite"))
    engine = open_engine(url, makes_file=False)

    with pytest.raises(OperationalError, match="unable to open"):
        engine.connect()

    assert list(tmp_path.iterdir()) == []
    maker = open_engine(url)
    maker.connect().close()
    engine.connect().close()
    engine.dispose()
    maker.dispose()


def test_an_engine_in_memory_needs_no_pool():
    engine = open_engine(make_url("sqlite://"))

    with engine.begin() as connection:
        assert connection.exec_driver_sql("SELECT 1").scalar() == 1
    engine.dispose()
