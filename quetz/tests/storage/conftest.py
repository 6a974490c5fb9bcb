import os
from pathlib import Path

import pytest

from quetz.storage import folders


@pytest.fixture
def root(store, tmp_path):
    return tmp_path / "store"


def opened(file):
    return Path(f"/proc/self/fd/{file}").readlink()


@pytest.fixture
def effects(root, monkeypatch):
    """Record in their order the calls by which bytes become durable and visible."""
    calls: list[tuple[str, ...]] = []
    fsync, rename = os.fsync, os.rename

    def shown(path):
        parts = path.relative_to(root.parent).parts
        return "a stage" if "staging" in parts else "/".join(parts)

    def recording_fsync(file):
        calls.append(("fsync", shown(opened(file))))
        fsync(file)

    def recording_rename(source, target, *, dst_dir_fd):
        calls.append(("rename", shown(source), shown(opened(dst_dir_fd) / target)))
        rename(source, target, dst_dir_fd=dst_dir_fd)

    class RecordingLibc:
        def syncfs(self, file):
            calls.append(("syncfs", shown(opened(file))))
            return 0

    monkeypatch.setattr(folders, "_LIBC", RecordingLibc())
    monkeypatch.setattr(os, "fsync", recording_fsync)
    monkeypatch.setattr(os, "rename", recording_rename)
    return calls
