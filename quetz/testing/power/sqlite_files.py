"""SQLite's own effects on its files, taken at its VFS: the functions by which it reaches a disk.

The library that Python's ``sqlite3`` uses is asked for its VFS, and two functions of it are
replaced while a recording runs; files that are opened meanwhile get others to write, truncate,
sync and close.
Connections that were open before go unseen.
"""

import _sqlite3
import ctypes
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

_POINTER = ctypes.c_void_p
_OPEN = ctypes.CFUNCTYPE(
    ctypes.c_int, _POINTER, _POINTER, _POINTER, ctypes.c_int, ctypes.POINTER(ctypes.c_int)
)
_DELETE = ctypes.CFUNCTYPE(ctypes.c_int, _POINTER, ctypes.c_char_p, ctypes.c_int)
_CLOSE = ctypes.CFUNCTYPE(ctypes.c_int, _POINTER)
_WRITE = ctypes.CFUNCTYPE(ctypes.c_int, _POINTER, _POINTER, ctypes.c_int, ctypes.c_int64)
_TRUNCATE = ctypes.CFUNCTYPE(ctypes.c_int, _POINTER, ctypes.c_int64)
_SYNC = ctypes.CFUNCTYPE(ctypes.c_int, _POINTER, ctypes.c_int)

_OK = 0
_CREATE = 0x4
# SQLite syncs the folder too when it first syncs one of these: a journal, a super-journal, a WAL.
_JOURNALS = 0x800 | 0x4000 | 0x80000


class _Vfs(ctypes.Structure):
    """``sqlite3_vfs``, as far as it is needed (sqlite3.h)."""

    _fields_ = (
        ("version", ctypes.c_int),
        ("file_size", ctypes.c_int),
        ("longest_path", ctypes.c_int),
        ("next", _POINTER),
        ("name", ctypes.c_char_p),
        ("app", _POINTER),
        ("open", _POINTER),
        ("delete", _POINTER),
    )


class _Methods(ctypes.Structure):
    """``sqlite3_io_methods`` (sqlite3.h)."""

    _fields_ = (
        ("version", ctypes.c_int),
        ("close", _POINTER),
        ("read", _POINTER),
        ("write", _POINTER),
        ("truncate", _POINTER),
        ("sync", _POINTER),
        ("others", _POINTER * 13),
    )


class Watcher(Protocol):
    """Hears of effects after they were had, each within ``turn``."""

    def turn(self) -> Any: ...
    def opened(self, path: str, *, existed: bool) -> int | None:
        """Return the file's number; None if it does not belong to what is recorded."""

    def wrote(self, inode: int, start: int, data: bytes) -> None: ...
    def truncated(self, inode: int, size: int) -> None: ...
    def synced(self, inode: int) -> None: ...
    def synced_folder(self, path: str) -> None: ...
    def deleted(self, path: str) -> None: ...


class _File:
    def __init__(self, inode: int, folder: str | None) -> None:
        self.inode = inode
        self.unsynced_folder = folder


class _Shim:
    """Stays for the life of the process: SQLite keeps pointers to what is in here."""

    def __init__(self) -> None:
        self.watcher: Watcher | None = None
        library = ctypes.CDLL(getattr(_sqlite3, "__file__", None))
        library.sqlite3_vfs_find.restype = ctypes.POINTER(_Vfs)
        self.vfs = library.sqlite3_vfs_find(None).contents
        self._open = _OPEN(self.vfs.open)
        self._delete = _DELETE(self.vfs.delete)
        self.former = self.vfs.open, self.vfs.delete
        self._replacements = _OPEN(self._opens), _DELETE(self._deletes)
        self._files: dict[int, _File] = {}
        self._methods: dict[int, tuple[_Methods, list[Any]]] = {}

    def replace(self) -> None:
        self.vfs.open, self.vfs.delete = (
            ctypes.cast(function, _POINTER).value for function in self._replacements
        )

    def restore(self) -> None:
        self.vfs.open, self.vfs.delete = self.former

    def forget(self) -> None:
        self._files.clear()

    def _opens(self, vfs: int, name: int | None, file: int, flags: int, out: Any) -> int:
        code: int
        if self.watcher is None or name is None:
            code = self._open(vfs, name, file, flags, out)
            return code
        path = os.fsdecode(ctypes.string_at(name))
        with self.watcher.turn():
            existed = os.path.exists(path)  # noqa: PTH110  a callback has to be quick
            code = self._open(vfs, name, file, flags, out)
            if code != _OK:
                return code
            inode = self.watcher.opened(path, existed=existed)
        if inode is not None:
            is_journal = flags & _CREATE and flags & _JOURNALS
            self._files[file] = _File(inode, os.path.dirname(path) if is_journal else None)  # noqa: PTH120
            methods = _POINTER.from_address(file)
            assert methods.value is not None
            methods.value = ctypes.addressof(self._watching(methods.value))
        return code

    def _deletes(self, vfs: int, name: bytes, sync_folder: int) -> int:
        watcher, path = self.watcher, os.fsdecode(name)
        code: int
        if watcher is None:
            code = self._delete(vfs, name, sync_folder)
            return code
        with watcher.turn():
            code = self._delete(vfs, name, sync_folder)
            if code == _OK:
                watcher.deleted(path)
                if sync_folder:
                    watcher.synced_folder(os.path.dirname(path))  # noqa: PTH120
        return code

    def _watching(self, address: int) -> _Methods:
        """Return the methods at ``address``, with those that have effects replaced."""
        if address not in self._methods:
            methods = _Methods.from_buffer_copy(_Methods.from_address(address))
            close, write = _CLOSE(methods.close), _WRITE(methods.write)
            truncate, sync = _TRUNCATE(methods.truncate), _SYNC(methods.sync)

            def closes(file: int) -> int:
                self._files.pop(file, None)
                code: int = close(file)
                return code

            def writes(file: int, data: int, size: int, start: int) -> int:
                return self._having(
                    file,
                    lambda: write(file, data, size, start),
                    lambda to, one: to.wrote(one.inode, start, ctypes.string_at(data, size)),
                )

            def truncates(file: int, size: int) -> int:
                return self._having(
                    file,
                    lambda: truncate(file, size),
                    lambda to, one: to.truncated(one.inode, size),
                )

            def syncs(file: int, flags: int) -> int:
                return self._having(file, lambda: sync(file, flags), _tell_sync)

            made = [_CLOSE(closes), _WRITE(writes), _TRUNCATE(truncates), _SYNC(syncs)]
            methods.close, methods.write, methods.truncate, methods.sync = (
                ctypes.cast(function, _POINTER).value for function in made
            )
            self._methods[address] = methods, made
        return self._methods[address][0]

    def _having(
        self, file: int, effect: Callable[[], int], tell: Callable[[Watcher, _File], None]
    ) -> int:
        if self.watcher is None or file not in self._files:
            return effect()
        with self.watcher.turn():
            code = effect()
            if code == _OK:
                tell(self.watcher, self._files[file])
        return code


def _tell_sync(watcher: Watcher, file: _File) -> None:
    watcher.synced(file.inode)
    if file.unsynced_folder is not None:
        watcher.synced_folder(file.unsynced_folder)
        file.unsynced_folder = None


_shims: list[_Shim] = []


@contextmanager
def watched(watcher: Watcher) -> Iterator[None]:
    """Tell ``watcher`` what SQLite does to files, for connections that are opened from now on."""
    if not _shims:
        _shims.append(_Shim())
    [shim] = _shims
    shim.watcher = watcher
    shim.replace()
    try:
        yield
    finally:
        shim.restore()
        shim.watcher = None
        shim.forget()
