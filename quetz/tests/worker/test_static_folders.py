import os

import pytest

from quetz.conda.channel_folders import read_channel_folder
from quetz.errors.folders import ExportRunning
from quetz.services.permissions import OPERATOR
from quetz.testing.factories import make_channel
from quetz.testing.packages import build_package
from quetz.tests.no_files import NO_FILES
from quetz.worker.exports import Target, export_channel
from quetz.worker.imports import import_folder


@pytest.fixture
def forge(deployment):
    with deployment.transaction(write=True) as session:
        return make_channel(session, "forge")


@pytest.fixture
def source(tmp_path):
    """A static channel of one package."""
    (tmp_path / "source" / "noarch").mkdir(parents=True)
    build_package(tmp_path / "source" / "noarch")
    return tmp_path / "source"


@pytest.fixture
def run(deployment, forge, source):
    """Import the source, and return what became of its files."""

    def run():
        return import_folder(deployment, OPERATOR, "forge", read_channel_folder(source))

    return run


@pytest.mark.parametrize("make", NO_FILES)
def test_what_is_no_file_is_refused_by_name(source, run, make):
    make(source / "noarch/odd-1.0-0.conda")

    report = run()

    [refusal] = report.refused
    assert refusal.path == "noarch/odd-1.0-0.conda"
    assert str(refusal.error) == "it cannot be read: it is no file"
    assert report.imported == 1


def test_nothing_is_put_or_recorded_when_there_is_nothing_new(run, monkeypatch):
    run()
    monkeypatch.delattr("quetz.services.imports.sort_out")

    assert run().unchanged == 1


def test_of_two_exports_to_a_folder_the_second_is_refused(deployment, forge, run, tmp_path):
    run()
    refused = []

    def export_again(done, _total):
        with pytest.raises(ExportRunning, match=r"another export to '.*' is running"):
            export_channel(deployment, forge, Target(tmp_path / "exported"))
        refused.append(done)

    report = export_channel(deployment, forge, Target(tmp_path / "exported"), watch=export_again)

    assert (report.copied, refused) == (1, [1])


def test_packages_are_on_the_disk_before_an_index_names_them(
    deployment, forge, run, tmp_path, monkeypatch
):
    run()
    synced = []
    noarch = tmp_path / "exported" / "noarch"
    monkeypatch.setattr(os, "sync", lambda: synced.extend(noarch.iterdir()))

    export_channel(deployment, forge, Target(tmp_path / "exported"))

    assert [path.name for path in synced] == ["pkg-1.0-0.conda"]
