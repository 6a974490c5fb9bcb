"""Folders of backups: any number of states of one deployment, and each object once.

::

    objects/<ab>/<sha256>
    20261127T221800123456Z/
        backup.json    the manifest: a folder without one, or named .part, is no state
        config.toml
        objects.txt    a line of sha256 and size for each object of the state
        <database>     a copy of the database, with a manifest of its own beside it
"""

import fcntl
import hashlib
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from quetz.errors.backups import BackupRunning
from quetz.errors.migrations import BackupUnsound
from quetz.migrations.backups.manifests import digest
from quetz.settings import CONFIG_FILE
from quetz.storage.folders import sync

MANIFEST = "backup.json"
OBJECTS = "objects.txt"
FORMAT = 1
LATEST = "latest"

_NAME = re.compile(r"\d{8}T\d{12}Z")
_PART = ".part"
_LOCK = ".quetz-backups"
"""The file that is locked, and tells a folder of backups from any other."""
_LINE = re.compile(r"([0-9a-f]{64}) (\d{1,19})")


class Manifest(msgspec.Struct, frozen=True):
    """What a state's folder must hold; ``digests`` are sha256 by file name."""

    format: int
    created: str
    app_version: str
    database: str
    digests: dict[str, str]
    objects: int
    bytes: int


@dataclass(frozen=True)
class State:
    """A deployment as it was at one time."""

    folder: Path
    manifest: Manifest

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def database(self) -> Path:
        return self.folder / self.manifest.database

    @property
    def config(self) -> Path:
        return self.folder / CONFIG_FILE

    def object_path(self, sha256: str) -> Path:
        return object_path(self.folder.parent, sha256)

    def check(self) -> None:
        """Raises BackupUnsound: a file beside the manifest is not as it was written."""
        for name, expected in self.manifest.digests.items():
            file = self.folder / name
            if not file.is_file() or digest(file) != expected:
                raise BackupUnsound(file, "it is not the file its manifest describes")

    def read_objects(self) -> Iterator[tuple[str, int]]:
        """Yield the sha256 and the size of each object, by sha256."""
        with (self.folder / OBJECTS).open(encoding="ascii") as lines:
            for line in lines:
                match = _LINE.fullmatch(line.rstrip("\n"))
                if match is None:
                    raise BackupUnsound(self.folder / OBJECTS, f"it has the line {line[:80]!r}")
                yield match[1], int(match[2])


def object_path(folder: Path, sha256: str) -> Path:
    return folder / "objects" / sha256[:2] / sha256


def read_state(folder: Path) -> State:
    """Raises BackupUnsound: the folder is no state, or its manifest is damaged."""
    try:
        manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    except FileNotFoundError:
        raise BackupUnsound(folder, f"it has no {MANIFEST}") from None
    except msgspec.MsgspecError as error:
        raise BackupUnsound(folder, f"its {MANIFEST} cannot be read: {error}") from None
    if manifest.format != FORMAT:
        raise BackupUnsound(folder, f"its format is {manifest.format}, of another version of quetz")
    return State(folder, manifest)


def find_state(folder: Path) -> State:
    """Find a state by its own folder, or the newest of a folder of backups.

    Raises:
        BackupUnsound: there is none, or its manifest is damaged.
    """
    if (folder / MANIFEST).exists():
        return read_state(folder.resolve())
    names = list_names(folder)
    if not names:
        reason = "the folder holds no finished backup" if folder.is_dir() else "there is no folder"
        raise BackupUnsound(folder, reason)
    return read_state(folder.resolve() / names[-1])


def list_names(folder: Path) -> Sequence[str]:
    """Return the names of the states, the oldest first."""
    if not folder.is_dir():
        return []
    return sorted(entry.name for entry in folder.iterdir() if _NAME.fullmatch(entry.name))


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep other commands from writing to the folder, and remove what a killed one left.

    Raises:
        BackupRunning: another command does.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / _LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BackupRunning(folder) from None
        for part in folder.glob(f"*{_PART}"):
            if _NAME.fullmatch(part.stem):
                shutil.rmtree(part)
        yield


@contextmanager
def reading(folder: Path) -> Iterator[None]:
    """Keep backups from being made in a folder, and removed, while one is read.

    Raises:
        BackupRunning: one is being made.
    """
    if not (folder / _LOCK).exists():  # it was copied without
        yield
        return
    with (folder / _LOCK).open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BackupRunning(folder) from None
        yield


def is_folder_of_backups(folder: Path) -> bool:
    return (folder / _LOCK).exists()


def begin_state(folder: Path) -> Path:
    """Make the folder of a state that is to be finished; it counts for none until then."""
    now = datetime.now(UTC)
    names = list_names(folder)
    if names:  # a clock may have been wrong
        newest = datetime.strptime(names[-1], "%Y%m%dT%H%M%S%fZ").replace(tzinfo=UTC)
        now = max(now, newest + timedelta(microseconds=1))
    part = folder / f"{now:%Y%m%dT%H%M%S%fZ}{_PART}"
    part.mkdir(mode=0o700)
    return part


def finish_state(part: Path) -> State:
    """Give a state its name, once all of it is on the disk."""
    sync(part)
    finished = part.rename(part.with_suffix(""))
    sync(finished.parent)
    return read_state(finished)


def remove_old(folder: Path, *, keep: int) -> None:
    """Remove all but the newest states, and the objects that none of these has.

    Raises:
        BackupUnsound: one of these is damaged, so that its objects cannot be told.
    """
    names = list_names(folder)
    for name in names[:-keep]:
        shutil.rmtree((folder / name).rename(folder / f"{name}{_PART}"))
    if len(names) > keep:
        _remove_loose(folder)


def _remove_loose(folder: Path) -> None:
    states = [read_state(folder / name) for name in list_names(folder)]
    for state in states:  # a list that lost lines would cost the state its objects
        state.check()
    kept = {bytes.fromhex(sha256) for state in states for sha256, _ in state.read_objects()}
    for path in (folder / "objects").glob("??/*"):
        if len(path.name) != hashlib.sha256().digest_size * 2:
            path.unlink()  # of a copy that was killed
        elif bytes.fromhex(path.name) not in kept:
            path.unlink()
