"""Exporting a channel to a folder: what any client can use over file:// or from a web server.

Packages come first and the indexes that list them last, each under its name by one rename: who
reads the folder meanwhile finds what was there before, or what is there then.
"""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import Final

import msgspec

from quetz.conda.filenames import SUFFIXES
from quetz.conda.names import is_subdir
from quetz.conda.shards import decode_shard_index
from quetz.conda.zstd import compress, decompress, unpack
from quetz.crashpoints import crashpoint
from quetz.db.models import Channel
from quetz.deployment import Deployment
from quetz.errors import ObjectMissing, QuetzError
from quetz.errors.folders import (
    ChannelBusy,
    ExportRunning,
    IndexUnreadable,
    NotAnExport,
    ObjectDamaged,
)
from quetz.services.empty_indexes import EMPTY
from quetz.services.exports import Snapshot, StoredFile, take_snapshot
from quetz.services.publishing import (
    CHANNEL_WIDE,
    CHANNELDATA_ZST,
    FROM_PACKAGES_ZST,
    REPODATA_ZST,
    RUN_EXPORTS_ZST,
    SHARD_INDEX,
    SHARDS,
    Switch,
    read_file,
    shard_key,
)
from quetz.storage import ObjectStore
from quetz.storage.keys import object_key
from quetz.worker.catching_up import publish_channel
from quetz.worker.hashing import copy_hashed

OWN_FOLDER: Final = ".quetz-export"
"""What an export keeps of its own in the folder: of which channel it is, and new indexes."""

_CHANNEL: Final = "channel.json"
_LOCK: Final = "lock"
_NEW: Final = "indexes"
_SHARDS: Final = "shards"
_JSON: Final = {
    REPODATA_ZST: "repodata.json",
    FROM_PACKAGES_ZST: "repodata_from_packages.json",
    RUN_EXPORTS_ZST: "run_exports.json",
    CHANNELDATA_ZST: "channeldata.json",
}
_ALWAYS: Final = (SHARD_INDEX, REPODATA_ZST, RUN_EXPORTS_ZST)
_LEVEL: Final = 3
_ATTEMPTS: Final = 10
_THREADS: Final = 4
_AT_ONCE: Final = 2_000  # files that are handed to the threads


@dataclass
class Report:
    """What an export did: numbers of package files, and by place why others could not be written.

    If there are any of these, the indexes were left as they were.
    """

    copied: int = 0
    kept: int = 0
    deleted: int = 0
    failed: list[tuple[str, QuetzError]] = field(default_factory=list)


@dataclass(frozen=True)
class Target:
    """The folder to export to.

    ``force`` allows one that holds other things, ``delete`` removes packages and shards that are
    not of the channel (any more).
    """

    folder: Path
    force: bool = False
    delete: bool = False


def export_channel(
    deployment: Deployment,
    channel: Channel,
    target: Target,
    *,
    watch: Callable[[int, int], None] = lambda _files, _total: None,
) -> Report:
    """Make the folder what the channel is; what it has of it already is kept.

    ``watch`` is told how many files are done, of how many.

    Raises:
        NotAnExport: the folder holds other things.
        ExportRunning: another export writes to it.
        ChannelBusy: the channel changes all the time.
        IndexUnreadable: published files are missing or torn.
        PluginFailed: the channel's indexes cannot be built.
        OSError: the folder cannot be written.
    """
    _claim(target.folder, channel.name, force=target.force)
    with _lock(target.folder):
        return _export(deployment, channel, target, watch)


def _export(
    deployment: Deployment, channel: Channel, target: Target, watch: Callable[[int, int], None]
) -> Report:
    folder = target.folder
    new = folder / OWN_FOLDER / _NEW
    snapshot, indexes = _take_state(deployment, channel, new)
    report = _copy_packages(deployment.store, snapshot, folder, watch)
    if report.failed:
        return report
    os.sync()  # a power cut must not leave indexes of packages that are not whole
    for path in indexes:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        crashpoint("export.replacing")
        (new / path).replace(folder / path)
    shutil.rmtree(new, ignore_errors=True)
    crashpoint("export.replaced")
    _delete_unpatched(folder, snapshot, indexes)
    if target.delete:
        report.deleted = _delete_others(folder, snapshot, set(indexes))
    return report


def _claim(folder: Path, channel: str, *, force: bool) -> None:
    """Make the folder one for this channel.

    Raises:
        NotAnExport: it holds other things.
    """
    folder.mkdir(parents=True, exist_ok=True)
    own = folder / OWN_FOLDER / _CHANNEL
    document = msgspec.json.encode({"channel": channel})
    is_ours = own.is_file() and own.read_bytes() == document
    if not is_ours and not force and any(folder.iterdir()):
        raise NotAnExport(folder, channel)
    own.parent.mkdir(exist_ok=True)
    own.write_bytes(document)


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Keep other exports from the folder.

    Raises:
        ExportRunning: one is at it.
    """
    with (folder / OWN_FOLDER / _LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ExportRunning(folder) from None
        yield


def _take_state(deployment: Deployment, channel: Channel, new: Path) -> tuple[Snapshot, list[Path]]:
    """Write the indexes of one state of the channel into the folder ``new``."""
    snapshot = _snapshot(deployment, channel)
    for _ in range(_ATTEMPTS):
        shutil.rmtree(new, ignore_errors=True)  # of an export that was cut off
        try:
            return snapshot, _write_indexes(deployment.store, snapshot, new)
        except IndexUnreadable:
            # Files that were superseded meanwhile may have been collected.
            before, snapshot = snapshot, _snapshot(deployment, channel)
            if snapshot.published == before.published:
                raise
    raise IndexUnreadable(channel.name)


def _snapshot(deployment: Deployment, channel: Channel) -> Snapshot:
    for _ in range(_ATTEMPTS):
        publish_channel(deployment, channel.id)
        with deployment.transaction() as session:
            snapshot = take_snapshot(session, channel)
        if snapshot is not None:
            return snapshot
    raise ChannelBusy(channel.name)


# Indexes


def _write_indexes(store: ObjectStore, snapshot: Snapshot, new: Path) -> list[Path]:
    """Write the index files into the folder ``new``; return their paths there.

    In the order in which they may appear: shards before the index that names them.

    Raises:
        IndexUnreadable: a file is missing or torn.
    """
    forms: list[Path] = []
    shards: list[Path] = []
    # Each publication supersedes the documents, and only few of the many shards.
    for subdir in (*snapshot.subdirs, CHANNEL_WIDE):
        (new / subdir).mkdir(parents=True, exist_ok=True)
        forms.extend(_write_forms(store, snapshot, subdir, new))
    for subdir in snapshot.subdirs:
        shards.extend(_write_shards(store, snapshot, subdir, new))
    return shards + forms


def _write_shards(store: ObjectStore, snapshot: Snapshot, subdir: str, new: Path) -> Iterator[Path]:
    index = snapshot.index_of(subdir).get(SHARD_INDEX)
    folder = Path(subdir, _SHARDS)
    (new / folder).mkdir()
    if index is None:
        return
    switch = Switch(snapshot.channel.id, subdir, SHARDS)
    raw = decompress((new / subdir / SHARD_INDEX).read_bytes(), index.raw_size)
    for digest in sorted(decode_shard_index(raw).values()):
        data = _whole(snapshot, store.read_index(shard_key(switch, digest.hex())))
        if hashlib.sha256(data).digest() != digest:
            raise IndexUnreadable(snapshot.channel.name)
        path = folder / f"{digest.hex()}.msgpack.zst"
        (new / path).write_bytes(data)
        yield path


def _write_forms(store: ObjectStore, snapshot: Snapshot, subdir: str, new: Path) -> Iterator[Path]:
    published = snapshot.index_of(subdir)
    created_at = snapshot.channel.created_at
    always = [CHANNELDATA_ZST] if subdir == CHANNEL_WIDE else _ALWAYS
    for form in dict.fromkeys([*always, *published]):
        if form in published:
            data = _whole(snapshot, read_file(store, published[form]))
            size = published[form].raw_size
        else:
            raw = EMPTY[form](subdir, created_at)
            data, size = compress(raw, _LEVEL), len(raw)
        if form in _JSON:
            path = Path(subdir, _JSON[form])
            with (new / path).open("wb") as file:
                file.writelines(unpack(BytesIO(data), len(data), size))
            yield path
        if subdir != CHANNEL_WIDE:
            (new / subdir / form).write_bytes(data)
            yield Path(subdir, form)


def _whole(snapshot: Snapshot, data: bytes | None) -> bytes:
    if data is None:
        raise IndexUnreadable(snapshot.channel.name)
    return data


# Packages


def _copy_packages(
    store: ObjectStore, snapshot: Snapshot, folder: Path, watch: Callable[[int, int], None]
) -> Report:
    for subdir in {*snapshot.subdirs, *(file.subdir for file in snapshot.files)}:
        (folder / subdir).mkdir(exist_ok=True)
    report, files = Report(), snapshot.files
    with ThreadPoolExecutor(_THREADS, "export") as threads:
        outcomes = chain.from_iterable(
            threads.map(
                lambda file: _export_file(store, file, folder), files[start : start + _AT_ONCE]
            )
            for start in range(0, len(files), _AT_ONCE)
        )
        for done, (file, outcome) in enumerate(zip(files, outcomes, strict=True), 1):
            if isinstance(outcome, QuetzError):
                report.failed.append((f"{file.subdir}/{file.filename}", outcome))
            else:
                report.copied += outcome
                report.kept += not outcome
            watch(done, len(files))
    return report


def _export_file(store: ObjectStore, file: StoredFile, folder: Path) -> bool | QuetzError:
    """Copy a package, unless it is there; say whether it was copied, or what is wrong with it."""
    path = folder / file.subdir / file.filename
    if path.is_file() and path.stat().st_size == file.size:
        with path.open("rb") as there:
            if hashlib.file_digest(there, "sha256").hexdigest() == file.sha256:
                return False
    part = path.with_name(f".{file.filename}.part")
    try:
        with store.open_file(object_key(file.sha256)) as source, part.open("wb") as copy:
            found = copy_hashed(source, copy)
    except ObjectMissing as error:
        return error
    if found != file.sha256:
        part.unlink()
        return ObjectDamaged(file.sha256, found)
    crashpoint("export.copied")
    part.replace(path)
    return True


def _delete_unpatched(folder: Path, snapshot: Snapshot, indexes: Collection[Path]) -> None:
    """Delete what an export before wrote of records before patches, if there are none now."""
    for subdir in snapshot.subdirs:
        for form in (_JSON[FROM_PACKAGES_ZST], FROM_PACKAGES_ZST):
            path = Path(subdir, form)
            if path not in indexes:
                (folder / path).unlink(missing_ok=True)


def _delete_others(folder: Path, snapshot: Snapshot, indexes: Collection[Path]) -> int:
    """Delete packages and shards that the channel does not have; return how many packages."""
    ours = {folder / path for path in indexes}
    ours |= {folder / file.subdir / file.filename for file in snapshot.files}
    deleted = 0
    for subdir in folder.iterdir():
        if not is_subdir(subdir.name) or subdir.is_symlink():
            continue
        for path in _files_in(subdir, "*"):
            if path not in ours and path.name.endswith(SUFFIXES):
                path.unlink()
                deleted += 1
                crashpoint("export.deleting")
        for path in _files_in(subdir / _SHARDS, "*.msgpack.zst"):
            if path not in ours:
                path.unlink()
    return deleted


def _files_in(folder: Path, pattern: str) -> list[Path]:
    """List the files of a folder; none where it is a link, for they are of another place."""
    if folder.is_symlink() or not folder.is_dir():
        return []
    return [path for path in folder.glob(pattern) if path.is_file()]
