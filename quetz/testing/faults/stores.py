"""An object store that fails once, at a call that a test names."""

import errno
import io
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import Enum, auto
from pathlib import Path
from typing import BinaryIO, TypeVar

from quetz.storage import ObjectStore, Slice, Stage, StagedFile, StoreKey
from quetz.storage.failures import store_failures
from quetz.testing.faults.triggers import Trigger

Result = TypeVar("Result")


class StoreFault(Enum):
    """What goes wrong with one call."""

    BEFORE = auto()
    """An input/output error, and nothing was done."""

    AFTER = auto()
    """It was done, and an error is all that the caller hears."""

    TIMED_OUT = auto()
    """No answer in time, and nothing was done."""

    FULL = auto()
    """No space left on the device, and nothing was done."""

    SHORT_WRITE = auto()
    """A part was written, then there was no space left."""

    WRONG_BYTES = auto()
    """What is read is not what was written."""

    STALE_LIST = auto()
    """A listing of before: without what was put, and with what was deleted through this store."""


WRITES = {"stage", "write", "finish", "leave", "put", "put_many", "write_index", "check"}
_ALWAYS = [StoreFault.BEFORE, StoreFault.AFTER, StoreFault.TIMED_OUT]
_SPECIAL: dict[StoreFault, set[str]] = {
    StoreFault.FULL: WRITES,
    StoreFault.SHORT_WRITE: {"write", "put_many", "write_index"},
    StoreFault.WRONG_BYTES: {"open_file", "read_index"},
    StoreFault.STALE_LIST: {"list_objects", "list_index"},
}
_BEFORE = {
    StoreFault.BEFORE: errno.EIO,
    StoreFault.TIMED_OUT: errno.ETIMEDOUT,
    StoreFault.FULL: errno.ENOSPC,
}
BEFORE_EFFECT = frozenset(_BEFORE)


def faults_of(method: str) -> list[StoreFault]:
    """Return what may go wrong with a method."""
    return _ALWAYS + [fault for fault, methods in _SPECIAL.items() if method in methods]


class FaultyStore:
    """Passes every call on to another store, but for the one that is to fail.

    The methods of its stages are counted as its own: ``write``, ``finish`` and ``leave``. What is
    raised is an ``OSError``, translated as every driver does. Opened in another process, it is the
    other store.
    """

    def __init__(self, store: ObjectStore) -> None:
        self.trigger: Trigger[StoreFault] = Trigger()
        self._store = store
        self._put: dict[str, int] = {}
        self._deleted: dict[str, int] = {}
        self._written: set[str] = set()
        self._removed: set[str] = set()

    def fail(self, fault: StoreFault, *, at: int = 1, method: str | None = None) -> None:
        """Let the call number ``at`` from now on fail, of any method or of one.

        Raises:
            ValueError: the fault cannot happen to the method.
        """
        if method is not None and fault not in faults_of(method):
            raise ValueError(f"{fault} does not happen to {method}")
        self.trigger.arm(fault, at=at, name=method)

    def __reduce__(self) -> str | tuple[object, ...]:
        return self._store.__reduce__()

    def stage(self) -> Stage:
        return self._call("stage", lambda: _CountedStage(self._store.stage(), self.trigger))

    def remove_dead_stages(self) -> None:
        self._call("remove_dead_stages", self._store.remove_dead_stages)

    def put(self, stage: Stage, key: StoreKey) -> None:
        self._call("put", lambda: self._store.put(stage, key))
        self._note_put(stage.sha256, stage.size)

    def put_many(self, files: Sequence[StagedFile]) -> None:
        fault = self.trigger.count("put_many")
        if fault is StoreFault.SHORT_WRITE:
            self._store.put_many(files[: len(files) // 2])
            fault = StoreFault.FULL
        _with_fault(fault, lambda: self._store.put_many(files))
        for file in files:
            self._note_put(file.sha256, file.size)

    def size(self, key: StoreKey) -> int | None:
        return self._call("size", lambda: self._store.size(key))

    def has_all(self, keys: Iterable[StoreKey]) -> bool:
        return self._call("has_all", lambda: self._store.has_all(keys))

    def open_file(self, key: StoreKey) -> BinaryIO:
        fault = self.trigger.count("open_file")
        file = _with_fault(fault, lambda: self._store.open_file(key))
        if fault is StoreFault.WRONG_BYTES:
            with file:
                return io.BytesIO(_changed(file.read()))
        return file

    def path(self, key: StoreKey) -> Path | None:
        return self._call("path", lambda: self._store.path(key))

    def delete(self, key: StoreKey) -> None:
        size = self._store.size(key)
        self._call("delete", lambda: self._store.delete(key))
        sha256 = str(key).rpartition("/")[2]
        if size is not None and self._put.pop(sha256, None) is None:
            self._deleted[sha256] = size

    def set_aside(self, key: StoreKey) -> str | None:
        return self._call("set_aside", lambda: self._store.set_aside(key))

    def list_objects(self) -> Iterator[tuple[str, int]]:
        fault = self.trigger.count("list_objects")
        listed = dict(_with_fault(fault, lambda: list(self._store.list_objects())))
        if fault is StoreFault.STALE_LIST:
            listed = {sha256: size for sha256, size in listed.items() if sha256 not in self._put}
            listed |= self._deleted
        yield from listed.items()

    def write_index(self, key: StoreKey, parts: bytes | Iterable[bytes | Slice]) -> None:
        fault = self.trigger.count("write_index")
        if fault is StoreFault.SHORT_WRITE:
            parts = _breaking_off([parts] if isinstance(parts, bytes) else parts)
        existed = self._store.size(key) is not None
        _with_fault(fault, lambda: self._store.write_index(key, parts))
        if not existed:
            self._written.add(str(key))
            self._removed.discard(str(key))

    def read_index(self, key: StoreKey) -> bytes | None:
        fault = self.trigger.count("read_index")
        data = _with_fault(fault, lambda: self._store.read_index(key))
        return _changed(data) if fault is StoreFault.WRONG_BYTES and data is not None else data

    def delete_index(self, key: StoreKey) -> None:
        existed = self._store.size(key) is not None
        self._call("delete_index", lambda: self._store.delete_index(key))
        if existed and str(key) not in self._written:
            self._removed.add(str(key))
        self._written.discard(str(key))

    def list_index(self, channel_id: int | None = None) -> Iterator[str]:
        fault = self.trigger.count("list_index")
        listed = set(_with_fault(fault, lambda: list(self._store.list_index(channel_id))))
        if fault is StoreFault.STALE_LIST:
            start = "index/" if channel_id is None else f"index/{channel_id}/"
            removed = {key for key in self._removed if key.startswith(start)}
            listed = (listed - self._written) | removed
        yield from listed

    def check(self) -> None:
        self._call("check", self._store.check)

    def close(self) -> None:
        self._store.close()

    def _call(self, method: str, effect: Callable[[], Result]) -> Result:
        return _with_fault(self.trigger.count(method), effect)

    def _note_put(self, sha256: str, size: int) -> None:
        if self._deleted.pop(sha256, None) is None:
            self._put[sha256] = size


class _CountedStage(Stage):
    """A stage of the other store: it takes over its file and what is known of its bytes."""

    def __init__(self, stage: Stage, trigger: Trigger[StoreFault]) -> None:
        vars(self).update(vars(stage))
        self._trigger = trigger

    def write(self, data: bytes) -> None:
        fault = self._trigger.count("write")
        if fault is StoreFault.SHORT_WRITE:
            super().write(data[: len(data) // 2])
            fault = StoreFault.FULL
        self._with_fault(fault, lambda: super(_CountedStage, self).write(data))

    def finish(self) -> None:
        # What is finished does nothing, so that nothing of it can fail.
        fault = None if self._file is None else self._trigger.count("finish")
        self._with_fault(fault, super().finish)

    def leave(self) -> StagedFile:
        return self._with_fault(self._trigger.count("leave"), super().leave)

    def _with_fault(self, fault: StoreFault | None, effect: Callable[[], Result]) -> Result:
        with self._discarded_on_failure():
            return _raising(fault, effect)


def _with_fault(fault: StoreFault | None, effect: Callable[[], Result]) -> Result:
    with store_failures():
        return _raising(fault, effect)


def _raising(fault: StoreFault | None, effect: Callable[[], Result]) -> Result:
    if fault in _BEFORE:
        raise _os_error(_BEFORE[fault])
    result = effect()
    if fault is StoreFault.AFTER:
        _let_go(result)
        raise _os_error(errno.EIO)
    return result


def _os_error(code: int) -> OSError:
    return OSError(code, os.strerror(code))


def _let_go(result: object) -> None:
    """Close what the caller never gets."""
    if isinstance(result, Stage):
        result.discard()
    elif isinstance(result, io.IOBase):
        result.close()


def _changed(data: bytes) -> bytes:
    """Return the bytes with one of them changed, in the midst."""
    place = len(data) // 2
    return data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :] if data else b"\0"


def _breaking_off(parts: Iterable[bytes | Slice]) -> Iterator[bytes | Slice]:
    """Yield the first part, or half of it, and fail."""
    for part in parts:
        yield part[: len(part) // 2] if isinstance(part, bytes) else part
        break
    raise _os_error(errno.ENOSPC)
