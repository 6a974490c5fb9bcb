"""Power cuts: what survives them, and that the replays notice what must not happen."""

import os
import shutil
from typing import Any

import pytest

from quetz.cli.creation import Creation
from quetz.deployment import Deployment
from quetz.storage.local import LocalStore
from quetz.testing.power.commits import check_commits
from quetz.testing.power.disks import Disk, Loss, Name, NewFile, Sync, Write
from quetz.testing.power.recorder import NotRecorded, record
from quetz.testing.power.replays import Cut, Promise, cuts, replay
from quetz.testing.power.scenarios import run_scenario

SEED = 3


class WithoutFsync:
    """Stands for ``os`` in a module of which no fsync reaches the disk."""

    def __getattr__(self, name):
        return getattr(os, name)

    def fsync(self, file):
        pass


@pytest.fixture(scope="module")
def created(tmp_path_factory):
    path = tmp_path_factory.mktemp("power") / "deployment"
    Creation(path, create_conf=True).run()
    return path


@pytest.fixture
def path(created, tmp_path):
    path = tmp_path / "deployment"
    shutil.copytree(created, path)
    return path


def without_fsync_of_objects(patch):
    patch.setattr("quetz.storage.staging.os", WithoutFsync())


def without_fsync_of_their_folders(patch):
    patch.setattr("quetz.storage.local.os", WithoutFsync())


def with_the_commit_before_the_put(patch):
    waiting: list[Any] = []
    put = LocalStore.put

    def put_what_waits(name):
        while name == "upload.recorded" and waiting:
            put(*waiting.pop(0))

    patch.setattr(LocalStore, "put", lambda *arguments: waiting.append(arguments))
    patch.setattr("quetz.services.objects.check_stored", lambda _store, _hashes: None)
    patch.setattr("quetz.web.api.uploads.crashpoint", put_what_waits)


FAULTS = [without_fsync_of_objects, without_fsync_of_their_folders, with_the_commit_before_the_put]


def test_a_sample_of_power_cuts_breaks_no_promise(path, tmp_path):
    recorded = run_scenario(path, tmp_path, uploads=8, deletions=2, index_runs=3)

    sample = list(cuts(recorded.recording, share=0.05, seed=SEED))
    broken = [fault for cut in sample for fault in replay(cut, tmp_path / "cut", recorded.key)]

    assert len(sample) > 5
    assert broken == []


@pytest.mark.parametrize("apply", FAULTS)
def test_the_replays_notice(apply, path, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        apply(patch)
        recorded = run_scenario(path, tmp_path, uploads=1, deletions=0, index_runs=0)

    dropped = (cut for cut in cuts(recorded.recording) if cut.loss is Loss.DROPPED)
    found = (replay(cut, tmp_path / "cut", recorded.key) for cut in dropped)
    assert any("no bytes" in fault or "other bytes" in fault for some in found for fault in some)


@pytest.mark.parametrize("apply", FAULTS)
def test_the_store_beside_a_trusted_database_is_checked_too(apply, path, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        apply(patch)
        recorded = run_scenario(path, tmp_path, uploads=1, deletions=0, index_runs=0)

    assert any(check_commits(recorded.recording))


def test_a_commit_is_on_the_disk_when_it_returns(path):
    with record(path) as recording:
        deployment = Deployment.open(path)
        with deployment.transaction(write=True) as session:
            session.connection().exec_driver_sql("CREATE TABLE witness (word TEXT)")
        recording.mark("committed")
        deployment.close()

    disk = recording.replayed()
    effects = iter(recording.effects)
    while getattr(effect := next(effects), "what", None) != "committed":
        disk.take(effect)
    left = disk.after(Loss.DROPPED, SEED)

    assert b"CREATE TABLE witness" in (left["quetz.sqlite-wal"] or b"")


def test_a_deployment_is_on_the_disk_when_it_was_created(tmp_path):
    root, start = tmp_path / "root", "new/folder/"
    root.mkdir()

    with record(root) as recording:
        Creation(root / start, create_conf=True).run()
    disk = recording.replayed()
    for effect in recording.effects:
        disk.take(effect)
    left = disk.after(Loss.DROPPED, SEED)

    image = {path.removeprefix(start): left[path] for path in left if path.startswith(start)}
    assert replay(Cut(0, Loss.DROPPED, image, Promise()), tmp_path / "cut", "") == []


def test_effects_that_went_unseen_are_told(path):
    def write_unseen():
        with record(path):
            (path / "unseen").write_text("text")

    with pytest.raises(NotRecorded, match="unseen"):
        write_unseen()


def test_a_new_file_is_there_once_it_and_its_folder_are_synced():
    disk = Disk()
    for effect in (NewFile(1), Name(0, "file", 1), Write(1, 0, b"text"), Sync(1)):
        disk.take(effect)
    before = disk.after(Loss.DROPPED, SEED)

    disk.take(Sync(0))

    assert (before, disk.after(Loss.DROPPED, SEED)) == ({}, {"file": b"text"})


def test_a_name_may_outlive_its_bytes():
    disk = Disk()
    for effect in (NewFile(1), Name(0, "file", 1), Write(1, 0, b"text")):
        disk.take(effect)

    left = {disk.after(Loss.EMPTIED, seed)["file"] for seed in range(20)}

    assert left == {b"", bytes(4)}
