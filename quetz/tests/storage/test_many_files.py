"""Files that are put at once: what is durable, and when."""

import ctypes
import errno
import hashlib

import pytest

from quetz.errors import StoreUnavailable
from quetz.storage import folders
from quetz.storage.keys import object_key
from quetz.testing.stores import leave_bytes

CONTENT = b"content"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
KEY = object_key(SHA256)


class FailingLibc:
    def syncfs(self, _file):
        ctypes.set_errno(errno.EIO)
        return -1


def test_many_files_become_durable_by_two_waits(store, effects):
    store.put_many([leave_bytes(store, content) for content in (b"one", b"other", b"one")])

    waits = [number for number, call in enumerate(effects) if call == ("syncfs", "store")]
    renames = [number for number, call in enumerate(effects) if call[0] == "rename"]
    assert waits == [0, 4]
    assert renames == [1, 2, 3]


def test_a_kernel_that_tells_of_no_failure_is_asked_for_each_file(store, effects, monkeypatch):
    monkeypatch.setattr(folders, "_TELLS_FAILURES", False)

    store.put_many([leave_bytes(store, CONTENT)])

    assert effects == [
        ("fsync", "a stage"),
        ("rename", "a stage", f"store/{KEY}"),
        ("fsync", f"store/objects/{SHA256[:2]}"),
    ]


def test_no_file_is_visible_whose_bytes_did_not_become_durable(store, monkeypatch):
    monkeypatch.setattr(folders, "_LIBC", FailingLibc())
    left = leave_bytes(store, CONTENT)

    with pytest.raises(StoreUnavailable, match="Input/output error"):
        store.put_many([left])

    assert store.size(KEY) is None
