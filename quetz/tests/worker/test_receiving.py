import json

import pytest

from quetz.conda.channel_folders import read_channel_folder
from quetz.db.models import File
from quetz.services.permissions import OPERATOR
from quetz.testing.factories import make_channel
from quetz.testing.packages import build_package
from quetz.worker.imports import import_folder


@pytest.fixture
def noarch(tmp_path):
    """The subdir of a folder to import."""
    noarch = tmp_path / "static" / "noarch"
    noarch.mkdir(parents=True)
    return noarch


@pytest.fixture
def run(deployment, noarch):
    """Import the folder into "forge"; return why files are refused, and the names of the others."""

    def run():
        with deployment.transaction(write=True) as session:
            make_channel(session, "forge")
        folder = read_channel_folder(noarch.parent)
        report = import_folder(deployment, OPERATOR, "forge", folder)
        with deployment.transaction() as session:
            names = sorted(file.name for file in session.query(File))
        return {refusal.path: str(refusal.error) for refusal in report.refused}, names

    return run


def build_hotfixes(folder, name, version):
    document = json.dumps({"patch_instructions_version": version}).encode()
    build_package(folder, name, files={"noarch/patch_instructions.json": document})


def test_a_file_that_is_larger_than_an_upload_may_be_is_refused(noarch, run):
    # What limits.upload_size is by default, and a byte; it takes no room on the disk.
    with (noarch / "large-1.0-0.conda").open("wb") as file:
        file.truncate((8 << 30) + 1)
    build_package(noarch)

    refused, kept = run()

    assert refused == {"noarch/large-1.0-0.conda": "the file exceeds the limit of 8589934592 bytes"}
    assert kept == ["pkg"]


def test_hotfixes_of_the_channel_that_cannot_be_applied_are_refused(noarch, run):
    build_hotfixes(noarch, "forge-repodata-patches", version=9)
    build_hotfixes(noarch, "other-repodata-patches", version=9)
    build_package(noarch)

    refused, kept = run()

    [(path, reason)] = refused.items()
    assert path == "noarch/forge-repodata-patches-1.0-0.conda"
    assert "patch_instructions_version: is 9; this server knows 1 and 2" in reason
    assert kept == ["other-repodata-patches", "pkg"]


def test_sound_hotfixes_are_imported(noarch, run):
    build_hotfixes(noarch, "forge-repodata-patches", version=2)

    assert run() == ({}, ["forge-repodata-patches"])
