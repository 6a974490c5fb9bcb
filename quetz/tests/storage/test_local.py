import errno
import hashlib
import os
import resource
import stat
from contextlib import suppress
from pathlib import Path

import pytest

from quetz.errors import ObjectMissing, StorageFull, StoreUnavailable
from quetz.storage import Slice
from quetz.storage.keys import index_key, object_key
from quetz.storage.local import LocalStore
from quetz.testing.stores import StoreConformance, leave_bytes, put_bytes, read_bytes

CONTENT = b"content"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
KEY = object_key(SHA256)
INDEX = index_key(1, "noarch", "a.json")


class TestLocalStore(StoreConformance):
    pass


@pytest.fixture
def outside(tmp_path):
    """Make a folder beside the store, which nothing done to the store may touch."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "canary").write_text("untouched")
    yield folder
    assert {path.name: path.read_text() for path in folder.iterdir()} == {"canary": "untouched"}


def put_left(store, content):
    store.put_many([leave_bytes(store, content)])


def open_descriptors():
    return sorted(path.name for path in Path("/proc/self/fd").iterdir())


# What is copied


@pytest.mark.parametrize("code", [errno.EXDEV, errno.ENOSYS, errno.EPERM, errno.EIO])
def test_slices_are_copied_where_the_kernel_cannot(store, monkeypatch, code):
    def refused(*_arguments):
        raise OSError(code, os.strerror(code))

    content = bytes(range(256)) * 4096
    store.write_index(INDEX, content)
    monkeypatch.setattr(os, "copy_file_range", refused)
    parts = [b"start", Slice(INDEX, 3, len(content)), Slice(INDEX, 0, 3), b"end"]

    store.write_index(INDEX, parts)

    assert store.read_index(INDEX) == b"start" + content[3:] + content[:3] + b"end"
    with pytest.raises(ObjectMissing):
        store.write_index(INDEX, [Slice(INDEX, 0, len(content) + 9)])


def test_a_failed_copy_leaves_no_stage_and_no_descriptor(store, root):
    before = open_descriptors()

    with pytest.raises(ObjectMissing):
        store.write_index(INDEX, [b"start", Slice(index_key(1, "noarch", "gone"), 0, 1)])

    assert [path.name for path in root.glob("staging/*/*")] == ["lock"]
    assert open_descriptors() == before


# What is durable, and when


def test_bytes_are_durable_before_their_name_and_the_name_before_the_return(store, effects):
    put_bytes(store, CONTENT)

    assert effects == [
        ("fsync", "a stage"),
        ("rename", "a stage", f"store/{KEY}"),
        ("fsync", f"store/objects/{SHA256[:2]}"),
    ]


def test_the_name_of_bytes_that_were_there_is_made_durable_too(store, effects):
    put_bytes(store, CONTENT)
    effects.clear()

    put_bytes(store, CONTENT)

    assert effects[-1] == ("fsync", f"store/objects/{SHA256[:2]}")


def test_a_new_store_is_durable(effects, root):
    LocalStore.create(root.parent / "other").close()

    folders = [path for call, path in effects if call == "fsync"]
    assert folders == ["", "other/objects", "other"]
    assert len(list((root.parent / "other" / "objects").iterdir())) == 256


def test_an_index_file_is_renamed_without_fsync(store, effects):
    store.write_index(INDEX, b"{}")

    assert effects == [("rename", "a stage", f"store/{INDEX}")]


def test_bytes_that_did_not_become_durable_can_not_be_put(store, monkeypatch):
    def broken(_file):
        raise OSError(errno.EIO, "Input/output error")

    stage = store.stage()
    stage.write(CONTENT)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", broken)
        with pytest.raises(StoreUnavailable, match="Input/output error"):
            store.put(stage, KEY)

    with pytest.raises(StoreUnavailable):  # by now fsync would succeed
        store.put(stage, KEY)

    assert store.size(KEY) is None


def test_a_stage_that_missed_some_bytes_takes_no_more(store, room_for_16_mb):
    with store.stage() as stage:
        with pytest.raises(StorageFull):
            stage.write(bytes(17 * 2**20))

        with pytest.raises(ValueError, match="finished"):
            stage.write(CONTENT)


@pytest.mark.parametrize("put", [put_bytes, put_left])
@pytest.mark.parametrize("damaged", [b"torn", b"flipped"])
def test_a_damaged_object_is_replaced(store, root, put, damaged):
    put_bytes(store, CONTENT)
    (root / str(KEY)).write_bytes(damaged)

    put(store, CONTENT)

    assert read_bytes(store, KEY) == CONTENT


def test_bytes_that_are_put_anew_while_they_are_judged_stay(store, root, monkeypatch):
    put_bytes(store, CONTENT)
    (root / str(KEY)).write_bytes(b"flipped")
    digest = hashlib.file_digest

    def digest_then_put(file, name):
        found = digest(file, name)
        put_bytes(store, CONTENT)
        return found

    monkeypatch.setattr(hashlib, "file_digest", digest_then_put)

    assert store.set_aside(KEY) is None

    assert read_bytes(store, KEY) == CONTENT
    assert list((root / "quarantine").iterdir()) == []


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o000, 0o644)])
def test_files_can_be_written_by_their_owner_only(store, root, umask, mode):
    before = os.umask(umask)
    try:
        put_bytes(store, CONTENT)
        store.write_index(INDEX, b"{}")
    finally:
        os.umask(before)

    for key in (KEY, INDEX):
        assert stat.S_IMODE((root / str(key)).stat().st_mode) == mode


# Links, and other things that are no plain files


def test_a_link_in_the_place_of_an_object_is_no_object(store, root, outside):
    (root / str(KEY)).symlink_to(outside / "canary")

    assert store.size(KEY) is None
    assert store.path(KEY) is None
    assert list(store.list_objects()) == []
    with pytest.raises(ObjectMissing):
        store.open_file(KEY)


def test_a_link_in_the_place_of_an_object_is_replaced(store, root, outside):
    (root / str(KEY)).symlink_to(outside / "canary")

    put_bytes(store, CONTENT)

    assert not (root / str(KEY)).is_symlink()
    assert read_bytes(store, KEY) == CONTENT


def test_a_link_in_the_place_of_an_index_file_is_replaced(store, root, outside):
    store.write_index(INDEX, b"{}")
    (root / str(INDEX)).unlink()
    (root / str(INDEX)).symlink_to(outside / "canary")
    assert store.read_index(INDEX) is None

    store.write_index(INDEX, b"new")

    assert store.read_index(INDEX) == b"new"


def test_a_link_in_the_place_of_a_folder_of_objects_is_refused(store, root, outside):
    folder = root / "objects" / SHA256[:2]
    folder.rmdir()
    folder.symlink_to(outside)

    for attempt in (
        lambda: put_bytes(store, CONTENT),
        lambda: store.size(KEY),
        lambda: store.open_file(KEY),
        lambda: store.delete(KEY),
        lambda: list(store.list_objects()),
    ):
        with pytest.raises(StoreUnavailable):
            attempt()


def test_a_link_in_the_place_of_a_folder_of_index_files_is_refused(store, root, outside):
    (root / "index" / "1").mkdir()
    (root / "index" / "1" / "noarch").symlink_to(outside)
    key = index_key(1, "noarch", "canary")

    for attempt in (
        lambda: store.write_index(key, b"{}"),
        lambda: store.read_index(key),
        lambda: store.delete_index(key),
    ):
        with pytest.raises(StoreUnavailable):
            attempt()
    assert list(store.list_index()) == []


@pytest.mark.parametrize("name", ["objects", "index", "staging"])
def test_a_store_with_a_link_for_a_folder_does_not_open(store, root, outside, name):
    store.close()
    (root / name).rename(root / "moved")
    (root / name).symlink_to(outside)

    with pytest.raises(StoreUnavailable):
        LocalStore.open(root)


def test_the_store_itself_may_be_behind_a_link(store, root):
    put_bytes(store, CONTENT)
    (root.parent / "link").symlink_to(root)

    behind = LocalStore.open(root.parent / "link")

    assert read_bytes(behind, KEY) == CONTENT
    behind.close()


def test_a_named_pipe_in_the_place_of_an_object_blocks_nobody(store, root):
    os.mkfifo(root / str(KEY))

    with pytest.raises(ObjectMissing):
        store.open_file(KEY)


def test_strange_files_are_not_listed(store, root):
    store.write_index(INDEX, b"{}")
    for stray in ["objects/ab/readme", "objects/readme", "index/readme", "index/1/readme"]:
        (root / stray).write_text("stray")
    (root / "index" / "1" / "noarch" / ".hidden").write_text("stray")
    (root / "index" / "lost+found").mkdir()

    assert list(store.list_objects()) == []
    assert list(store.list_index()) == [str(INDEX)]


# What fails


def test_a_folder_without_objects_is_no_store(tmp_path):
    with pytest.raises(StoreUnavailable, match="objects"):
        LocalStore.open(tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_a_store_is_completed_when_it_opens(store, root):
    put_bytes(store, CONTENT)
    store.close()
    for folder in (root / "objects").iterdir():
        if not any(folder.iterdir()):
            folder.rmdir()  # as a copy without empty folders
    (root / "index").rmdir()
    (root / "staging").rmdir()

    again = LocalStore.open(root)

    assert put_bytes(again, b"more") != KEY
    assert again.size(KEY) == len(CONTENT)
    again.close()


@pytest.fixture
def room_for_16_mb():
    """Let no file of this process grow further; the system answers as if the disk were full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16 * 2**20, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_named_and_leaves_nothing(store, root, room_for_16_mb):
    with pytest.raises(StorageFull):
        put_bytes(store, bytes(17 * 2**20))
    with pytest.raises(StorageFull):
        store.write_index(INDEX, bytes(17 * 2**20))

    assert [path.name for path in root.glob("staging/*/*")] == ["lock"]
    assert list(store.list_objects()) == []
    assert store.read_index(INDEX) is None


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_store_without_room_fails_its_check(store, monkeypatch, code):
    def full(_file, _data):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "write", full)

    with pytest.raises(StorageFull):
        store.check()


def test_a_store_that_went_away_fails_its_check(store, root):
    root.rename(root.parent / "moved")

    with pytest.raises(StoreUnavailable) as caught:
        store.check()

    assert str(root) not in str(caught.value)


def test_no_descriptor_stays_open(store, root, monkeypatch):
    def refused(*_arguments, **_options):
        raise OSError(errno.EIO, "Input/output error")

    put_bytes(store, CONTENT)
    before = open_descriptors()

    for name in ("write", "fsync", "rename", "mkdir"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, refused)
            for attempt in (
                lambda: put_bytes(store, b"more"),
                lambda: store.write_index(INDEX, b"{}"),
                lambda: LocalStore.create(root).close(),
            ):
                with suppress(StoreUnavailable):
                    attempt()
    (root / "objects" / "ff").rmdir()
    (root / "objects" / "ff").symlink_to(root)
    with pytest.raises(StoreUnavailable):
        list(store.list_objects())

    assert open_descriptors() == before


def test_a_store_whose_objects_are_gone_is_away(store, root):
    objects, elsewhere = root / "objects", root / "elsewhere"
    objects.rename(elsewhere)

    with pytest.raises(StoreUnavailable):
        store.check()

    elsewhere.rename(objects)
