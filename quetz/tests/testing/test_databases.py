import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import NullPool, create_engine, inspect, text
from sqlalchemy.engine import make_url

from quetz.db.base import Base
from quetz.db.engine import open_engine
from quetz.migrations.ledger import read_entries
from quetz.testing.databases import (
    DbInit,
    SqliteDatabases,
    chosen_dbinit,
    database_at,
    given_databases,
    given_url,
)
from quetz.testing.fixtures import FOLDER, SHARED_FOLDER

SUITE = """
def test_there_are_tables(session):
    from sqlalchemy import inspect

    assert inspect(session.connection()).has_table("channels")
"""


def run_suite(folder: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run pytest on a suite of its own, as a plugin's would be."""
    (folder / "conftest.py").write_text('pytest_plugins = ["quetz.testing.fixtures"]\n')
    (folder / "test_suite.py").write_text(SUITE)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, "."]
    return subprocess.run(
        command,
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("value", ["use-migrations", "Use-Migrations", "USE-MIGRATIONS"])
def test_the_way_to_make_tables_is_read_in_any_case(value):
    assert chosen_dbinit({"QUETZ_TEST_DBINIT": value}) is DbInit.USE_MIGRATIONS


def test_without_a_word_the_tables_are_created():
    assert chosen_dbinit({}) is DbInit.CREATE_TABLES


def test_an_unknown_way_ends_the_run_before_any_test(tmp_path):
    result = run_suite(tmp_path, QUETZ_TEST_DBINIT="by-hand")

    output = result.stdout + result.stderr
    assert result.returncode != 0
    assert "ValueError: QUETZ_TEST_DBINIT must be create-tables or use-migrations" in output
    assert "passed" not in output


@pytest.mark.parametrize("dbinit", list(DbInit))
def test_a_given_database_is_the_only_one(tmp_path, dbinit):
    file = tmp_path / "given.sqlite"

    result = run_suite(
        tmp_path, "-rA", QUETZ_TEST_DATABASE=f"sqlite:///{file}", QUETZ_TEST_DBINIT=dbinit
    )

    assert "PASSED test_suite.py::test_there_are_tables[sqlite]" in result.stdout
    assert "1 passed" in result.stdout
    assert file.exists()


@pytest.mark.parametrize("databases", ["postgresql"], indirect=True)
def test_a_run_within_another_uses_its_server(request, tmp_path, empty_database_url):
    shared = {SHARED_FOLDER: str(request.config.stash[FOLDER])}

    result = run_suite(tmp_path, "-k", "postgresql", **shared)

    engine = create_engine(empty_database_url, poolclass=NullPool)
    with engine.connect() as connection:
        names = connection.scalars(text("SELECT datname FROM pg_database")).all()
    assert "1 passed" in result.stdout
    assert any(re.fullmatch(r"quetz_main_[0-9a-f]{8}", name) for name in names)


@pytest.mark.parametrize("databases", ["postgresql"], indirect=True)
def test_a_given_postgresql_database_is_reused_for_each_test(tmp_path, databases):
    databases = given_databases(databases.empty(), tmp_path, chosen_dbinit())
    engine = open_engine(databases.ready())
    with engine.begin() as connection:
        connection.execute(
            text("INSERT INTO objects (sha256, size, touched_at) VALUES ('a', 1, 0)")
        )
        connection.execute(text("CREATE SCHEMA more CREATE TABLE stray (id integer)"))

    databases.ready()

    with engine.begin() as connection:
        assert connection.scalar(text("SELECT count(*) FROM objects")) == 0
    assert set(inspect(engine).get_table_names()) >= Base.metadata.tables.keys()
    assert "more" not in inspect(engine).get_schema_names()
    engine.dispose()


def migrated(databases) -> str:
    """Return a ready database's run of migrations."""
    engine = open_engine(databases.ready())
    with engine.connect() as connection:
        [run] = {entry.run_id for entry in read_entries(connection)}
    engine.dispose()
    return run


def test_a_database_is_migrated_once_for_all_tests(databases, tmp_path):
    url = databases.empty()
    again = database_at(url, tmp_path, DbInit.USE_MIGRATIONS)

    assert migrated(again) == migrated(again)


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("sqlite://", id="in memory"),
        pytest.param("sqlite:///:memory:", id="in memory by name"),
        pytest.param("postgresql://host", id="no database"),
        pytest.param("mysql://host/database", id="another kind"),
    ],
)
def test_a_database_that_cannot_be_tested_on_is_refused(url):
    with pytest.raises(ValueError, match="QUETZ_TEST_DATABASE"):
        given_url({"QUETZ_TEST_DATABASE": url})


def test_a_database_that_may_be_in_use_is_not_emptied(tmp_path):
    SqliteDatabases(tmp_path, DbInit.CREATE_TABLES, tmp_path / "quetz.sqlite").ready()
    url = make_url(f"sqlite:///{tmp_path}/quetz.sqlite")

    with pytest.raises(ValueError, match="holds tables"):
        given_databases(url, tmp_path, DbInit.CREATE_TABLES)

    engine = open_engine(url)
    assert inspect(engine).has_table("channels")
    engine.dispose()


def test_what_a_test_commits_is_gone_in_the_next(databases):
    engine = open_engine(databases.ready())
    with engine.begin() as connection:
        connection.execute(
            text("INSERT INTO objects (sha256, size, touched_at) VALUES ('a', 1, 0)")
        )
    engine.dispose()

    engine = open_engine(databases.ready())

    with engine.begin() as connection:
        assert connection.scalar(text("SELECT count(*) FROM objects")) == 0
    engine.dispose()


def test_tables_that_a_test_drops_are_made_again(databases):
    engine = open_engine(databases.ready())
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE objects"))
    engine.dispose()

    engine = open_engine(databases.ready())

    assert inspect(engine).has_table("objects")
    engine.dispose()


def test_a_database_can_be_had_without_tables(databases):
    databases.ready()

    engine = open_engine(databases.empty())

    assert inspect(engine).get_table_names() == []
    engine.dispose()


KILLED = """
import os, signal
from quetz.testing.postgresql import server_folder, server_url

with server_folder() as folder:
    server_url(folder)
    print(folder, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_run_leaves_no_server_behind():
    result = subprocess.run(
        [sys.executable, "-c", KILLED], stdout=subprocess.PIPE, text=True, check=False
    )
    folder = Path(result.stdout.strip())

    assert folder.name.startswith("quetz-tests-")
    deadline = time.monotonic() + 30
    while folder.exists() and time.monotonic() < deadline:
        time.sleep(0.05)

    assert result.returncode == -signal.SIGKILL
    assert not folder.exists()
