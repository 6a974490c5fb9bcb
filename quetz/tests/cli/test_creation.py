"""Creating where something is already: another command at work, its remains, a database in use."""

import fcntl
import os
import shlex
import signal
import subprocess
import sys
import time
from contextlib import closing

import pytest

from quetz.deployment import Deployment
from quetz.services.authentication import authenticate_key
from quetz.tests.cli.folders import obey_permissions, tree

IN_USE = "holds users or channels already; choose an empty one"


@pytest.fixture
def outside(tmp_path, empty_database_url):
    """A configuration whose database is not in the deployment's folder."""
    url = empty_database_url.render_as_string(hide_password=False)
    file = tmp_path / "outside.toml"
    file.write_text(f"[sqlalchemy]\ndatabase_url = '{url}'\n")
    return file


def usernames(path):
    with closing(Deployment.open(path)) as deployment, deployment.engine.connect() as connection:
        return set(connection.exec_driver_sql("SELECT username FROM users").scalars())


def test_a_database_in_use_does_not_get_an_empty_store(quetz, tmp_path, outside):
    path = tmp_path / "d"
    quetz("create", path, "--copy-conf", outside)
    quetz("user", "create", "erin", path)
    before = tree(path)

    replaced = quetz("create", path, "--delete", "--copy-conf", outside)
    kept = tree(path) == before
    quetz("delete", path, "--force")
    created = quetz("create", path, "--copy-conf", outside)

    for result in (replaced, created):
        assert result.exit_code == 1
        assert result.stderr == (
            f"quetz: '{path}' names a database in [sqlalchemy] database_url that {IN_USE}\n"
        )
    assert kept
    assert not path.exists()


def test_an_empty_database_outside_the_folder_is_used(quetz, tmp_path, outside):
    path = tmp_path / "d"
    path.mkdir()
    outside.rename(path / "config.toml")
    quetz("init-db", path)

    result = quetz("create", path)
    again = quetz("create", path, "--delete", "--copy-conf", path / "config.toml")

    assert (result.exit_code, again.exit_code) == (0, 0)
    assert usernames(path) == set()


@pytest.mark.parametrize(
    "place",
    [
        pytest.param("{path}/quetz.sqlite", id="absolute"),
        pytest.param("../d/quetz.sqlite", id="out and in again"),
    ],
)
def test_a_database_in_the_folder_is_replaced_however_it_is_written(quetz, tmp_path, place):
    path, file = tmp_path / "d", tmp_path / "mine.toml"
    file.write_text(f"[sqlalchemy]\ndatabase_url = 'sqlite:///{place.format(path=path)}'\n")
    quetz("create", path, "--copy-conf", file)
    quetz("user", "create", "erin", path)

    result = quetz("create", path, "--delete", "--copy-conf", file)

    assert result.exit_code == 0
    assert usernames(path) == set()
    assert {entry.name for entry in path.iterdir()} == {"config.toml", "quetz.sqlite", "store"}


def test_a_relative_database_is_beside_the_folder_that_is_meant(quetz, tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text("[sqlalchemy]\ndatabase_url = 'sqlite:///../beside.sqlite'\n")

    result = quetz("create", tmp_path / "d", "--copy-conf", file)

    assert result.exit_code == 0
    assert usernames(tmp_path / "d") == set()
    assert (tmp_path / "beside.sqlite").is_file()


def test_of_two_that_create_the_same_one_is_refused(tmp_path):
    path = tmp_path / "new" / "d"
    command = [sys.executable, "-m", "quetz", "create", path, "--dev"]

    both = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    printed = [process.communicate(timeout=60) for process in both]

    assert sorted(process.returncode for process in both) == [0, 1]
    [key] = [out.strip().removeprefix("QUETZ_API_KEY=") for out, _ in printed if out]
    with closing(Deployment.open(path)) as deployment, deployment.transaction() as session:
        assert authenticate_key(session, key)


def test_a_folder_that_another_create_works_in_is_left_alone(quetz, tmp_path):
    (tmp_path / ".quetz-create-other").mkdir()
    folder = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)

    result = quetz("create", tmp_path)
    os.close(folder)

    assert result.exit_code == 1
    assert result.stderr == (
        f"quetz: '{tmp_path}' is being created or deleted by another command; "
        "try again when that has ended\n"
    )
    assert tree(tmp_path) == {".quetz-create-other": None}


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGKILL])
def test_a_create_that_was_ended_is_in_nobodys_way(quetz, tmp_path, sent):
    path = tmp_path / "d"
    with subprocess.Popen([sys.executable, "-m", "quetz", "create", path]) as process:
        while not list(path.rglob(".quetz-create-*/**/*.sqlite")) and process.poll() is None:
            time.sleep(0.001)
        process.send_signal(sent)
    left = path.exists()

    result = quetz("create", path)

    assert process.returncode == {signal.SIGTERM: 143, signal.SIGKILL: -9}[sent]
    assert left is (sent == signal.SIGKILL)
    assert result.exit_code == 0
    assert {entry.name for entry in path.iterdir()} == {"config.toml", "quetz.sqlite", "store"}


def test_commands_are_offered_as_a_shell_takes_them(quetz, tmp_path):
    path = tmp_path / "my forge"

    missing = quetz("start", path)
    quetz("create", path)
    (path / "quetz.sqlite").write_bytes(b"")
    behind = quetz("start", path)

    for result, command in ((missing, "create"), (behind, "init-db")):
        offered = result.stderr.rpartition(": ")[2]
        assert shlex.split(offered) == ["quetz", command, str(path)]


def test_a_replacement_that_cannot_be_finished_leaves_the_old_deployment(quetz, tmp_path):
    path = tmp_path / "d"
    quetz("create", path)
    before = tree(path)
    (path / "store").chmod(0o500)  # so that it cannot be moved to another folder

    result = subprocess.run(
        [sys.executable, "-m", "quetz", "create", path, "--delete", "--create-conf"],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=obey_permissions,
    )

    assert result.returncode == 1
    assert "Permission denied" in result.stderr
    assert tree(path) == before
