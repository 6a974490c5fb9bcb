"""Backing up a deployment while servers run: the database first, then what it names.

Objects never change, and none is removed meanwhile: the backup holds the collector's lease. So
those that have a row after the database was copied are all that the copy names, or some more.
"""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import msgspec

import quetz
from quetz.crashpoints import crashpoint
from quetz.db.queries import backups as queries
from quetz.deployment import Deployment, open_database
from quetz.errors import ObjectMissing
from quetz.errors.backups import BadBackupFolder
from quetz.errors.migrations import BackupFailed, BackupUnsound
from quetz.migrations.backups import Backups
from quetz.migrations.backups.manifests import digest
from quetz.settings import CONFIG_FILE
from quetz.storage import ObjectStore
from quetz.storage.folders import make_durable, open_root, write_private
from quetz.storage.keys import object_key
from quetz.worker.backup_folders import (
    FORMAT,
    MANIFEST,
    OBJECTS,
    Manifest,
    State,
    alone_in,
    begin_state,
    finish_state,
    is_folder_of_backups,
    object_path,
    remove_old,
)
from quetz.worker.collecting import collecting
from quetz.worker.hashing import copy_hashed

COLLECTOR_SECONDS = 300.0

_PAGE = 2_000
_THREADS = 4
_TRY_SECONDS = 0.2

Outcome = Literal["there", "copied", "missing", "damaged"]
Watch = Callable[[int, int], None]
"""Told how many objects are done, and of how many."""


@dataclass(frozen=True)
class Fault:
    """An object that is missing in the store, or damaged, and the files that are it."""

    sha256: str
    reason: Outcome
    files: list[str]


@dataclass(frozen=True)
class Report:
    """A backup that was made; ``copied`` and ``kept`` are numbers of objects.

    ``warning`` says why what is kept no longer could not be removed.
    """

    state: State
    copied: int
    kept: int
    faults: list[Fault]
    warning: str | None = None


def back_up(
    deployment: Deployment, folder: Path, *, keep: int, watch: Watch, verify: bool = False
) -> Report:
    """Add a state of the deployment to the backups in ``folder``, and keep the newest ``keep``.

    Only objects that the folder lacks are copied; with ``verify`` those that it has are read, and
    copied again if they are damaged. One that the store has no more, or damaged, is left out and
    told; the rest of the backup is whole.

    Raises:
        BadBackupFolder: it lies in the deployment, or holds other things.
        BackupRunning: another command writes to it.
        BackupFailed: the database could not be copied, or the disk is full.
    """
    folder = folder.resolve()
    _check_place(deployment, folder)
    try:
        with alone_in(folder), _without_collector(deployment):
            report = _add_state(deployment, folder, verify=verify, watch=watch)
            try:
                remove_old(folder, keep=keep)
            except BackupUnsound as error:  # the new one is whole
                return replace(report, warning=str(error))
    except OSError as error:
        place = f"'{error.filename}': " if error.filename else ""
        raise BackupFailed(f"{place}{error.strerror}") from error
    return report


def _add_state(deployment: Deployment, folder: Path, *, verify: bool, watch: Watch) -> Report:
    part = begin_state(folder)
    database = _copy_database(deployment, part)
    crashpoint("backing.database")
    root = open_root(folder)
    try:
        work = _Objects(deployment, folder, verify=verify)
        count, size = work.copy_all(part, watch)
        make_durable(root, [*work.list_written(), part / OBJECTS])
    finally:
        os.close(root)
    crashpoint("backing.objects")
    write_private(part / CONFIG_FILE, (deployment.path / CONFIG_FILE).read_bytes())
    manifest = Manifest(
        FORMAT,
        part.stem,
        quetz.__version__,
        database.name,
        {name: digest(part / name) for name in (CONFIG_FILE, OBJECTS)},
        count,
        size,
    )
    write_private(part / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest)))
    crashpoint("backing.written")
    state = finish_state(part)
    crashpoint("backing.finished")
    return Report(state, work.outcomes["copied"], work.outcomes["there"], work.list_faults())


def _check_place(deployment: Deployment, folder: Path) -> None:
    if folder.is_relative_to(deployment.path):
        raise BadBackupFolder(folder, "it lies in the deployment, and would be lost with it")
    if deployment.path.is_relative_to(folder):
        raise BadBackupFolder(folder, "the deployment lies in it")
    if not folder.exists():
        return
    if not folder.is_dir():
        raise BadBackupFolder(folder, "it is no folder")
    names = sorted(entry.name for entry in folder.iterdir())
    if names and not is_folder_of_backups(folder):
        raise BadBackupFolder(folder, f"it holds '{names[0]}', which is not of a backup")


@contextmanager
def _without_collector(deployment: Deployment) -> Iterator[None]:
    """Keep objects from being removed; one who collects already is waited for.

    Raises:
        BackupFailed: that takes too long.
    """
    deadline = time.monotonic() + COLLECTOR_SECONDS
    while True:
        with ExitStack() as held:
            if held.enter_context(collecting(deployment)):
                yield
                return
        if time.monotonic() > deadline:
            raise BackupFailed("objects are being collected all the time; try again later")
        time.sleep(_TRY_SECONDS)


def _copy_database(deployment: Deployment, part: Path) -> Path:
    """Copy the database; past a pooler of connections, as migrations go."""
    engine = open_database(deployment.path, deployment.settings, for_migrations=True)
    try:
        backups = Backups(part)
        database = backups.take(engine)
    finally:
        engine.dispose()
    (part / ".lock").unlink()
    return database


class _Objects:
    """Copies objects into the folder of backups."""

    def __init__(self, deployment: Deployment, folder: Path, *, verify: bool) -> None:
        self.outcomes: Counter[Outcome] = Counter()
        self._copied: list[str] = []
        self._verify = verify
        self._lacking: dict[str, Outcome] = {}
        self._deployment = deployment
        self._folder = folder

    def copy_all(self, part: Path, watch: Watch) -> tuple[int, int]:
        """Copy what is missing, list all in ``objects.txt``, and return their number and bytes."""
        with self._deployment.transaction() as session:
            total = queries.count_objects(session)
        count = size = done = 0
        copy = partial(_copy_object, self._deployment.store, self._folder, verify=self._verify)
        with (
            ThreadPoolExecutor(_THREADS, "backup") as threads,
            (part / OBJECTS).open("w", encoding="ascii") as lines,
        ):
            for page in self._pages():
                for (sha256, bytes_), outcome in zip(page, threads.map(copy, page), strict=True):
                    done += 1
                    watch(done, total)
                    self._note(sha256, outcome)
                    if outcome in {"there", "copied"}:
                        lines.write(f"{sha256} {bytes_}\n")
                        count += 1
                        size += bytes_
                crashpoint("backing.copying")
        return count, size

    def _pages(self) -> Iterator[Sequence[tuple[str, int]]]:
        after = ""
        while True:
            with self._deployment.transaction() as session:
                page = queries.list_objects_after(session, after, limit=_PAGE)
            if not page:
                return
            yield [(row.sha256, row.size) for row in page]
            after = page[-1].sha256

    def _note(self, sha256: str, outcome: Outcome) -> None:
        self.outcomes[outcome] += 1
        if outcome == "copied":
            self._copied.append(sha256)
        elif outcome != "there":
            self._lacking[sha256] = outcome

    def list_written(self) -> list[Path]:
        """Return the files that were written, and the folders that they are in."""
        files = [object_path(self._folder, sha256) for sha256 in self._copied]
        folders = {file.parent for file in files}
        return [*files, *folders, *{folder.parent for folder in folders}]

    def list_faults(self) -> list[Fault]:
        """Return what is wrong with objects that are needed: of others a row may outlive them."""
        with self._deployment.transaction() as session:
            found = queries.list_files_of(session, list(self._lacking))
        files: dict[str, list[str]] = {}
        for sha256, *place in found:
            files.setdefault(sha256, []).append("/".join(place))
        return [Fault(one, self._lacking[one], sorted(files[one])) for one in sorted(files)]


def _copy_object(
    store: ObjectStore, folder: Path, wanted: tuple[str, int], *, verify: bool
) -> Outcome:
    sha256, size = wanted
    path = object_path(folder, sha256)
    if path.is_file() and path.stat().st_size == size and (not verify or digest(path) == sha256):
        return "there"
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{sha256}")
    try:
        with store.open_file(object_key(sha256)) as source, part.open("wb") as copy:
            found = copy_hashed(source, copy)
    except ObjectMissing:
        return "missing"
    if found != sha256:
        part.unlink()
        return "damaged"
    part.rename(path)
    return "copied"
