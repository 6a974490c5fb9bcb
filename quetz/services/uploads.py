"""Uploads: what is checked before, while and after the bytes arrive, and what is recorded.

The edge runs three steps, each database step in a short transaction of its own, and holds no
session while bytes flow: ``quotas.plan`` (and ``reserve`` where a quota applies), ``receive`` and
``check_received``, ``record``. The object is put in the store, durably, before ``record``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy.orm import Session

from quetz.conda.archives import PackageArchive, read_archive
from quetz.conda.filenames import PackageFilename
from quetz.conda.records import encode_record
from quetz.conda.texts import encode_json
from quetz.crashpoints import crashpoint
from quetz.db.base import now_ms
from quetz.db.models import Channel, File, Package, ReplacedFile, Tombstone
from quetz.db.queries import uploads as queries
from quetz.db.queries.channels import count_up, get_channel, lock_channel
from quetz.db.queries.files import find_file
from quetz.db.queries.objects import touch_objects
from quetz.db.queries.packages import count_files_up, find_package, get_package
from quetz.errors import (
    ChecksumMismatch,
    Invalid,
    OtherPackage,
    PackageExists,
    PackageWasDeleted,
)
from quetz.errors.packages import FormTooHeavy
from quetz.plugins import Plugins
from quetz.services.authentication import renew_principal
from quetz.services.descriptions import describe_again, describe_by_upload
from quetz.services.events import record_event
from quetz.services.packages import NewPackage, add_package
from quetz.services.permissions import Operation, Principal, authorize, authorize_path
from quetz.services.publishing import mark_dirty, note_unpublished
from quetz.services.quotas import check_quota
from quetz.storage import Stage

FORM_WEIGHT: Final = 16 << 20
"""Bytes of memory; the metadata of a thousand usual packages takes a third of it."""


@dataclass(frozen=True)
class Received:
    """A complete, checked package file in the staging area, or of another channel.

    ``deed`` is what makes it part of a channel: an upload or a copy.
    """

    archive: PackageArchive
    size: int
    sha256: str
    md5: str
    deed: Operation = Operation.FILE_UPLOAD

    @property
    def path(self) -> str:
        return f"{self.archive.subdir}/{self.archive.filename}"


@dataclass(frozen=True)
class Outcome:
    """``change`` numbers what the upload changed; None when the same bytes were there.

    These may be ``yanked``, and stay so.
    """

    sha256: str
    change: int | None
    yanked: bool = False


def check_package(
    session: Session, channel_name: str, package: str, filenames: Sequence[str] = ()
) -> None:
    """Return if the channel has the package, and all the files are of it.

    Raises:
        PackageNotFound: there is no such package.
        OtherPackage: a file is of another one.
    """
    get_package(session, get_channel(session, channel_name), package)
    for filename in filenames:
        if PackageFilename.parse(filename).name != package:
            raise OtherPackage(filename, package)


def check_received(
    staged: Sequence[tuple[str, Stage]], declared_sha256: str | None
) -> list[Received]:
    """Check finished staging files against their names and the declared checksum.

    What they say of themselves is held until all of them are recorded.

    Raises:
        ChecksumMismatch: the body is not what the client meant to send.
        BadFilename, BadArchive: a file is not a sound package of its name.
        FormTooHeavy: what the files say takes more than 16 MiB of memory.
    """
    received, weight = [], 0
    for filename, stage in staged:
        if declared_sha256 is not None and declared_sha256.lower() != stage.sha256:
            raise ChecksumMismatch(filename, declared_sha256, stage.sha256)
        archive = read_archive(stage.path, filename)
        received.append(Received(archive, stage.size, stage.sha256, stage.md5))
        weight += archive.weigh()
        if weight > FORM_WEIGHT:
            raise FormTooHeavy(len(received), FORM_WEIGHT)
    return received


def authorize_files(
    session: Session, principal: Principal, channel_name: str, filenames: Sequence[str]
) -> None:
    """Refuse, before the archives are read, files that the caller may not upload.

    Raises:
        RoleRequired: as ``authorize``, for the first such file.
    """
    for name in sorted({PackageFilename.parse(filename).name for filename in filenames}):
        authorize_path(session, principal, Operation.FILE_UPLOAD, channel_name, name)


def check_names(
    session: Session,
    principal: Principal,
    channel_name: str,
    received: Sequence[Received],
    *,
    force: bool,
    reservation: str | None = None,
) -> None:
    """Refuse, before their objects are stored, files whose names are taken, or without room.

    Raises:
        ChannelNotFound, RoleRequired, PackageExists, PackageWasDeleted, QuotaExceeded: as
            ``record``, which looks again.
    """
    channel = get_channel(session, channel_name)
    more = _growth(session, principal, channel, received, force=force)
    check_quota(session, channel, more, now=now_ms(), reservation=reservation)


def _growth(
    session: Session,
    principal: Principal,
    channel: Channel,
    received: Sequence[Received],
    *,
    force: bool,
) -> int:
    """Return by how many bytes the channel grows once it has all the files.

    Raises:
        RoleRequired, PackageExists, PackageWasDeleted: as ``record``.
    """
    more = {}  # by path: a form may bring a file twice
    for item in received:
        settled = _settle_name(session, principal, channel, item, force=force)
        more[item.path] = item.size - settled.size
    return sum(more.values())


def ask_plugins(
    session: Session, plugins: Plugins, channel_name: str, received: Sequence[Received]
) -> None:
    """Let plugins refuse the files.

    Raises:
        Invalid: a plugin refuses one.
        PluginFailed: a plugin failed.
    """
    if plugins.implements("check_upload"):
        channel = get_channel(session, channel_name)
        for item in received:
            plugins.call("check_upload", refusal=Invalid, channel=channel, archive=item.archive)


def record(
    session: Session,
    plugins: Plugins,
    principal: Principal,
    channel_name: str,
    received: Sequence[Received],
    *,
    force: bool = False,
    reservation: str | None = None,
    package: str | None = None,
) -> list[Outcome]:
    """Make the files part of the channel: all of them, or none if one is refused.

    Their objects must be in the store already. ``package`` is one that has to be there before.

    Raises:
        ChannelNotFound, PackageNotFound: it was deleted while the bytes arrived.
        RoleRequired: the caller may not upload one of the packages, or not with force.
        PackageExists, PackageWasDeleted: a name is taken by other bytes, and force is off.
        QuotaExceeded: the channel would outgrow its limit.
        PluginFailed: a plugin failed, so that nothing may be committed.
    """
    channel = get_channel(session, channel_name)
    lock_channel(session, channel)
    principal = renew_principal(session, principal)
    queries.remove_reservations(session, channel.id, reservation=reservation, now=now_ms())
    if package is not None:
        get_package(session, channel, package)
    if channel.size_limit is not None:  # of all files together: their order decides nothing
        more = _growth(session, principal, channel, received, force=force)
        check_quota(session, channel, more, now=now_ms())
    objects = {(item.sha256, item.size) for item in received}
    if force:
        objects |= _replaced(session, channel, received)
    # In one order, always: uploads to two channels may bring the same objects.
    touch_objects(session, sorted(objects))
    return [
        _record_file(session, plugins, principal, channel, item, force=force) for item in received
    ]


def _replaced(
    session: Session, channel: Channel, received: Sequence[Received]
) -> set[tuple[str, int]]:
    """Return (sha256, size) of files that have the names: their references may end."""
    found = set()
    for item in received:
        filename = item.archive.filename
        file = find_file(session, channel.id, item.archive.subdir, filename.name, str(filename))
        if file is not None:
            found.add((file.sha256, file.size))
    return found


def _record_file(
    session: Session,
    plugins: Plugins,
    principal: Principal,
    channel: Channel,
    item: Received,
    *,
    force: bool,
) -> Outcome:
    filename = item.archive.filename
    settled = _settle_name(session, principal, channel, item, force=force)
    package, file = settled.package, settled.file
    if file is not None and file.sha256 == item.sha256:
        note_unpublished(session, channel.id, item.archive.subdir, filename.name)
        return Outcome(item.sha256, None, yanked=file.yanked_at is not None)
    if package is None:
        package = add_package(session, channel, NewPackage(filename.name))
    stored = _store_file(session, principal, channel, package, item, replaces=file)
    if settled.tombstone is not None:
        session.delete(settled.tombstone)
    overwrites = settled.taken is not None
    operation = Operation.FILE_OVERWRITE if overwrites else item.deed
    record_event(
        session,
        principal,
        operation,
        channel=channel,
        subject=item.path,
        before=None if settled.taken is None else settled.taken.stored,
        after=item.sha256,
    )
    session.flush()
    change = mark_dirty(session, channel.id, item.archive.subdir, filename.name)
    plugins.call("package_published", session=session, file=stored, archive=item.archive)
    return Outcome(item.sha256, change)


@dataclass(frozen=True)
class _Name:
    """What a channel has by a file's name; ``taken`` says of which other bytes it is."""

    package: Package | None
    file: File | None
    tombstone: Tombstone | None
    taken: PackageExists | PackageWasDeleted | None

    @property
    def size(self) -> int:
        return self.file.size if self.file else 0


def _settle_name(
    session: Session, principal: Principal, channel: Channel, item: Received, *, force: bool
) -> _Name:
    """Look up what has the file's name, and refuse the file if that is not the caller's to take.

    Raises:
        RoleRequired, PackageExists, PackageWasDeleted: as ``record``.
    """
    filename = item.archive.filename
    package = find_package(session, channel.id, filename.name)
    authorize(session, principal, item.deed, channel, package)
    file = find_file(session, channel.id, item.archive.subdir, filename.name, str(filename))
    tombstone = queries.find_tombstone(session, channel.id, item.archive.subdir, str(filename))
    taken = taken_by(item, None if file is None else file.sha256, tombstone)
    if taken is not None:
        if not force:
            raise taken
        authorize(session, principal, Operation.FILE_OVERWRITE, channel, package)
    return _Name(package, file, tombstone, taken)


def taken_by(
    item: Received, held: str | None, tombstone: Tombstone | None
) -> PackageExists | PackageWasDeleted | None:
    """Say of which other bytes the name is: of a file with the sha256 ``held``, or a tombstone."""
    if held is not None:
        return None if held == item.sha256 else PackageExists(item.path, held, item.sha256)
    if tombstone is not None and tombstone.sha256 != item.sha256:
        return PackageWasDeleted(item.path, tombstone.sha256, item.sha256)
    return None


def _store_file(
    session: Session,
    principal: Principal,
    channel: Channel,
    package: Package,
    item: Received,
    *,
    replaces: File | None,
) -> File:
    """Insert the file's row, or point the row of a replaced file to the new bytes."""
    now = now_ms()
    archive = item.archive
    file = replaces or File(
        channel_id=channel.id,
        package_id=package.id,
        subdir=archive.subdir,
        name=archive.filename.name,
        filename=str(archive.filename),
    )
    former = None
    if replaces is not None:
        former = replaces.about
        _remember_replaced(session, replaces)
        crashpoint("upload.replacing")
    count_up(session, channel.id, size=item.size - (replaces.size if replaces else 0))
    count_files_up(session, package.id, 0 if replaces else 1, now)
    for column, value in columns_of(item, indexed_timestamp=now).items():
        setattr(file, column, value)
    file.uploaded_at, file.uploader_id = now, principal.user_id
    file.yanked_at, file.yank_reason = None, None  # who replaces a yanked file wants it used
    session.add(file)
    if former is not None:
        session.flush()
        describe_again(session, package.id, former)
    describe_by_upload(package, file.subdir, file.version, archive.about)
    return file


def columns_of(item: Received, *, indexed_timestamp: int) -> dict[str, Any]:
    """Return what the row of a file holds of its bytes, by column."""
    archive = item.archive
    return {
        "version": archive.filename.version,
        "build": archive.filename.build,
        "build_number": archive.index["build_number"],
        "size": item.size,
        "sha256": item.sha256,
        "md5": item.md5,
        "record": encode_record(
            archive,
            size=item.size,
            md5=item.md5,
            sha256=item.sha256,
            indexed_timestamp=indexed_timestamp,
        ),
        "run_exports": encode_json(archive.run_exports),
        "about": encode_json(archive.about),
    }


def _remember_replaced(session: Session, file: File) -> None:
    session.add(
        ReplacedFile(
            channel_id=file.channel_id,
            subdir=file.subdir,
            filename=file.filename,
            sha256=file.sha256,
        )
    )
