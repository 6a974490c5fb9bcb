"""Backups of PostgreSQL databases: by whose programs, of whose tables, and no secrets told."""

import os
import signal
import uuid

import pytest
from sqlalchemy import text

from quetz.db.engine import open_engine
from quetz.errors import DatabaseUnreachable
from quetz.errors.migrations import (
    BackupToolMissing,
    BackupUnsound,
    MigrationLocked,
    RestoreFailed,
)
from quetz.migrations.locks import alone
from quetz.testing.postgresql import client_programs
from quetz.tests.migrations.databases import run_sql, tables_in
from quetz.tests.migrations.programs import fake_programs, run_apart

pytestmark = [
    pytest.mark.parametrize("databases", ["postgresql"], indirect=True),
    pytest.mark.usefixtures("database_programs"),
]

PASSWORD = "s%e@c:r/e t"


@pytest.fixture
def engine(empty_engine):
    run_sql(
        empty_engine,
        "CREATE TABLE words (id SERIAL PRIMARY KEY, word TEXT)",
        "INSERT INTO words (word) VALUES ('first')",
    )
    return empty_engine


@pytest.fixture
def limited(engine):
    """Open the database as a role of its own, which shares the schema with the administrator."""
    role = f"limited_{uuid.uuid4().hex}"
    run_sql(
        engine,
        f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'",
        f"GRANT CREATE, USAGE ON SCHEMA public TO {role}",
        f"ALTER TABLE words OWNER TO {role}",
        "CREATE TABLE theirs (id INTEGER PRIMARY KEY, note TEXT)",
        "INSERT INTO theirs VALUES (1, 'first')",
        "CREATE FUNCTION theirs_too() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO {role}",
    )
    limited = open_engine(engine.url.set(username=role, password=PASSWORD))
    yield limited
    limited.dispose()
    engine.dispose()
    run_sql(engine, f"DROP OWNED BY {role} CASCADE", f"DROP ROLE {role}")


def words_in(engine):
    with engine.connect() as connection:
        return list(connection.scalars(text("SELECT word FROM words ORDER BY id")))


def use_programs(monkeypatch, folder):
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/nowhere")


def test_all_that_was_made_later_is_gone(engine, backups):
    backups.take(engine)
    run_sql(
        engine,
        "CREATE TYPE mood AS ENUM ('good')",
        "CREATE DOMAIN short AS varchar(3)",
        "CREATE TABLE later (id SERIAL PRIMARY KEY, word INT REFERENCES words (id), mood mood)",
        "CREATE VIEW seen AS SELECT * FROM later",
        "CREATE MATERIALIZED VIEW kept AS SELECT * FROM seen",
        "CREATE VIEW kept_seen AS SELECT * FROM kept",
        "CREATE SEQUENCE numbers",
        "CREATE FUNCTION count_of(later) RETURNS int LANGUAGE sql AS 'SELECT 1'",
        'CREATE TABLE "odd ""name""; %% \\:x" (id INT)',
    )

    backups.restore(engine, "latest")

    assert tables_in(engine) == {"words"}
    run_sql(
        engine,
        "CREATE TYPE mood AS ENUM ('good')",
        "CREATE DOMAIN short AS varchar(3)",
        "CREATE SEQUENCE numbers",
        "CREATE VIEW seen AS SELECT 1",
        "CREATE FUNCTION count_of(int) RETURNS int LANGUAGE sql AS 'SELECT 1'",
    )


def test_a_database_that_lost_all_its_tables_is_restored(engine, backups):
    backups.take(engine)
    run_sql(engine, "DROP TABLE words")

    backups.restore(engine, "latest")

    assert words_in(engine) == ["first"]


def test_odd_names_and_kinds_are_put_back(engine, backups):
    run_sql(
        engine,
        'CREATE TABLE "odd ""name""; %% \\:x \'y" (id INT)',
        'INSERT INTO "odd ""name""; %% \\:x \'y" VALUES (1)',
        "CREATE TYPE mood AS ENUM ('good')",
        "CREATE TABLE moods (mood mood DEFAULT 'good')",
        "CREATE VIEW seen AS SELECT * FROM moods",
    )
    before = tables_in(engine)
    backups.take(engine)
    run_sql(engine, 'DROP TABLE "odd ""name""; %% \\:x \'y"', "DROP TABLE moods CASCADE")

    backups.restore(engine, "latest")

    assert tables_in(engine) == before
    run_sql(engine, "INSERT INTO moods DEFAULT VALUES", "SELECT * FROM seen")


def test_other_schemas_are_left_alone(engine, backups):
    run_sql(
        engine,
        "CREATE SCHEMA elsewhere",
        "CREATE TABLE elsewhere.words (word TEXT)",
        "INSERT INTO elsewhere.words VALUES ('theirs')",
    )
    backups.take(engine)
    run_sql(engine, "UPDATE elsewhere.words SET word = 'later'")

    backups.restore(engine, "latest")

    with engine.connect() as connection:
        assert connection.scalar(text("SELECT word FROM elsewhere.words")) == "later"


def test_a_schema_of_the_search_path_is_backed_up(engine, backups):
    run_sql(engine, 'CREATE SCHEMA "my own"')
    mine = open_engine(engine.url.update_query_dict({"options": '-csearch_path="my\\ own"'}))
    run_sql(mine, "CREATE TABLE words (id INT, word TEXT)", "INSERT INTO words VALUES (1, 'mine')")
    backups.take(mine)
    run_sql(mine, "DELETE FROM words")
    run_sql(engine, "UPDATE words SET word = 'second'")

    backups.restore(mine, "latest")

    assert (words_in(mine), words_in(engine)) == (["mine"], ["second"])
    with pytest.raises(BackupUnsound, match="has none of this database"):
        backups.find("latest", engine)
    mine.dispose()


def test_what_others_own_in_the_schema_is_left_alone(engine, limited, backups):
    backups.take(limited)
    run_sql(limited, "DELETE FROM words", "CREATE TABLE later (id INT)")
    run_sql(engine, "UPDATE theirs SET note = 'second'")

    backups.restore(limited, "latest")

    assert backups.find("latest").rows == {"words": 1}
    assert words_in(limited) == ["first"]
    assert tables_in(engine) == {"words", "theirs"}
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT note FROM theirs")) == "second"
        owner = "SELECT tableowner FROM pg_tables WHERE tablename = 'words'"
        assert connection.scalar(text(owner)) == limited.url.username


def test_a_restore_takes_nothing_of_others_along(engine, limited, backups):
    backups.take(limited)
    run_sql(limited, "UPDATE words SET word = 'second'")
    run_sql(engine, "ALTER TABLE theirs ADD word INT REFERENCES words (id)")

    with pytest.raises(RestoreFailed, match="tables or views of others depend on"):
        backups.restore(limited, "latest")

    assert words_in(limited) == ["second"]
    with pytest.raises(Exception, match="violates foreign key"):
        run_sql(engine, "UPDATE theirs SET word = 99")


@pytest.mark.parametrize(
    "theirs",
    [
        "ALTER TABLE theirs ADD mood mood",
        "ALTER TABLE theirs ALTER note SET DEFAULT word()",
        "CREATE TRIGGER told BEFORE UPDATE ON theirs FOR EACH ROW EXECUTE FUNCTION told()",
        "CREATE FUNCTION mood_of(mood) RETURNS int LANGUAGE sql AS 'SELECT 1'",
    ],
)
def test_a_restore_takes_no_part_of_what_is_of_others_along(engine, limited, backups, theirs):
    run_sql(
        limited,
        "CREATE TYPE mood AS ENUM ('good')",
        "CREATE FUNCTION word() RETURNS text LANGUAGE sql AS 'SELECT NULL::text'",
        "CREATE FUNCTION told() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    )
    backups.take(limited)
    run_sql(limited, "UPDATE words SET word = 'second'")
    run_sql(engine, theirs)

    with pytest.raises(RestoreFailed, match="of others depend on"):
        backups.restore(limited, "latest")

    assert words_in(limited) == ["second"]


def test_rows_are_counted_in_the_state_that_is_copied(engine, backups, tmp_path, monkeypatch):
    url = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    add = f"""{client_programs()}/psql -qc "INSERT INTO words (word) VALUES ('second')" "{url}" """
    folder = fake_programs(
        tmp_path / "programs", pg_dump=f'test "$1" = --version || {add}\nexec $real "$@"'
    )
    use_programs(monkeypatch, folder)

    file = backups.take(engine)

    assert words_in(engine) == ["first", "second"]
    assert backups.find(file).rows == {"words": 1}
    backups.restore(engine, file)
    assert words_in(engine) == ["first"]


def test_a_backup_is_taken_while_the_migrating_connection_holds_the_lock(engine, backups):
    with alone(engine) as connection:
        file = backups.take(engine, connection, ["a1"])

    assert backups.verify(file).heads == ("a1",)


def test_a_restore_waits_for_migrations(engine, backups):
    backups.take(engine)
    run_sql(engine, "UPDATE words SET word = 'second'")

    with alone(engine), pytest.raises(MigrationLocked):
        backups.restore(engine, "latest", alone(engine, 0))

    backups.restore(engine, "latest", alone(engine))
    assert words_in(engine) == ["first"]


def test_a_restore_that_is_killed_before_its_commit_changes_nothing(engine, backups):
    backups.take(engine)
    run_sql(engine, "UPDATE words SET word = 'second'")
    crash = {"QUETZ_CRASHPOINT": "restore.piped"}

    killed = run_apart(engine, backups.folder, "backups.restore(engine, 'latest')", variables=crash)

    assert killed.returncode == -signal.SIGKILL
    assert words_in(engine) == ["second"]
    backups.restore(engine, "latest")
    assert words_in(engine) == ["first"]


@pytest.mark.parametrize(
    ("name", "script"),
    [
        pytest.param(
            "pg_restore",
            'case "$*" in *--file=-*) $real "$@" | head -c 900; exit 1;; esac; exec $real "$@"',
            id="pg_restore fails halfway",
        ),
        pytest.param(
            "pg_restore",
            'case "$*" in *--file=-*) exit 0;; esac; exec $real "$@"',
            id="pg_restore writes nothing",
        ),
        pytest.param("psql", "exit 2", id="psql does not start"),
        pytest.param("psql", 'head -c 900 | $real "$@"; exit 2', id="psql dies halfway"),
    ],
)
def test_a_program_that_fails_changes_nothing(engine, backups, tmp_path, monkeypatch, name, script):
    backups.take(engine)
    run_sql(engine, "UPDATE words SET word = 'second'")
    use_programs(monkeypatch, fake_programs(tmp_path / "programs", **{name: script}))
    monkeypatch.setenv("PATH", os.environ["PATH"] + ":/bin:/usr/bin")

    with pytest.raises(RestoreFailed, match="what the database held before is in"):
        backups.restore(engine, "latest")

    assert words_in(engine) == ["second"]


def test_passwords_are_in_the_environment_alone(limited, backups, tmp_path, monkeypatch, capfd):
    log = tmp_path / "log"
    script = f'{{ echo "$0 $*"; }} >> {log}; echo "$PGUSER $PGPASSWORD" >> {log}2\nexec $real "$@"'
    names = ("pg_dump", "pg_restore", "psql")
    folder = fake_programs(tmp_path / "programs", **dict.fromkeys(names, script))
    use_programs(monkeypatch, folder)

    backups.take(limited)
    backups.restore(limited, "latest")

    commands = log.read_text()
    assert all(f"{folder}/{name} " in commands for name in names)
    assert PASSWORD not in commands
    assert f"{limited.url.username} {PASSWORD}\n" in log.with_name("log2").read_text()
    assert PASSWORD not in "".join(capfd.readouterr())
    assert not any(PASSWORD.encode() in path.read_bytes() for path in backups.folder.iterdir())


def test_a_server_that_is_away_is_told_without_the_password(engine, backups):
    away = open_engine(engine.url.set(password=PASSWORD, port=1))

    with pytest.raises(DatabaseUnreachable) as failure:
        backups.take(away)

    assert "connection" in str(failure.value)
    assert PASSWORD not in str(failure.value)
    assert [path.name for path in backups.folder.iterdir()] == [".lock"]


def test_programs_that_are_older_than_the_server_are_not_used(
    engine, backups, tmp_path, monkeypatch
):
    old = fake_programs(tmp_path / "old", pg_dump='echo "pg_dump (PostgreSQL) 9.6.1"')
    use_programs(monkeypatch, old)

    with pytest.raises(BackupToolMissing) as failure:
        backups.take(engine)

    with engine.connect() as connection:
        server = connection.dialect.server_version_info[0]
    assert failure.value.reason == (
        f"the server is PostgreSQL {server}, and pg_dump on PATH ('{old}/pg_dump') is of version "
        f"9; install the client programs of PostgreSQL {server} or newer"
    )


def test_the_newest_programs_on_the_path_are_used(engine, backups, tmp_path, monkeypatch):
    old = fake_programs(tmp_path / "old", pg_dump='echo "pg_dump (PostgreSQL) 9.6.1"')
    monkeypatch.setenv("PATH", f"{old}{os.pathsep}{client_programs()}")

    file = backups.take(engine)

    assert backups.verify(file).rows == {"words": 1}


def test_missing_programs_are_told(engine, backups, monkeypatch):
    file = backups.take(engine)
    monkeypatch.setenv("PATH", "/nowhere")

    with pytest.raises(BackupToolMissing, match=r"pg_dump is not on PATH; .* \d+ or newer"):
        backups.take(engine)
    with pytest.raises(BackupUnsound, match="pg_dump is not on PATH"):
        backups.verify(file)


def test_a_service_of_the_environment_does_not_lead_elsewhere(
    engine, backups, tmp_path, monkeypatch
):
    services = tmp_path / "services"
    services.write_text("[other]\ndbname=nowhere\n")
    monkeypatch.setenv("PGSERVICEFILE", str(services))
    monkeypatch.setenv("PGSERVICE", "other")

    file = backups.take(engine)

    assert backups.find(file).rows == {"words": 1}
