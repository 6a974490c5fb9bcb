"""Empty stores to lend to tests: making the folders of a store takes longer than most tests."""

import os
import shutil
from pathlib import Path

from quetz.storage.local import INDEX, OBJECTS, QUARANTINE, STAGING, LocalStore


class SpareStores:
    """Lends an empty store, and empties it for the next test when it comes back."""

    def __init__(self, folder: Path) -> None:
        self._spare = folder / "store"

    def lend(self, path: Path) -> None:
        """Make an empty store at ``path``."""
        if self._spare.exists():
            self._spare.rename(path)
        else:
            LocalStore.create(path).close()

    def take_back(self, path: Path) -> None:
        """Keep the closed store at ``path``, unless a test changed more than its files."""
        fan_out = path / OBJECTS
        if self._spare.exists() or not fan_out.is_dir():
            return
        folders = [*os.scandir(path), *os.scandir(fan_out)]
        if path.is_symlink() or not all(one.is_dir(follow_symlinks=False) for one in folders):
            return
        for name in (INDEX, STAGING, QUARANTINE):
            shutil.rmtree(path / name, ignore_errors=True)
        for folder in os.scandir(fan_out):
            for file in os.scandir(folder):
                os.unlink(file)  # noqa: PTH108  # Path and its glob take several times as long
        path.rename(self._spare)
