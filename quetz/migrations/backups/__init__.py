"""Backups of a database: taken before migrations, verified, restored, retired."""

import fcntl
import os
import re
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

import quetz
from quetz.crashpoints import crashpoint
from quetz.errors import DatabaseUnreadable
from quetz.errors.migrations import BackupFailed, BackupUnsound, RestoreFailed
from quetz.migrations.backups import postgresql, sqlite
from quetz.migrations.backups.manifests import SUFFIX, Manifest, digest, manifest_path
from quetz.migrations.backups.tools import ToolFailed
from quetz.migrations.failures import unreachable
from quetz.migrations.positions import looking, recorded_heads
from quetz.storage.folders import sync

__all__ = ["Backups", "Manifest"]

_STAMP = "[0-9]" * 8 + "T" + "[0-9]" * 12 + "Z-"  # files of others stay
_SAFETY_AGE = timedelta(days=1)
_FAULTS = (OSError, sqlite3.Error, SQLAlchemyError, DatabaseUnreadable, ToolFailed)
_NAMED_HEADS = 100
"""Characters of heads in a file's name: many plugins have many heads."""


class Copier(Protocol):
    """How databases of one kind are copied and put back; these raise what ``_FAULTS`` lists."""

    SUFFIX: str

    def name_of(self, engine: Engine) -> str: ...
    def needed_bytes(self, engine: Engine) -> int: ...
    def copy(self, engine: Engine, target: Path) -> dict[str, int]: ...
    def verify(self, file: Path) -> None: ...
    def restore(self, engine: Engine, file: Path, rows: Mapping[str, int]) -> None: ...


_COPIERS: dict[str, Copier] = {"sqlite": sqlite, "postgresql": postgresql}


@dataclass(frozen=True)
class Backups:
    """The backups in a folder that only its owner may read."""

    folder: Path
    keep: int = 5

    def take(
        self,
        engine: Engine,
        connection: Connection | None = None,  # noqa: ARG002 - its lock keeps migrations away
        heads: Sequence[str] | None = None,
        *,
        safety: bool = False,
    ) -> Path:
        """Copy what is committed; the copy counts once it is checked and on the disk.

        Without ``heads`` they are read from the database.

        Raises:
            BackupToolMissing: there is no means to copy a database of this kind.
            DatabaseUnreachable: PostgreSQL is away.
            BackupFailed: the disk is full, the database damaged, ...; nothing is left behind.
        """
        copier = _COPIERS[engine.dialect.name]
        try:
            with self._alone():
                _check_space(self.folder, copier.needed_bytes(engine))
                if heads is None:
                    with looking(engine) as reading:
                        heads = sorted(recorded_heads(reading))
                return self._copy(engine, copier, sorted(heads), safety=safety)
        except _FAULTS as error:
            raise unreachable(error) or BackupFailed(_reason(error)) from error

    def list(self) -> Sequence[Manifest]:
        """Return the newest first; ``Manifest.whole`` tells of each whether its file is there."""
        found = [one for one in self._read_all() if isinstance(one, Manifest)]
        return sorted(found, key=lambda manifest: manifest.created, reverse=True)

    def faults(self) -> Sequence[BackupUnsound]:
        """Return what is wrong with manifests that cannot be read."""
        return [one for one in self._read_all() if isinstance(one, BackupUnsound)]

    def find(self, name: str | Path, engine: Engine | None = None) -> Manifest:
        """Find by ``latest``, by name in the folder, or by path.

        With ``engine``, ``latest`` is of that database: others may keep theirs in the folder.

        Raises:
            BackupUnsound: there is none, or its manifest is damaged.
        """
        if str(name) != "latest":
            path = self.folder / name  # an absolute path stays as it is
            path = path if path.exists() else Path(name)
            if not path.exists():
                raise BackupUnsound(name, f"neither it nor '{self.folder / name}' exists")
            return Manifest.read(path)
        database = engine and _COPIERS[engine.dialect.name].name_of(engine)
        for manifest in self.list():
            if manifest.whole and not manifest.safety and database in {None, manifest.database}:
                return manifest
        raise BackupUnsound(name, f"'{self.folder}' has none of this database; name one")

    def verify(self, backup: Manifest | str | Path) -> Manifest:
        """Raises BackupUnsound: the backup, or its manifest, is not as it was written."""
        manifest = backup if isinstance(backup, Manifest) else self.find(backup)
        try:
            if not manifest.whole or digest(manifest.file) != manifest.sha256:
                raise BackupUnsound(manifest.file, "it is not the file its manifest describes")
            _COPIERS[manifest.kind].verify(manifest.file)
        except _FAULTS as error:
            raise BackupUnsound(manifest.file, _reason(error)) from error
        return manifest

    def restore(
        self,
        engine: Engine,
        backup: Manifest | str | Path,
        lock: AbstractContextManager[object] | None = None,
    ) -> Path | None:
        """Make the database what the backup is, and return the copy of what it was.

        A server that runs meanwhile reads the restored rows from its next transaction on.
        ``lock`` keeps migrations away; it must not hold a transaction of the database. It is
        not entered for an SQLite database that is missing or damaged, which nobody can migrate;
        what was there is kept as it was, or None is returned.

        Raises:
            BackupUnsound: nothing was changed.
            RestoreFailed: the database is as it was, unless the reason says otherwise.
        """
        manifest = self.verify(
            backup if isinstance(backup, Manifest) else self.find(backup, engine)
        )
        kind = engine.dialect.name
        if manifest.kind != kind:
            raise RestoreFailed(manifest.file, f"it is of {manifest.kind}, the database of {kind}")
        try:
            if kind == "sqlite" and sqlite.is_lost(engine):
                return self._replace_lost(engine, manifest)
            with lock or nullcontext():
                return self._restore(engine, manifest)
        except BackupFailed as error:
            reason = f"what the database holds could not be copied first: {error.reason}"
            raise RestoreFailed(manifest.file, reason) from error
        except _FAULTS as error:
            raise RestoreFailed(manifest.file, _reason(error)) from error

    def retire(self) -> None:
        """Keep of each database the newest ``keep``, the last good one, and fresh safety copies."""
        kept: Counter[str] = Counter()
        spared: set[str] = set()
        with self._alone():
            for manifest in self.list():
                if manifest.safety and abs(datetime.now(UTC) - manifest.created) < _SAFETY_AGE:
                    continue
                is_good = manifest.whole and not manifest.safety
                is_last = is_good and manifest.database not in spared
                if kept[manifest.database] >= self.keep and not is_last:
                    manifest.file.unlink(missing_ok=True)
                    manifest_path(manifest.file).unlink()
                if is_good:
                    spared.add(manifest.database)
                kept[manifest.database] += manifest.whole

    def _copy(self, engine: Engine, copier: Copier, heads: Sequence[str], *, safety: bool) -> Path:
        created = self._next_time()
        name = _file_name(created, "-".join(heads)[:_NAMED_HEADS] or "none", copier.SUFFIX)
        target, part = self.folder / name, self.folder / f"{name}.part"
        try:
            rows = copier.copy(engine, part)
            # First the manifest: alone it is no backup, and a file without one is nobody's.
            Manifest(
                target,
                engine.dialect.name,
                copier.name_of(engine),
                created,
                tuple(heads),
                rows,
                part.stat().st_size,
                digest(part),
                quetz.__version__,
                safety,
            ).write()
            sync(part)
            crashpoint("backup.described")
            part.replace(target)
            crashpoint("backup.named")
            sync(self.folder)
        except BaseException:
            for left in self.folder.glob(f"{name}*"):
                left.unlink()
            raise
        return target

    def _next_time(self) -> datetime:
        """Return the time, or one after the newest: a clock may have been wrong, or be it now."""
        newest = max((one.created for one in self.list()), default=datetime.min.replace(tzinfo=UTC))
        return max(datetime.now(UTC), newest + timedelta(microseconds=1))

    def _restore(self, engine: Engine, manifest: Manifest) -> Path:
        former = self.take(engine, safety=True)
        try:
            crashpoint("restore.begun")
            _COPIERS[manifest.kind].restore(engine, manifest.file, manifest.rows)
        except _FAULTS as error:
            reason = f"{_reason(error)}; what the database held before is in '{former}'"
            raise RestoreFailed(manifest.file, reason) from error
        return former

    def _replace_lost(self, engine: Engine, manifest: Manifest) -> Path | None:
        with self._alone():
            aside = self.folder / _file_name(datetime.now(UTC), "broken", sqlite.SUFFIX)
            return sqlite.replace_lost(engine, manifest.file, aside)

    def _read_all(self) -> Iterator[Manifest | BackupUnsound]:
        for copier in _COPIERS.values():
            for path in self.folder.glob(f"*{copier.SUFFIX}{SUFFIX}"):
                try:
                    yield Manifest.read(path.with_suffix(""))
                except BackupUnsound as error:
                    yield error

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One copies at a time, so every part found is of a crash."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        sync(self.folder.parent)
        lock = os.open(self.folder / ".lock", os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for suffix in (*(copier.SUFFIX for copier in _COPIERS.values()), SUFFIX):
                for part in self.folder.glob(f"{_STAMP}*{suffix}.part*"):
                    part.unlink()
                    file = part.with_name(part.name.rpartition(".part")[0])
                    if not file.exists():  # the crash was between the manifest and its file
                        manifest_path(file).unlink(missing_ok=True)
            yield
        finally:
            os.close(lock)


def _file_name(created: datetime, what: str, suffix: str) -> str:
    safe = re.sub(r"[^\w.-]", "_", what)
    return f"{created:%Y%m%dT%H%M%S%fZ}-{safe}{suffix}"


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise BackupFailed(f"'{folder}' has {free:,} bytes free, and {needed:,} are needed")


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename:
        return f"'{error.filename}': {error.strerror}"
    return " ".join(str(getattr(error, "orig", None) or error).split())
