"""``quetz backup`` and ``quetz restore`` as an operator runs them."""

import os
import subprocess
import sys
from contextlib import closing

import pytest

from quetz.cli.locks import serving
from quetz.deployment import Deployment
from quetz.tests.cli.outputs import read_output
from quetz.tests.worker.soundness import NUMPY, check, object_of, settle

pytestmark = pytest.mark.usefixtures("database_programs")

BACKUP_POINTS = ["backing.database", "backing.copying", "backing.objects", "backing.written"]
RESTORE_POINTS = [
    "restoring.marked",
    "restoring.copying",
    "restoring.objects",
    "restoring.database",
    "restoring.migrated",
    "restoring.begun",
]


@pytest.fixture
def path(filled_path):
    return filled_path


def killed_at(point, *arguments):
    """Run a command that kills itself when it comes to a point; say whether it did."""
    command = [sys.executable, "-m", "quetz", *map(str, arguments)]
    environment = os.environ | {"QUETZ_CRASHPOINT": point}
    return subprocess.run(command, env=environment, capture_output=True, check=False).returncode < 0


def test_a_backup_and_a_restore_tell_what_they_did(quetz, path, tmp_path):
    made = quetz("backup", tmp_path / "backups", path)
    done = quetz("restore", tmp_path / "backups", path, "--yes")

    assert (made.exit_code, done.exit_code) == (0, 0), made.stderr + done.stderr
    assert made.stderr.startswith(f"Backed up to '{tmp_path}/backups/2")
    assert "API keys and users are those of the backup" in done.stderr


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)
def test_json_tells_the_same_to_programs(quetz, path, tmp_path):
    made = read_output("backup", quetz("backup", tmp_path / "backups", path, "--json").stdout)
    done = quetz("restore", made["backup"], path, "--yes", "--json")

    told = read_output("restore", done.stdout)
    assert (made["copied"], made["faults"]) == (made["objects"], [])
    assert (told["backup"], told["kept"], told["copied"]) == (made["backup"], made["objects"], 0)


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)
def test_a_backup_that_lacks_an_object_ends_with_1_and_names_it(quetz, path, tmp_path):
    with closing(Deployment.open(path)) as deployment:
        lost = object_of(deployment, NUMPY)
    lost.unlink()

    made = quetz("backup", tmp_path / "backups", path)

    assert made.exit_code == 1
    assert f"missing in the store: forge/linux-64/{NUMPY}" in made.stderr


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)
def test_a_deployment_that_is_served_or_that_nobody_gives_up_is_not_replaced(quetz, path, tmp_path):
    quetz("backup", tmp_path / "backups", path)

    with serving(path):
        served = quetz("restore", tmp_path / "backups", path, "--yes")
    unasked = quetz("restore", tmp_path / "backups", path)

    assert (served.exit_code, unasked.exit_code) == (1, 2)
    assert "is being served; stop the server first" in served.stderr
    assert "add --yes" in unasked.stderr


def test_backups_and_restores_that_are_killed_are_finished_by_the_next_run(quetz, path, tmp_path):
    backups = tmp_path / "backups"
    for point in BACKUP_POINTS:
        assert killed_at(point, "backup", backups, path), point
        assert quetz("restore", backups, path, "--yes").exit_code == 8  # there is none yet
    made = quetz("backup", backups, path)

    for point in RESTORE_POINTS:
        assert killed_at(point, "restore", backups, path, "--yes"), point
        refused = quetz("fsck", path)
        assert (refused.exit_code, "finish it with: quetz restore" in refused.stderr) == (1, True)
    done = quetz("restore", backups, path, "--yes")

    assert (made.exit_code, done.exit_code) == (0, 0), made.stderr + done.stderr
    with closing(Deployment.open(path)) as restored:
        settle(restored)
        assert check(restored, deep=True)[1] == []
