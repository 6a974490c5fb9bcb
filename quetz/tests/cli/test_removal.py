import fcntl
import os
import pty
import subprocess
import sys

import pytest

from quetz.tests.cli.folders import obey_permissions, tree

CONFIG = """\
[sqlalchemy]
database_url = "sqlite:///db/mine.sqlite"
[logging]
file = "logs/quetz.log"
[migrations]
backup_dir = "saved/of mine"
"""
BACKUP = "20261124T145215123456Z-4bd032e7beb5.sqlite"


@pytest.fixture(params=["delete", "replace"])
def take_away(quetz, request):
    """Delete the deployment, or replace it by a new one."""
    if request.param == "delete":
        return lambda path: quetz("delete", path, "--force")
    return lambda path: quetz("create", path, "--delete", "--create-conf")


def test_delete_removes_the_whole_folder(quetz, tmp_path, path):
    result = quetz("delete", path, "--force")

    assert result.exit_code == 0
    assert tree(tmp_path) == {}


def test_delete_refuses_what_is_not_a_deployment(quetz, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "configured").mkdir()
    (tmp_path / "configured" / "config.toml").write_text("")
    before = tree(tmp_path)

    missing = quetz("delete", tmp_path / "nowhere", "--force")
    photos = quetz("delete", tmp_path / "photos", "--force")
    configured = quetz("delete", tmp_path / "configured", "--force")

    assert (missing.exit_code, photos.exit_code, configured.exit_code) == (2, 2, 1)
    assert "is not a quetz deployment" in photos.stderr
    assert tree(tmp_path) == before


def test_delete_does_not_guess_when_it_cannot_ask(quetz, path):
    result = quetz("delete", path, input="y\n")

    assert result.exit_code == 2
    assert "add --force" in result.stderr
    assert path.exists()


@pytest.mark.parametrize(("answer", "code", "kept"), [("y", 0, False), ("n", 1, True)])
def test_delete_asks_at_a_terminal(quetz, path, answer, code, kept):
    ours, theirs = pty.openpty()

    with subprocess.Popen(
        [sys.executable, "-m", "quetz", "delete", path],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        os.write(ours, f"{answer}\n".encode())
        _, question = process.communicate(timeout=60)
    for end in (ours, theirs):
        os.close(end)

    assert process.returncode == code
    assert b"with all its packages?" in question
    assert path.exists() is kept


def test_delete_knows_all_that_a_deployment_makes(quetz, tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(CONFIG)
    quetz("create", tmp_path / "d", "--copy-conf", file)
    for made in (
        "logs/quetz.log",
        "locks/publish",
        "db/mine.sqlite-wal",
        "db/mine.sqlite-shm",
        "db/mine.sqlite.migrate-lock",
        "saved/of mine/.lock",
        f"saved/of mine/{BACKUP}",
        f"saved/of mine/{BACKUP}.json",
        f"saved/of mine/{BACKUP}.part",
    ):
        (tmp_path / "d" / made).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / "d" / made).write_text("")

    result = quetz("delete", tmp_path / "d", "--force")

    assert result.exit_code == 0
    assert list(tree(tmp_path)) == ["mine.toml"]


@pytest.mark.parametrize(
    "name",
    [
        "photo.jpg",
        "src/main.py",
        ".git/HEAD",
        "db/other.sqlite",
        "saved/photo.jpg",
        "saved/of mine/mine.sqlite",
    ],
)
def test_a_folder_with_other_things_is_left_alone(quetz, tmp_path, take_away, name):
    file = tmp_path / "mine.toml"
    file.write_text(CONFIG)
    path = tmp_path / "d"
    quetz("create", path, "--copy-conf", file)
    (path / name).parent.mkdir(exist_ok=True, parents=True)
    (path / name).write_text("mine")
    before = tree(tmp_path)

    result = take_away(path)

    named = name if name.startswith(("db/", "saved/")) else name.partition("/")[0]
    assert result.exit_code == 1
    assert result.stderr == (
        f"quetz: '{path}' holds '{named}', which is not of the deployment; move it away, or "
        "delete the folder by hand\n"
    )
    assert tree(tmp_path) == before


def test_a_project_with_a_store_of_its_own_is_left_alone(tmp_path, take_away):
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "cart.py").write_text("mine")
    (tmp_path / "config.toml").write_text("")
    before = tree(tmp_path)

    result = take_away(tmp_path)

    assert result.exit_code == 1
    assert tree(tmp_path) == before


def test_what_a_deployment_only_links_to_is_left_alone(tmp_path, path, take_away):
    (path / "store").rename(tmp_path / "disk")
    (path / "store").symlink_to(tmp_path / "disk")
    (tmp_path / "disk" / "objects" / "00" / "package").write_text("mine")

    result = take_away(path)

    assert result.exit_code == 0
    assert (tmp_path / "disk" / "objects" / "00" / "package").read_text() == "mine"


def test_backups_outside_of_the_deployment_are_left_alone(tmp_path, path, take_away):
    (tmp_path / "tapes").mkdir()
    (tmp_path / "tapes" / BACKUP).write_text("mine")
    (path / "backups").symlink_to(tmp_path / "tapes")

    result = take_away(path)

    assert result.exit_code == 0
    assert (tmp_path / "tapes" / BACKUP).read_text() == "mine"
    assert not (path / "backups").exists()


def test_delete_refuses_a_link(quetz, tmp_path, path):
    link = tmp_path / "link"
    link.symlink_to(path)

    result = quetz("delete", link, "--force")

    assert result.exit_code == 1
    assert result.stderr == (
        f"quetz: '{link}' is a link; delete the folder it leads to: quetz delete {path}\n"
    )
    assert (path / "config.toml").exists()


def test_a_deletion_that_failed_can_be_repeated(quetz, path):
    folder = path / "store" / "objects" / "7f"
    (folder / "package").write_text("")
    folder.chmod(0o500)

    failed = subprocess.run(
        [sys.executable, "-m", "quetz", "delete", path, "--force"],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=obey_permissions,
    )
    kept = (path / "config.toml").exists()
    folder.chmod(0o700)
    again = quetz("delete", path, "--force")

    assert (failed.returncode, kept) == (1, True)
    assert failed.stderr == f"quetz: '{folder / 'package'}': Permission denied\n"
    assert (again.exit_code, path.exists()) == (0, False)


def test_a_deployment_that_another_command_changes_is_left_alone(quetz, path):
    folder = os.open(path, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)

    deleted = quetz("delete", path, "--force")
    started = quetz("start", path)
    os.close(folder)

    for result in (deleted, started):
        assert result.exit_code == 1
        assert "is being created or deleted by another command" in result.stderr
    assert (path / "config.toml").exists()
