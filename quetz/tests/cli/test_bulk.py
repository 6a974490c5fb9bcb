import json
import os
import signal
import subprocess
import sys
import time
from contextlib import closing, suppress

import pytest

from quetz.db.models import Channel, Event, File, Package
from quetz.db.queries.channels import get_channel
from quetz.deployment import Deployment
from quetz.services.publishing import has_marks
from quetz.testing.packages import build_package
from quetz.tests.cli.outputs import read_output
from quetz.worker.imports import BATCH
from quetz.worker.receiving import ENOUGH_FOR_PROCESSES


@pytest.fixture
def folder(tmp_path):
    """A static channel of two packages."""
    folder = tmp_path / "static"
    (folder / "noarch").mkdir(parents=True)
    build_package(folder / "noarch", version="1.0")
    build_package(folder / "noarch", version="2.0")
    return folder


@pytest.fixture
def told(quetz, deployment_path):
    """Run a command with --json, and return what it prints."""

    def run(command, *arguments, code=0):
        result = quetz(command, *arguments, deployment_path, "--json")
        assert result.exit_code == code, result.stderr
        return read_output(command, result.stdout)

    return run


def count(path, model):
    with closing(Deployment.open(path)) as opened, opened.transaction() as session:
        return session.query(model).count()


def test_a_channel_is_imported_and_published(told, folder, deployment_path):
    done = told("import", folder, "Forge", "--create")

    assert done == {
        "channel": "forge",
        "imported": 2,
        "yanked": 0,
        "unchanged": 0,
        "refused": [],
    }
    with closing(Deployment.open(deployment_path)) as opened, opened.transaction() as session:
        channel = get_channel(session, "forge")
        assert channel.private
        assert not has_marks(session, channel.id)
    assert told("import", folder, "forge", "--create")["unchanged"] == 2


def test_a_channel_that_is_made_may_be_public(told, folder, deployment_path):
    told("import", folder, "forge", "--create", "--public")

    with closing(Deployment.open(deployment_path)) as opened, opened.transaction() as session:
        assert not get_channel(session, "forge").private


def test_files_that_are_refused_are_named_and_the_exit_code_tells(told, quetz, folder):
    (folder / "noarch" / "bad-1.0-0.conda").write_bytes(b"no package")
    (folder / "noarch" / "repodata.json").write_text(
        json.dumps({"removed": ["pkg-1.0-0.conda"], "packages": {"gone-1-0.tar.bz2": {}}})
    )

    done = told("import", folder, "forge", "--create", code=1)

    assert (done["imported"], done["yanked"]) == (2, 1)
    missing, bad = done["refused"]
    assert missing["path"] == "noarch/gone-1-0.tar.bz2"
    assert bad["path"] == "noarch/bad-1.0-0.conda"
    assert "no zip" in bad["reason"]


def test_without_json_people_read_sentences(quetz, folder, deployment_path, tmp_path):
    (folder / "noarch" / "bad\x1b[2J-1.0-0.conda").write_bytes(b"no package")

    done = quetz("import", folder, "forge", deployment_path, "--create")
    again = quetz("import", folder, "forge", "--deployment", deployment_path)
    exported = quetz("export", "forge", tmp_path / "out", deployment_path)
    rebuilt = quetz("reindex", "forge", deployment_path)

    *_, refusal, summary = done.stderr.splitlines()
    assert refusal.startswith(r"refused: noarch/bad\x1b[2J-1.0-0.conda: ")
    assert summary == "Imported 2 files into 'forge'; 0 were there, 1 refused"
    assert again.stderr.endswith("Imported 0 files into 'forge'; 2 were there, 1 refused\n")
    assert (done.exit_code, again.exit_code) == (1, 1)
    assert exported.stderr == (
        f"Exported 'forge' to '{tmp_path / 'out'}': copied 2 files, kept 0, deleted 0\n"
    )
    assert rebuilt.stdout == (
        "noarch  shards       built\nnoarch  repodata     built\n-       channeldata  built\n"
    )


def test_a_file_name_that_is_no_utf8_is_told(told, folder):
    (folder / "noarch" / "pkg-1.0-0.conda").rename(
        folder / "noarch" / os.fsdecode(b"b\xe4d-1.0-0.conda")
    )

    done = told("import", folder, "forge", "--create", code=1)

    [refusal] = done["refused"]
    assert refusal["path"] == r"noarch/b\xe4d-1.0-0.conda"
    assert done["imported"] == 1


def test_an_export_tells_what_it_did(told, folder, tmp_path):
    told("import", folder, "forge", "--create")

    first = told("export", "forge", tmp_path / "out")
    again = told("export", "forge", tmp_path / "out", "--delete")

    assert first == {"channel": "forge", "copied": 2, "kept": 0, "deleted": 0, "failed": []}
    assert (again["copied"], again["kept"]) == (0, 2)


def test_a_rebuild_builds_each_index_anew(told, folder, deployment_path):
    told("import", folder, "forge", "--create")
    index = deployment_path / "store" / "index"
    torn = [path for path in index.rglob("*") if path.is_file()]
    for path in torn:
        path.unlink()

    rebuilt = told("reindex", "forge")

    assert rebuilt == [
        {"subdir": "noarch", "family": "shards", "built_here": True},
        {"subdir": "noarch", "family": "repodata", "built_here": True},
        {"subdir": None, "family": "channeldata", "built_here": True},
    ]
    assert len([path for path in index.rglob("*") if path.is_file()]) == len(torn)


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        pytest.param("import {} forge", 2, "or make it with --create", id="no channel"),
        pytest.param("import {}/none forge --create", 2, "is no folder of a", id="no folder"),
        pytest.param("import {} linux-64 --create", 2, "name of a subdir", id="bad name"),
        pytest.param("import {} forge --public", 2, "add --create", id="no channel is made"),
        pytest.param("export forge {}", 2, "there is no channel 'forge'", id="no such export"),
        pytest.param("reindex forge", 2, "there is no channel 'forge'", id="no such rebuild"),
    ],
)
def test_what_cannot_be_done_is_told_and_leaves_nothing(
    quetz, folder, deployment_path, arguments, code, reason
):
    result = quetz(*arguments.format(folder).split(), "--deployment", deployment_path)

    assert (result.exit_code, result.stdout) == (code, "")
    assert reason in result.stderr
    assert count(deployment_path, Channel) == count(deployment_path, Event) == 0


def test_a_folder_that_is_not_ours_is_refused(quetz, told, folder, deployment_path):
    told("import", folder, "forge", "--create")

    result = quetz("export", "forge", folder, deployment_path)

    assert result.exit_code == 1
    assert "pass --force" in result.stderr
    assert not (folder / ".quetz-export").exists()


@pytest.mark.parametrize("point", ["import.stored", "import.recorded"])
def test_an_import_that_was_killed_goes_on(told, folder, deployment_path, point):
    total = max(ENOUGH_FOR_PROCESSES, 2 * BATCH) + 2
    for number in range(total - 2):
        build_package(folder / "noarch", name=f"name{number % 50}", version=str(number))
    command = [sys.executable, "-m", "quetz", "import", folder, "forge", deployment_path]
    killed = subprocess.run(
        [*map(str, command), "--create"],
        env=os.environ | {"QUETZ_CRASHPOINT": f"{point}:2"},
        capture_output=True,
        start_new_session=True,
        check=False,
    )
    before = count(deployment_path, File)

    done = told("import", folder, "forge")

    assert killed.returncode == -signal.SIGKILL
    assert 0 < before < total
    assert (done["unchanged"], done["imported"]) == (before, total - before)
    with closing(Deployment.open(deployment_path)) as opened, opened.transaction() as session:
        files, packages = session.query(File).all(), session.query(Package).all()
        channel = get_channel(session, "forge")
        uploads = [event.subject for event in session.query(Event) if event.subject]
    assert len({(file.subdir, file.filename) for file in files}) == len(files) == total
    assert channel.size == sum(file.size for file in files)
    assert sum(package.files_count for package in packages) == total
    assert len(set(uploads)) == len(uploads) == total


def test_the_processes_of_a_killed_import_end_with_it(folder, deployment_path):
    for number in range(ENOUGH_FOR_PROCESSES):
        build_package(folder / "noarch", name=f"name{number}")
    command = [sys.executable, "-m", "quetz", "import", folder, "forge", deployment_path]
    killed = subprocess.Popen(
        [*map(str, command), "--create"],
        env=os.environ | {"QUETZ_CRASHPOINT": "import.stored"},
        start_new_session=True,
        stderr=subprocess.DEVNULL,
    )
    killed.wait(60)

    deadline = time.monotonic() + 30
    with suppress(ProcessLookupError):
        while time.monotonic() < deadline:
            os.killpg(killed.pid, 0)
            time.sleep(0.05)
        pytest.fail("a process lives on")
