import fcntl
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from sqlalchemy import text
from typer.testing import CliRunner

from quetz.cli import backups
from quetz.cli.outcomes import Commands
from quetz.db.engine import open_engine
from quetz.testing.postgresql import client_programs

root = typer.Typer(cls=Commands)
root.add_typer(backups.commands, name="migrations")


@root.callback()
def callback(debug: bool = False) -> None: ...


@pytest.fixture(autouse=True)
def programs(monkeypatch):
    monkeypatch.setenv("PATH", f"{client_programs()}{os.pathsep}{os.environ['PATH']}")


@pytest.fixture
def quetz():
    """Run a command of the group ``quetz migrations``."""

    def run(*arguments, **options):
        words = ["migrations", *(str(argument) for argument in arguments)]
        return CliRunner().invoke(root, words, **options)

    return run


@pytest.fixture
def path(deployment_path):
    return deployment_path


@pytest.fixture
def engine(path, database_url):
    engine = open_engine(database_url)
    write(engine, "INSERT INTO objects (sha256, size, touched_at) VALUES ('first', 1, 1)")
    yield engine
    engine.dispose()


@pytest.fixture
def file(quetz, engine, path):
    """A backup; the rows were changed since."""
    file = printed(quetz("backup", path))
    write(engine, "UPDATE objects SET sha256 = 'second'")
    return file


def write(engine, statement):
    with engine.execution_options(write=True).begin() as connection:
        connection.execute(text(statement))


def objects_in(engine):
    with engine.connect() as connection:
        return list(connection.scalars(text("SELECT sha256 FROM objects")))


def printed(result):
    return Path(result.stdout.strip())


def damage(file):
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def test_backup_prints_where_the_backup_is(quetz, engine, path):
    result = quetz("backup", path)

    assert result.exit_code == 0
    assert printed(result).is_file()
    assert printed(result).parent == path / "backups"


def test_a_backup_may_go_to_another_folder(quetz, engine, path, tmp_path):
    result = quetz("backup", path, "--backup-dir", tmp_path / "other", "--json")

    document = json.loads(result.stdout)
    assert Path(document["file"]).parent == tmp_path / "other"
    assert document["rows"]["objects"] == 1
    assert document["whole"] is True
    assert not (path / "backups").exists()


def test_a_backup_that_fails_is_not_told_to_do_without_one(quetz, engine, path, tmp_path):
    (tmp_path / "taken").touch()

    result = quetz("backup", path, "--backup-dir", tmp_path / "taken")

    assert result.exit_code == 8
    assert "no backup could be made: " in result.stderr
    assert "--no-backup" not in result.stderr


def test_as_many_are_kept_as_the_settings_say(quetz, engine, path):
    with (path / "config.toml").open("a") as config:
        config.write("[migrations]\nbackups_kept = 2\n")

    made = [printed(quetz("backup", path)) for _ in range(3)]

    listed = json.loads(quetz("backups", path, "--json").stdout)
    assert [Path(document["file"]) for document in listed] == [made[2], made[1]]


def test_backups_lists_the_newest_first(quetz, engine, path):
    older, newer = (printed(quetz("backup", path)) for _ in range(2))
    os.truncate(older, 10)

    result = quetz("backups", path)

    first, second = result.stdout.splitlines()
    assert first.startswith(newer.name)
    assert " bytes  whole    backup " in first
    assert second.startswith(older.name)
    assert " bytes  damaged  backup " in second
    assert result.exit_code == 0


def test_a_backup_whose_file_is_gone_is_missing_and_not_damaged(quetz, engine, path):
    printed(quetz("backup", path)).unlink()

    result = quetz("backups", path)

    assert " bytes  missing  backup " in result.stdout


def test_backups_tells_of_manifests_that_it_cannot_read(quetz, file, path):
    file.with_name(f"{file.name}.json").write_text("{}")

    result = quetz("backups", path)

    assert result.stdout == ""
    assert f"the backup '{file}' cannot be used: its manifest cannot be read" in result.stderr


def test_backups_says_that_there_is_none(quetz, path):
    result = quetz("backups", path)

    assert (result.exit_code, result.stdout) == (0, "")
    assert f"no backup in '{path / 'backups'}'" in result.stderr


@pytest.mark.parametrize("named", ["latest", "name", "path"])
def test_restore_puts_back_what_was_there(quetz, engine, path, file, named):
    name = {"latest": "latest", "name": file.name, "path": file}[named]

    result = quetz("restore", path, name, "--yes")

    assert result.exit_code == 0
    assert f"Restored '{file}' of 20" in result.stderr
    assert objects_in(engine) == ["first"]
    again = quetz("restore", path, printed(result), "--yes")
    assert again.exit_code == 0
    assert objects_in(engine) == ["second"]


def test_restore_tells_programs_what_it_did(quetz, engine, path, file):
    result = quetz("restore", path, "latest", "--yes", "--json")

    document = json.loads(result.stdout)
    assert document["restored"]["file"] == str(file)
    assert Path(document["former"]).is_file()


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)
def test_restore_makes_a_database_that_is_missing(quetz, engine, path, file):
    engine.dispose()
    Path(engine.url.database).unlink()

    result = quetz("restore", path, "latest", "--yes")

    assert (result.exit_code, result.stdout) == (0, "")
    assert "there was no database before" in result.stderr
    assert objects_in(engine) == ["first"]


def test_restore_does_not_guess_when_it_cannot_ask(quetz, engine, path, file):
    result = quetz("restore", path, "latest", input="y\n")

    assert result.exit_code == 2
    assert "add --yes" in result.stderr
    assert objects_in(engine) == ["second"]


@pytest.mark.parametrize(("answer", "code", "left"), [("y", 0, "first"), ("n", 1, "second")])
def test_restore_asks_at_a_terminal(engine, path, file, answer, code, left):
    ours, theirs = pty.openpty()
    program = f"from {__name__} import root; root()"

    with subprocess.Popen(
        [sys.executable, "-c", program, "migrations", "restore", path, "latest"],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        os.write(ours, f"{answer}\n".encode())
        _, question = process.communicate(timeout=60)
    for end in (ours, theirs):
        os.close(end)

    assert process.returncode == code
    assert f"Replace all that the database of '{path}' holds".encode() in question
    assert objects_in(engine) == [left]


def test_restore_refuses_while_the_deployment_is_served(quetz, engine, path, file):
    server = os.open(path, os.O_RDONLY)
    fcntl.flock(server, fcntl.LOCK_SH)

    result = quetz("restore", path, "latest", "--yes")
    os.close(server)

    assert result.exit_code == 1
    assert "is being served; stop the server first" in result.stderr
    assert objects_in(engine) == ["second"]


def test_a_damaged_backup_is_not_restored(quetz, engine, path, file):
    damage(file)

    result = quetz("restore", path, file, "--yes")

    assert result.exit_code == 8
    assert f"the backup '{file}' cannot be used" in result.stderr
    assert objects_in(engine) == ["second"]


def test_verify_backup_tells_whole_ones_from_damaged_ones(quetz, file):
    whole = quetz("verify-backup", file)
    document = json.loads(quetz("verify-backup", file, "--json").stdout)
    damage(file)
    damaged = quetz("verify-backup", file)

    assert whole.exit_code == 0
    assert " is whole: " in whole.stdout
    assert document["file"] == str(file)
    assert (damaged.exit_code, damaged.stdout) == (8, "")


@pytest.mark.parametrize("databases", ["postgresql"], indirect=True)
def test_a_missing_program_is_told(quetz, engine, path, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")

    result = quetz("backup", path)

    assert result.exit_code == 8
    assert "pg_dump is not on PATH; install the client programs of PostgreSQL" in result.stderr


@pytest.mark.parametrize("command", [["backup"], ["backups"], ["restore"]])
def test_what_is_no_deployment_is_refused(quetz, tmp_path, command):
    rest = ["latest"] if command == ["restore"] else []

    result = quetz(*command, tmp_path, *rest)

    assert result.exit_code == 2
    assert "is not a quetz deployment" in result.stderr
