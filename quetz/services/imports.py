"""Imports: many files made part of a channel at once, each by the rules of an upload.

The edge receives files, has ``sort_out`` and ``ask_plugins`` refuse some before their objects are
stored, puts the objects, and calls ``record_imports`` in one transaction for all of a batch.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.orm import Session

from quetz.db.base import now_ms
from quetz.db.models import Channel, Package, Tombstone
from quetz.db.queries import files, uploads
from quetz.db.queries.channels import count_up, get_channel, lock_channel
from quetz.db.queries.objects import touch_objects
from quetz.db.queries.packages import list_named
from quetz.errors import Invalid, QuetzError, QuotaExceeded
from quetz.plugins import Plugins
from quetz.services.authentication import renew_principal
from quetz.services.descriptions import describe_by_upload
from quetz.services.events import Change, record_events
from quetz.services.permissions import Operation, Principal, authorize
from quetz.services.publishing import mark_many
from quetz.services.quotas import used_room
from quetz.services.uploads import Received, ask_plugins, columns_of, taken_by
from quetz.services.yanks import describe_yank

YANK_REASON = "removed in the imported channel"


@dataclass(frozen=True)
class Import:
    """A file to import: when its channel indexed it, in Unix ms, and whether it was removed there.

    What was removed is yanked here.
    """

    received: Received
    indexed_at: int | None = None
    removed: bool = False

    @property
    def subdir(self) -> str:
        return self.received.archive.subdir

    @property
    def name(self) -> str:
        return self.received.archive.filename.name

    @property
    def filename(self) -> str:
        return str(self.received.archive.filename)


@dataclass(frozen=True)
class Refusal:
    """A file such as ``linux-64/numpy-2.1.0-0.conda``, and why it is not imported."""

    path: str
    error: QuetzError


@dataclass
class Verdict:
    """What becomes of files: ``unchanged`` counts those that the channel has already.

    ``lifted`` are the tombstones of accepted files.
    """

    accepted: list[Import] = field(default_factory=list)
    lifted: list[Tombstone] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    unchanged: int = 0


def list_held(
    session: Session, channel_name: str, subdir: str, places: Sequence[tuple[str, str]]
) -> dict[str, str]:
    """Return the sha256, by file name, of those (name, filename) that a channel has."""
    channel = get_channel(session, channel_name)
    return {
        row.filename: row.sha256 for row in files.list_held(session, channel.id, subdir, places)
    }


def sort_out(
    session: Session, principal: Principal, channel_name: str, imports: Sequence[Import]
) -> Verdict:
    """Refuse files whose names are taken, or without room in the channel's quota.

    Raises:
        ChannelNotFound: there is no such channel.
        RoleRequired: the caller may not upload one of the packages.
    """
    channel = get_channel(session, channel_name)
    names = sorted({one.name for one in imports})
    packages = {package.name: package for package in list_named(session, channel.id, names)}
    for name in names:
        authorize(session, principal, Operation.FILE_UPLOAD, channel, packages.get(name))
    held, buried = _known(session, channel, imports)
    used = used_room(session, channel, now=now_ms())
    verdict = Verdict()
    for one in imports:
        place, received = (one.subdir, one.filename), one.received
        tombstone = buried.get(place)
        taken = taken_by(received, held.get(place), tombstone)
        if taken is not None:
            verdict.refused.append(Refusal(received.path, taken))
        elif place in held:
            verdict.unchanged += 1
        elif channel.size_limit is not None and used + received.size > channel.size_limit:
            full = QuotaExceeded(channel.name, channel.size_limit, used + received.size)
            verdict.refused.append(Refusal(received.path, full))
        else:
            verdict.accepted.append(one)
            verdict.lifted += [] if tombstone is None else [tombstone]
            used += received.size
    return verdict


def ask_plugins_of_each(
    session: Session, plugins: Plugins, channel_name: str, verdict: Verdict
) -> None:
    """Move to the refused what a plugin refuses.

    Raises:
        PluginFailed: a plugin failed.
    """
    accepted, verdict.accepted = verdict.accepted, []
    for one in accepted:
        try:
            ask_plugins(session, plugins, channel_name, [one.received])
        except Invalid as error:
            verdict.refused.append(Refusal(one.received.path, error))
        else:
            verdict.accepted.append(one)


def record_imports(
    session: Session,
    plugins: Plugins,
    principal: Principal,
    channel_name: str,
    imports: Sequence[Import],
) -> Verdict:
    """Make the files part of the channel, but for those that have to be refused by now.

    Their objects must be in the store already.

    Raises:
        ChannelNotFound, RoleRequired: as ``sort_out``.
        PluginFailed: a plugin failed, so that nothing may be committed.
    """
    channel = get_channel(session, channel_name)
    lock_channel(session, channel)
    principal = renew_principal(session, principal)
    now = now_ms()
    uploads.remove_reservations(session, channel.id, reservation=None, now=now)
    verdict = sort_out(session, principal, channel_name, imports)
    accepted = verdict.accepted
    if not accepted:
        return verdict
    # In one order, always: uploads to two channels may bring the same objects.
    objects = sorted({(one.received.sha256, one.received.size) for one in accepted})
    touch_objects(session, objects)
    packages = _add_to_packages(session, channel, accepted, now)
    rows = [_row(one, packages[one.name], principal, now) for one in accepted]
    files.add_files(session, rows)
    count_up(session, channel.id, size=sum(one.received.size for one in accepted))
    for tombstone in verdict.lifted:
        session.delete(tombstone)
    _record_events(session, principal, channel, accepted)
    session.flush()
    mark_many(session, channel.id, [(one.subdir, one.name) for one in accepted])
    _tell_plugins(session, plugins, channel, accepted)
    return verdict


def _known(
    session: Session, channel: Channel, imports: Iterable[Import]
) -> tuple[dict[tuple[str, str], str], dict[tuple[str, str], Tombstone]]:
    """Return the sha256 of files, and the tombstones, that have names of the imports."""
    held, buried = {}, {}
    for subdir, group in _by_subdir(imports).items():
        places = [(one.name, one.filename) for one in group]
        for filename, sha256 in files.list_held(session, channel.id, subdir, places):
            held[subdir, filename] = sha256
        filenames = [one.filename for one in group]
        for tombstone in uploads.list_tombstones(session, channel.id, subdir, filenames):
            buried[subdir, tombstone.filename] = tombstone
    return held, buried


def _by_subdir(imports: Iterable[Import]) -> dict[str, list[Import]]:
    groups: defaultdict[str, list[Import]] = defaultdict(list)
    for one in imports:
        groups[one.subdir].append(one)
    return groups


def _add_to_packages(
    session: Session, channel: Channel, imports: Sequence[Import], now: int
) -> dict[str, Package]:
    """Count the files in their packages, and describe these; add those that are missing.

    The channel is locked, so nobody else counts.
    """
    names = sorted({one.name for one in imports})
    packages = {package.name: package for package in list_named(session, channel.id, names)}
    new = [
        Package(channel_id=channel.id, name=name, files_count=0, platforms="")
        for name in names
        if name not in packages
    ]
    packages |= {package.name: package for package in new}
    for one in imports:
        package, archive = packages[one.name], one.received.archive
        package.files_count += 1
        package.latest_change = now
        if not one.removed:
            describe_by_upload(package, one.subdir, archive.filename.version, archive.about)
    session.add_all(new)
    session.flush()
    if new:
        count_up(session, channel.id, packages=len(new))
    return packages


def _row(one: Import, package: Package, principal: Principal, now: int) -> dict[str, Any]:
    indexed_at = now if one.indexed_at is None else min(one.indexed_at, now)
    return {
        "channel_id": package.channel_id,
        "package_id": package.id,
        "subdir": one.subdir,
        "name": one.name,
        "filename": one.filename,
        **columns_of(one.received, indexed_timestamp=indexed_at),
        "uploaded_at": now,
        "uploader_id": principal.user_id,
        "yanked_at": now if one.removed else None,
        "yank_reason": YANK_REASON if one.removed else None,
    }


def _record_events(
    session: Session, principal: Principal, channel: Channel, imports: Sequence[Import]
) -> None:
    uploaded = [Change(one.received.path, after=one.received.sha256) for one in imports]
    record_events(session, principal, Operation.FILE_UPLOAD, channel, uploaded)
    before, after = describe_yank(None, None), describe_yank(now_ms(), YANK_REASON)
    yanked = [Change(one.received.path, before, after) for one in imports if one.removed]
    record_events(session, principal, Operation.VERSION_YANK, channel, yanked)


def _tell_plugins(
    session: Session, plugins: Plugins, channel: Channel, imports: Sequence[Import]
) -> None:
    if not plugins.implements("package_published"):
        return
    for subdir, group in _by_subdir(imports).items():
        places = [(one.name, one.filename) for one in group]
        found = files.list_by_places(session, channel.id, subdir, places)
        stored = {file.filename: file for file in found}
        for one in group:
            plugins.call(
                "package_published",
                session=session,
                file=stored[one.filename],
                archive=one.received.archive,
            )
