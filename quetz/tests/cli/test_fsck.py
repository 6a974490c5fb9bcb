import os
import pty
import subprocess
import sys
from contextlib import closing

import pytest
from sqlalchemy import update

from quetz.db.models import Channel
from quetz.deployment import Deployment
from quetz.tests.cli.outputs import read_output
from quetz.tests.worker.soundness import object_of


@pytest.fixture
def path(filled_path):
    return filled_path


def miscount(path):
    with (
        closing(Deployment.open(path)) as deployment,
        deployment.transaction(write=True) as session,
    ):
        session.execute(update(Channel).where(Channel.name == "forge").values(size=1))


def lose_object(path):
    with closing(Deployment.open(path)) as deployment:
        object_of(deployment, "numpy-1.0-0.conda").unlink()


def test_a_sound_deployment_ends_with_0_and_a_summary(quetz, path):
    result = quetz("fsck", path)

    info, summary = result.stdout.splitlines()
    assert result.exit_code == 0, result.stderr
    assert info.startswith("I6   info     store/objects: 3 objects")
    assert summary.startswith("0 errors, 0 of them repaired, 0 warnings, 1 infos; looked at 3 ch")
    assert "7 files" in summary


def test_errors_that_are_left_end_with_2(quetz, path):
    miscount(path)

    result = quetz("fsck", path)

    assert result.exit_code == 2
    line = result.stdout.splitlines()[0]
    assert line.startswith("I8   error    forge: its size is")
    assert line.endswith("and its counter says 1; quetz fsck --repair counts anew")


def test_errors_that_are_all_repaired_end_with_1_and_the_next_check_with_0(quetz, path):
    miscount(path)

    result = quetz("fsck", path, "--repair")

    assert result.exit_code == 1, result.stderr
    assert result.stdout.startswith("I8   repaired forge: its size is")
    assert quetz("fsck", path, "--deep").exit_code == 0


def test_an_error_that_cannot_be_repaired_ends_with_2(quetz, path):
    miscount(path)
    lose_object(path)

    result = quetz("fsck", path, "--repair", "--json")

    document = read_output("fsck", result.stdout)
    states = {one["invariant"]: one["repaired"] for one in document["findings"]}
    assert result.exit_code == 2
    assert states == {"I1": False, "I8": True, "I6": False}
    assert (document["errors"], document["repaired"]) == (2, 1)


@pytest.mark.parametrize("options", [(), ("--deep",), ("--deep", "--repair")])
def test_what_is_told_as_json_is_as_published(quetz, path, options):
    result = quetz("fsck", path, *options, "--json")

    document = read_output("fsck", result.stdout)
    assert result.exit_code == 0
    assert document["deep"] == ("--deep" in options)
    assert document["looked_at"]["files"] == 7


def test_what_is_found_goes_to_a_pipe_though_somebody_watches_the_progress(path, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    miscount(path)
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "quetz", "fsck", str(path)]

    ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=theirs, text=True, check=False)
    os.close(theirs)
    watched = os.read(ours, 65536)
    os.close(ours)

    assert ended.returncode == 2
    assert ended.stdout.startswith("I8   error    forge: its size is")
    assert b"Checking" in watched
    assert b"I8" not in watched


def test_no_deployment_ends_with_2_and_no_document(quetz, tmp_path):
    result = quetz("fsck", tmp_path, "--json")

    assert (result.exit_code, result.stdout) == (2, "")
    assert "is not a quetz deployment" in result.stderr


def test_a_database_without_migrations_ends_with_3(quetz, configured):
    (configured / "store/objects").mkdir(parents=True)

    result = quetz("fsck", configured)

    assert (result.exit_code, result.stdout) == (3, "")
