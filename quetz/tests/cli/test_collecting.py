from contextlib import closing

import pytest

from quetz.db.models import StoredObject
from quetz.deployment import Deployment
from quetz.testing.factories import make_channel
from quetz.testing.stores import put_bytes
from quetz.tests.cli.outputs import read_output
from quetz.worker.collecting import collecting

NOTHING = {
    "dry_run": False,
    "objects": 0,
    "bytes": 0,
    "adopted": 0,
    "index_files": 0,
    "reservations": 0,
}


@pytest.fixture
def path(deployment_path):
    """A deployment with an object that nothing has referred to for 40 days."""
    with closing(Deployment.open(deployment_path)) as deployment:
        key = put_bytes(deployment.store, b"unwanted")
        with deployment.transaction(write=True) as session:
            sha256 = str(key).rpartition("/")[2]
            touched_at = make_channel(session).created_at - 40 * 24 * 3600 * 1000
            session.add(StoredObject(sha256=sha256, size=8, touched_at=touched_at))
    return deployment_path


@pytest.fixture
def told(quetz, path):
    def run(*options):
        result = quetz("gc", path, "--json", *options)
        assert result.exit_code == 0, result.stderr
        return read_output("gc", result.stdout)

    return run


def test_what_nothing_refers_to_is_removed_and_counted(told):
    would = told("--dry-run")
    did = told()

    assert would == NOTHING | {"dry_run": True, "objects": 1, "bytes": 8}
    assert did == would | {"dry_run": False}
    assert told() == NOTHING


def test_the_grace_is_the_one_of_the_settings_or_of_the_option(told, path):
    with (path / "config.toml").open("a") as file:
        file.write("[storage]\nobject_grace_days = 60\n")

    assert told() == NOTHING
    assert told("--grace-days", 41) == NOTHING
    assert told("--grace-days", 39)["objects"] == 1


def test_without_json_people_read_a_sentence(quetz, path):
    would, did = quetz("gc", path, "--dry-run"), quetz("gc", path)

    assert would.stderr.startswith("Would remove 1 objects of 8 bytes and 0 expired reservations;")
    assert did.stderr.startswith("Removed 1 objects of 8 bytes")


def test_two_do_not_collect_at_once(quetz, path):
    with closing(Deployment.open(path)) as server, collecting(server):
        refused = quetz("gc", path)

    assert refused.exit_code == 1
    assert "is collecting in" in refused.stderr
