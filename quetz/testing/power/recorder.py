"""Records the effects that this process has on the files of a folder, in order."""

import os
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from quetz.storage import folders
from quetz.testing.power.disks import (
    ROOT,
    Disk,
    Effect,
    Mark,
    Name,
    NewFile,
    NewFolder,
    Sync,
    Truncate,
    Write,
)
from quetz.testing.power.sqlite_files import watched

LEFT_OUT = {"locks"}
"""Folders of a deployment whose files mean nothing after a restart."""

_SHM = "-shm"


class NotRecorded(AssertionError):
    """The disk holds something that the effects recorded do not lead to."""


@dataclass
class Recording:
    """What was on the disk, durably, and what happened to it since."""

    before: list[Effect]
    effects: list[Effect] = field(default_factory=list)

    def mark(self, what: object) -> None:
        """Let replays know that the scenario has come this far."""
        self.effects.append(Mark(what))

    def replayed(self) -> Disk:
        """Return the disk as it was before."""
        disk = Disk()
        for effect in self.before:
            disk.take(effect)
        disk.take(Sync(None))
        return disk


@contextmanager
def record(root: Path) -> Iterator[Recording]:
    """Record until the block ends. Databases below ``root`` have to be opened within.

    Raises:
        NotRecorded: at the end, when effects went unseen.
    """
    recorder = _Recorder(root.resolve())
    with recorder.watching():
        yield recorder.recording
    recorder.check_complete()


class _Recorder:
    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.RLock()
        self._numbers: dict[tuple[int, int], int] = {_identity(root.stat()): ROOT}
        self._next = ROOT + 1
        self.recording = Recording([])
        self._log = self.recording.before
        self._scan(root, ROOT)
        self._log = self.recording.effects

    def _scan(self, path: Path, folder: int) -> None:
        for entry in sorted(path.iterdir()):
            status = entry.lstat()
            if self._is_left_out(folder, entry.name) or not _is_plain(status):
                continue
            inode = self._made(folder, entry.name, status)
            if stat.S_ISDIR(status.st_mode):
                self._scan(entry, inode)
            else:
                self._log.append(Write(inode, 0, entry.read_bytes()))

    def _is_left_out(self, folder: int, name: str) -> bool:
        return name.endswith(_SHM) or (folder == ROOT and name in LEFT_OUT)

    def _made(self, folder: int, name: str, status: os.stat_result) -> int:
        inode, self._next = self._next, self._next + 1
        self._numbers[_identity(status)] = inode
        self._log.append(NewFolder(inode) if stat.S_ISDIR(status.st_mode) else NewFile(inode))
        self._log.append(Name(folder, name, inode))
        return inode

    def check_complete(self) -> None:
        disk = self.recording.replayed()
        for effect in self.recording.effects:
            disk.take(effect)
        known, real = disk.now(), dict(self._real(self._root, ROOT, ""))
        differing = [path for path in known | real if known.get(path, 0) != real.get(path, 0)]
        if differing:
            raise NotRecorded(f"effects on {', '.join(sorted(differing)[:5])} went unseen")

    def _real(self, path: Path, folder: int, prefix: str) -> Iterator[tuple[str, bytes | None]]:
        for entry in path.iterdir():
            if self._is_left_out(folder, entry.name) or not _is_plain(entry.lstat()):
                continue
            if entry.is_dir():
                yield prefix + entry.name, None
                yield from self._real(entry, -1, f"{prefix}{entry.name}/")
            else:
                yield prefix + entry.name, entry.read_bytes()

    @contextmanager
    def watching(self) -> Iterator[None]:
        replacements: dict[str, Callable[..., Any]] = {
            "open": self._open,
            "write": self._write,
            "writev": self._by_offset(os.writev),
            "copy_file_range": self._copy,
            "sendfile": self._by_offset(os.sendfile),
            "pwrite": self._pwrite,
            "ftruncate": self._ftruncate,
            "truncate": self._truncate,
            "fsync": self._syncing(os.fsync),
            "fdatasync": self._syncing(os.fdatasync),
            "sync": self._syncing(os.sync),
            "mkdir": self._mkdir,
            "rename": self._renaming(os.rename),
            "replace": self._renaming(os.replace),
            "link": self._link,
            "unlink": self._removing(os.unlink),
            "remove": self._removing(os.remove),
            "rmdir": self._removing(os.rmdir),
        }
        libc = folders._LIBC  # noqa: SLF001  the one call that Python's os lacks
        syncfs = libc.syncfs
        with ExitStack() as patches:
            for name, replacement in replacements.items():
                patches.enter_context(patch.object(os, name, replacement))
            patches.enter_context(patch.object(libc, "syncfs", self._syncing_all(syncfs)))
            patches.enter_context(watched(self))
            yield

    # What SQLite does, as sqlite_files.Watcher.

    def turn(self) -> threading.RLock:
        return self._lock

    def opened(self, path: str, *, existed: bool) -> int | None:
        folder, name = self._place(path)
        if folder is None or self._is_left_out(folder, name):
            return None
        status = os.stat(path)  # noqa: PTH116  a callback has to be quick
        if not existed:
            return self._made(folder, name, status)
        return self._numbers.get(_identity(status))

    def wrote(self, inode: int, start: int, data: bytes) -> None:
        self._log.append(Write(inode, start, data))

    def truncated(self, inode: int, size: int) -> None:
        self._log.append(Truncate(inode, size))

    def synced(self, inode: int) -> None:
        self._log.append(Sync(inode))

    def synced_folder(self, path: str) -> None:
        inode = self._numbers.get(_identity(Path(path).stat()))
        if inode is not None:
            self._log.append(Sync(inode))

    def deleted(self, path: str) -> None:
        folder, name = self._place(path)
        if folder is not None and not self._is_left_out(folder, name):
            self._log.append(Name(folder, name, None))

    # What Python does. Each has the effect first, and is recorded if that succeeded.

    def _open(self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        with self._lock:
            existed = not flags & os.O_CREAT or _exists(path, dir_fd)
            file = _REAL_OPEN(path, flags, mode, dir_fd=dir_fd)
            status = os.fstat(file)
            if not existed:
                folder, name = self._place(path, dir_fd)
                if folder is not None and not self._is_left_out(folder, name):
                    self._made(folder, name, status)
            elif flags & os.O_TRUNC and (inode := self._numbers.get(_identity(status))):
                self._log.append(Truncate(inode, 0))
            return file

    def _write(self, file: int, data: Any) -> int:
        with self._lock:
            inode = self._number(file)
            if inode is None:
                return _REAL_WRITE(file, data)
            start = os.lseek(file, 0, os.SEEK_CUR)
            written = _REAL_WRITE(file, data)
            self._log.append(Write(inode, start, bytes(memoryview(data).cast("B")[:written])))
            return written

    def _by_offset(self, real: Callable[..., int]) -> Callable[..., int]:
        def write(file: int, *arguments: Any, **options: Any) -> int:
            with self._lock:
                inode = self._number(file)
                if inode is None:
                    return real(file, *arguments, **options)
                start = os.lseek(file, 0, os.SEEK_CUR)
                written = real(file, *arguments, **options)
                self._read_back(file, inode, start, written)
                return written

        return write

    def _copy(
        self,
        source: int,
        target: int,
        count: int,
        offset_src: int | None = None,
        offset_dst: int | None = None,
    ) -> int:
        with self._lock:
            start = os.lseek(target, 0, os.SEEK_CUR) if offset_dst is None else offset_dst
            copied = _REAL_COPY(source, target, count, offset_src, offset_dst)
            inode = self._number(target)
            if inode is not None:
                self._read_back(target, inode, start, copied)
            return copied

    def _read_back(self, file: int, inode: int, start: int, size: int) -> None:
        reader = _REAL_OPEN(f"/proc/self/fd/{file}", os.O_RDONLY)
        try:
            self._log.append(Write(inode, start, os.pread(reader, size, start)))
        finally:
            os.close(reader)

    def _pwrite(self, file: int, data: Any, offset: int) -> int:
        with self._lock:
            written = _REAL_PWRITE(file, data, offset)
            inode = self._number(file)
            if inode is not None:
                self._log.append(Write(inode, offset, bytes(memoryview(data).cast("B")[:written])))
            return written

    def _ftruncate(self, file: int, size: int) -> None:
        with self._lock:
            _REAL_FTRUNCATE(file, size)
            inode = self._number(file)
            if inode is not None:
                self._log.append(Truncate(inode, size))

    def _truncate(self, path: Any, size: int) -> None:
        file = path if isinstance(path, int) else _REAL_OPEN(path, os.O_WRONLY)
        try:
            self._ftruncate(file, size)
        finally:
            if file is not path:
                os.close(file)

    def _syncing(self, real: Callable[..., None]) -> Callable[..., None]:
        def sync(*file: Any) -> None:
            with self._lock:
                real(*file)
                if not file:
                    self._log.append(Sync(None))
                    return
                descriptor = file[0] if isinstance(file[0], int) else file[0].fileno()
                inode = self._number(descriptor)
                if inode is not None:
                    self._log.append(Sync(inode))

        return sync

    def _syncing_all(self, real: Callable[[int], int]) -> Callable[[int], int]:
        def syncfs(file: int) -> int:
            with self._lock:
                code = real(file)
                if code == 0 and self._number(file) is not None:
                    self._log.append(Sync(None))
                return code

        return syncfs

    def _mkdir(self, path: Any, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        with self._lock:
            _REAL_MKDIR(path, mode, dir_fd=dir_fd)
            folder, name = self._place(path, dir_fd)
            if folder is not None and not self._is_left_out(folder, name):
                self._made(folder, name, os.stat(path, dir_fd=dir_fd))

    def _renaming(self, real: Callable[..., None]) -> Callable[..., None]:
        def rename(
            source: Any,
            target: Any,
            *,
            src_dir_fd: int | None = None,
            dst_dir_fd: int | None = None,
        ) -> None:
            with self._lock:
                inode = self._numbers.get(
                    _identity(
                        os.lstat(source)
                        if src_dir_fd is None
                        else os.stat(source, dir_fd=src_dir_fd, follow_symlinks=False)
                    )
                )
                real(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
                self._name(target, dst_dir_fd, inode)
                self._name(source, src_dir_fd, None)

        return rename

    def _link(
        self,
        source: Any,
        target: Any,
        *,
        src_dir_fd: int | None = None,
        dst_dir_fd: int | None = None,
        follow_symlinks: bool = True,
    ) -> None:
        with self._lock:
            _REAL_LINK(
                source,
                target,
                src_dir_fd=src_dir_fd,
                dst_dir_fd=dst_dir_fd,
                follow_symlinks=follow_symlinks,
            )
            status = os.stat(target, dir_fd=dst_dir_fd, follow_symlinks=False)
            self._name(target, dst_dir_fd, self._numbers.get(_identity(status)))

    def _removing(self, real: Callable[..., None]) -> Callable[..., None]:
        def remove(path: Any, *, dir_fd: int | None = None) -> None:
            with self._lock:
                real(path, dir_fd=dir_fd)
                self._name(path, dir_fd, None)

        return remove

    def _name(self, path: Any, dir_fd: int | None, inode: int | None) -> None:
        folder, name = self._place(path, dir_fd)
        if folder is not None and not self._is_left_out(folder, name):
            self._log.append(Name(folder, name, inode))

    def _place(self, path: Any, dir_fd: int | None = None) -> tuple[int | None, str]:
        """Return the number of the folder that a name is in, if it is recorded, and the name."""
        parent, name = os.path.split(os.fsdecode(path))
        try:
            status = (
                os.stat(parent or ".", dir_fd=dir_fd)
                if parent or dir_fd is None
                else (os.fstat(dir_fd))
            )
        except FileNotFoundError:
            return None, name
        return self._numbers.get(_identity(status)), name

    def _number(self, file: int) -> int | None:
        return self._numbers.get(_identity(os.fstat(file)))


_REAL_OPEN, _REAL_WRITE, _REAL_PWRITE = os.open, os.write, os.pwrite
_REAL_COPY, _REAL_FTRUNCATE = os.copy_file_range, os.ftruncate
_REAL_MKDIR, _REAL_LINK = os.mkdir, os.link


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _exists(path: Any, dir_fd: int | None) -> bool:
    try:
        os.stat(path, dir_fd=dir_fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _is_plain(status: os.stat_result) -> bool:
    return stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)
