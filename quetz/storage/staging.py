"""Staging: files on the store's own file system that are not part of it yet."""

import fcntl
import hashlib
import itertools
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import uuid4

from quetz.crashpoints import crashpoint
from quetz.storage.failures import store_failures
from quetz.storage.folders import FILE_MODE, FOLDER_MODE, NEW_FILE, open_root, write_all

LOCK = "lock"
BATCH_SIZE = 1024 * 1024
"""Bytes for which it pays to wake another thread."""

# hashlib lets go of the GIL, so the md5 of large files is made beside sha256 and the writes.
_md5_threads = ThreadPoolExecutor(max_workers=os.cpu_count(), thread_name_prefix="md5")


@dataclass(frozen=True)
class StagedFile:
    """A whole file that a stage left behind, to be put or discarded.

    Another process may do that, while the store lives that staged it. The bytes need not be
    durable yet.
    """

    path: Path
    size: int
    sha256: str
    md5: str

    def discard(self) -> None:
        """Remove the file. Repeatable, and harmless once it was put."""
        with suppress(OSError):  # what stays goes with the staging area
            self.path.unlink()


class Stage:
    """A new file that takes bytes and hashes them, for one thread at a time.

    As a context manager it discards itself, unless it was put into a store or left.
    """

    def __init__(self, path: Path) -> None:
        with store_failures():
            self._file: int | None = os.open(path, NEW_FILE, FILE_MODE)
        self._path = path
        self._left = False
        self._size = 0
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._batch: list[bytes] = []  # written, and not in the md5 yet
        self._batch_size = 0
        self._hashing: Future[None] | None = None

    @property
    def path(self) -> Path:
        return self._path

    @property
    def size(self) -> int:
        return self._size

    @property
    def sha256(self) -> str:
        """64 hex digits."""
        return self._sha256.hexdigest()

    @property
    def md5(self) -> str:
        """32 hex digits."""
        self._wait_for_md5()
        _update(self._md5, self._batch)
        self._batch, self._batch_size = [], 0
        return self._md5.hexdigest()

    def write(self, data: bytes) -> None:
        """Append ``data``.

        Raises:
            StorageFull, StoreUnavailable: the disk refuses; the stage is discarded.
        """
        if self._file is None:
            raise ValueError("the stage is finished")
        self._batch.append(data)
        self._batch_size += len(data)
        if self._batch_size >= BATCH_SIZE:
            self._wait_for_md5()
            self._hashing = _md5_threads.submit(_update, self._md5, self._batch)
            self._batch, self._batch_size = [], 0
        self._sha256.update(data)
        with self._discarded_on_failure():
            write_all(self._file, data)
            crashpoint("stage.written")
        self._size += len(data)

    def finish(self) -> None:
        """Make the bytes durable; nothing can be written afterwards. Repeatable.

        Raises:
            StorageFull, StoreUnavailable: the disk refuses; the stage is discarded.
        """
        if self._file is None:
            return
        with self._discarded_on_failure():
            os.fsync(self._file)
            self._close()

    def leave(self) -> StagedFile:
        """End the stage without a wait for the disk; the file stays until its store closes."""
        left = StagedFile(self._path, self._size, self.sha256, self.md5)
        with self._discarded_on_failure():
            self._close()
        self._left = True
        return left

    def discard(self) -> None:
        """Remove the file. Repeatable, and harmless once the stage was put."""
        if self._left:
            return
        with suppress(OSError):
            self._close()
        with suppress(OSError):  # what stays goes with the staging area
            self._path.unlink()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.discard()

    @contextmanager
    def _discarded_on_failure(self) -> Iterator[None]:
        # A second try must not succeed: Linux reports a failed write-back to one fsync only.
        with store_failures():
            try:
                yield
            except OSError:
                self.discard()
                raise

    def _wait_for_md5(self) -> None:
        if self._hashing is not None:
            self._hashing.result()
            self._hashing = None

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            os.close(file)


def _update(digest: "hashlib._Hash", batch: list[bytes]) -> None:
    for data in batch:
        digest.update(data)


class StagingArea:
    """The folder of one owner's stages, in a folder that several processes share.

    The owner holds a lock while it lives. Who opens an area removes those whose owner is gone,
    so that nothing stays behind a killed process for longer than until the next start.
    """

    def __init__(self, path: Path, lock: int) -> None:
        self._path = path
        self._lock = lock
        self._numbers = itertools.count(1)  # its next() is atomic

    @classmethod
    def open(cls, shared: Path) -> "StagingArea":
        """Make an area of one's own in the folder ``shared``, and remove dead ones."""
        with store_failures(), _turn(shared):
            _remove_dead(shared)
            path = shared / uuid4().hex
            path.mkdir(FOLDER_MODE)
            lock = os.open(path / LOCK, NEW_FILE, FILE_MODE)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
            except OSError:
                os.close(lock)
                raise
            return cls(path, lock)

    def remove_dead(self) -> None:
        """Remove the areas beside this one whose owners are gone."""
        shared = self._path.parent
        with store_failures(), _turn(shared):
            _remove_dead(shared)

    def new_path(self) -> Path:
        """Return a path in the area that no file has."""
        return self._path / str(next(self._numbers))

    def close(self) -> None:
        """Remove the area with all its stages. Repeatable."""
        lock, self._lock = self._lock, -1
        if lock == -1:
            return
        shutil.rmtree(self._path, ignore_errors=True)
        os.close(lock)


@contextmanager
def _turn(shared: Path) -> Iterator[None]:
    """Wait until no other process makes or removes areas: one just made holds no lock yet."""
    folder = open_root(shared)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _remove_dead(shared: Path) -> None:
    for entry in list(os.scandir(shared)):
        if entry.is_dir(follow_symlinks=False) and not _is_owned(Path(entry.path)):
            shutil.rmtree(entry.path, ignore_errors=True)


def _is_owned(area: Path) -> bool:
    try:
        lock = os.open(area / LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(lock)
