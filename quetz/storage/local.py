"""The object store on local disk."""

import hashlib
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import BinaryIO

from quetz.crashpoints import crashpoint
from quetz.errors import BadName, ObjectMissing, StoreUnavailable
from quetz.storage import Slice
from quetz.storage.failures import store_failures
from quetz.storage.folders import (
    FILE_MODE,
    FOLDER_MODE,
    NEW_FILE,
    READING,
    copy_bytes,
    folder_below,
    make_durable,
    make_folder,
    open_root,
    plain_file_size,
    sync,
    write_all,
)
from quetz.storage.keys import StoreKey, object_key, parse_index_key
from quetz.storage.staging import Stage, StagedFile, StagingArea

OBJECTS = "objects"
INDEX = "index"
STAGING = "staging"
QUARANTINE = "quarantine"
FAN_OUT = [f"{byte:02x}" for byte in range(256)]

_SHA256 = re.compile(r"[0-9a-f]{64}")


class LocalStore:
    """A folder of objects, index files and stages, all on one file system.

    An object's name appears by one rename of a file that is durable, and the folder is durable
    before ``put`` returns. Only plain files in plain folders count: links are never followed.
    """

    def __init__(self, path: Path, root: int, staging: StagingArea) -> None:
        self._path = path
        self._root = root
        self._staging = staging

    @classmethod
    def create(cls, path: Path) -> "LocalStore":
        """Make an empty store, or complete one, and open it."""
        with store_failures():
            path.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
            (path / OBJECTS).mkdir(FOLDER_MODE, exist_ok=True)
            sync(path.parent)
        return cls.open(path)

    @classmethod
    def open(cls, path: Path) -> "LocalStore":
        """Open a store.

        Raises:
            StoreUnavailable: it cannot be written, or is none, as when a disk is not mounted.
        """
        with store_failures():
            if not (path / OBJECTS).is_dir():
                raise StoreUnavailable("its folder holds no objects folder")
            path = path.resolve()
            root = open_root(path)
            try:
                _make_folders(root)
                return cls(path, root, StagingArea.open(path / STAGING))
            except BaseException:
                os.close(root)
                raise

    def __reduce__(self) -> tuple[Callable[[Path], "LocalStore"], tuple[Path]]:
        return LocalStore.open, (self._path,)

    def stage(self) -> Stage:
        return Stage(self._staging.new_path())

    def remove_dead_stages(self) -> None:
        self._staging.remove_dead()

    def put(self, stage: Stage, key: StoreKey) -> None:
        if key != object_key(stage.sha256):
            raise ValueError(f"the staged bytes are not those of '{key}'")
        crashpoint("put.staged")
        stage.finish()
        crashpoint("put.durable")
        *folders, name = str(key).split("/")
        with store_failures(), folder_below(self._root, folders) as folder:
            os.rename(stage.path, name, dst_dir_fd=folder)
            crashpoint("put.renamed")
            os.fsync(folder)

    def put_many(self, files: Sequence[StagedFile]) -> None:
        with store_failures():
            make_durable(self._root, [file.path for file in files])
            crashpoint("put_many.durable")
            for file in files:
                start = file.sha256[:2]
                with folder_below(self._root, [OBJECTS, start]) as folder:
                    os.rename(file.path, file.sha256, dst_dir_fd=folder)
            crashpoint("put_many.renamed")
            starts = sorted({file.sha256[:2] for file in files})
            make_durable(self._root, [self._path / OBJECTS / start for start in starts])

    def size(self, key: StoreKey) -> int | None:
        *folders, name = str(key).split("/")
        with (
            store_failures(),
            suppress(FileNotFoundError),
            folder_below(self._root, folders) as folder,
        ):
            return plain_file_size(folder, name)
        return None

    def has_all(self, keys: Iterable[StoreKey]) -> bool:
        names: dict[str, list[str]] = {}
        for key in keys:
            folder_name, _, name = str(key).rpartition("/")
            names.setdefault(folder_name, []).append(name)
        with store_failures(), suppress(FileNotFoundError):
            return all(self._holds(*found) for found in names.items())
        return False

    def _holds(self, folder_name: str, names: list[str]) -> bool:
        with folder_below(self._root, folder_name.split("/")) as folder:
            return all(plain_file_size(folder, name) is not None for name in names)

    def open_file(self, key: StoreKey) -> BinaryIO:
        file = self._open(key)
        if file is None:
            raise ObjectMissing(key)
        return file

    def path(self, key: StoreKey) -> Path | None:
        return None if self.size(key) is None else self._path / str(key)

    def delete(self, key: StoreKey) -> None:
        *folders, name = str(key).split("/")
        with (
            store_failures(),
            suppress(FileNotFoundError),
            folder_below(self._root, folders) as folder,
        ):
            os.unlink(name, dir_fd=folder)

    def set_aside(self, key: StoreKey) -> str | None:
        *folders, name = str(key).split("/")
        with (
            store_failures(),
            suppress(FileNotFoundError),
            folder_below(self._root, folders) as folder,
            folder_below(self._root, [QUARANTINE], make=True) as quarantine,
            os.fdopen(os.open(name, READING, dir_fd=folder), "rb") as file,
        ):
            if hashlib.file_digest(file, "sha256").hexdigest() == name:
                return None
            aside = f"{name}-{time.time_ns()}"
            os.rename(name, aside, src_dir_fd=folder, dst_dir_fd=quarantine)
            if not _is_same(file.fileno(), quarantine, aside):  # put anew while it was read
                os.rename(aside, name, src_dir_fd=quarantine, dst_dir_fd=folder)
                return None
            for changed in (quarantine, folder, self._root):
                os.fsync(changed)
            return f"{QUARANTINE}/{aside}"
        return None

    def list_objects(self) -> Iterator[tuple[str, int]]:
        for start in FAN_OUT:
            for name, size in self._files(OBJECTS, start):
                if _SHA256.fullmatch(name) and name.startswith(start):
                    yield name, size

    def write_index(self, key: StoreKey, parts: bytes | Iterable[bytes | Slice]) -> None:
        *folders, name = str(key).split("/")
        if folders[0] != INDEX:
            raise ValueError(f"'{key}' is not the key of an index file")
        with store_failures(), folder_below(self._root, folders, make=True) as folder:
            path = self._write_new([parts] if isinstance(parts, bytes) else parts)
            crashpoint("index.written")
            os.rename(path, name, dst_dir_fd=folder)

    def read_index(self, key: StoreKey) -> bytes | None:
        file = self._open(key)
        if file is None:
            return None
        with store_failures(), file:
            return file.read()

    def delete_index(self, key: StoreKey) -> None:
        self.delete(key)

    def list_index(self, channel_id: int | None = None) -> Iterator[str]:
        channels = self._folders(INDEX) if channel_id is None else [str(channel_id)]
        for channel in channels:
            for subdir in self._folders(INDEX, channel):
                for name, _ in self._files(INDEX, channel, subdir):
                    key = f"{INDEX}/{channel}/{subdir}/{name}"
                    if _is_index_key(key):
                        yield key

    def check(self) -> None:
        with store_failures():
            os.stat(OBJECTS, dir_fd=self._root)  # it is gone when a disk is not mounted
            self._write_new([b"writable"]).unlink()

    def close(self) -> None:
        root, self._root = self._root, -1
        if root != -1:
            self._staging.close()
            os.close(root)

    def _open(self, key: StoreKey) -> BinaryIO | None:
        *folders, name = str(key).split("/")
        with (
            store_failures(),
            suppress(FileNotFoundError),
            folder_below(self._root, folders) as folder,
        ):
            if plain_file_size(folder, name) is not None:
                return os.fdopen(os.open(name, READING, dir_fd=folder), "rb")
        return None

    def _write_new(self, parts: Iterable[bytes | Slice]) -> Path:
        path = self._staging.new_path()
        file = os.open(path, NEW_FILE, FILE_MODE)
        try:
            with ExitStack() as opened:
                sources = _Sources(self, opened)
                for part in parts:
                    if isinstance(part, bytes):
                        write_all(file, part)
                    else:
                        sources.copy(part, file)
        except BaseException:
            path.unlink()
            raise
        finally:
            os.close(file)
        return path

    def _folders(self, *parts: str) -> list[str]:
        with (
            store_failures(),
            suppress(FileNotFoundError),
            folder_below(self._root, parts) as folder,
            os.scandir(folder) as entries,
        ):
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
        return []

    def _files(self, *parts: str) -> list[tuple[str, int]]:
        with (
            store_failures(),
            suppress(FileNotFoundError),
            folder_below(self._root, parts) as folder,
        ):
            names = os.listdir(folder)  # noqa: PTH208 (a descriptor has no iterdir)
            sizes = [(name, plain_file_size(folder, name)) for name in names]
            return [(name, size) for name, size in sizes if size is not None]
        return []


class _Sources:
    """Index files of which slices are copied, each opened once."""

    def __init__(self, store: LocalStore, opened: ExitStack) -> None:
        self._store = store
        self._opened = opened
        self._files: dict[StoreKey, int] = {}

    def copy(self, part: Slice, target: int) -> None:
        if part.key not in self._files:
            file = self._opened.enter_context(self._store.open_file(part.key))
            self._files[part.key] = file.fileno()
        if not copy_bytes(self._files[part.key], target, part.start, part.end):
            raise ObjectMissing(part.key)


def _make_folders(root: int) -> None:
    """Make what is missing, once and durably, so that ``put`` has one folder to fsync."""
    with folder_below(root, [OBJECTS]) as objects:
        for name in FAN_OUT:
            make_folder(objects, name)
        os.fsync(objects)
    for name in (INDEX, STAGING):
        with folder_below(root, [name], make=True):
            pass  # it is a folder, and no link to one
    os.fsync(root)


def _is_same(file: int, folder: int, name: str) -> bool:
    return os.path.samestat(os.fstat(file), os.stat(name, dir_fd=folder, follow_symlinks=False))


def _is_index_key(text: str) -> bool:
    try:
        parse_index_key(text)
    except BadName:
        return False
    return True
