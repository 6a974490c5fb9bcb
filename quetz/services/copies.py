"""Copies: files of one channel made part of another, by reference; no bytes are moved."""

import json
from dataclasses import dataclass

from sqlalchemy.orm import Session

from quetz.conda.archives import PackageArchive
from quetz.conda.filenames import PackageFilename
from quetz.crashpoints import crashpoint
from quetz.db.models import File
from quetz.db.queries.channels import get_channel, lock_channel
from quetz.errors import FileNotFound
from quetz.errors.packages import FileYanked
from quetz.plugins import Plugins
from quetz.services.authentication import renew_principal
from quetz.services.files import get_file
from quetz.services.permissions import Operation, Principal, authorize_path
from quetz.services.uploads import Outcome, Received, ask_plugins, record

_SAID_BY_THE_CHANNEL = frozenset({"size", "md5", "sha256", "indexed_timestamp"})


@dataclass(frozen=True)
class Source:
    """Which file is copied."""

    channel: str
    package: str
    subdir: str
    filename: str


def find_source(
    session: Session, plugins: Plugins, principal: Principal, channel_name: str, source: Source
) -> Received:
    """Return what is to be copied into the channel, once plugins have not refused it.

    Raises:
        ChannelHidden, ChannelNotFound: the caller does not see the source's channel.
        FileNotFound: the source does not exist.
        FileYanked: nothing shall install it.
        Invalid: a plugin refuses it.
        PluginFailed: a plugin failed.
    """
    found = _described(session, principal, source)
    ask_plugins(session, plugins, channel_name, [found])
    return found


def copy_file(
    session: Session,
    plugins: Plugins,
    principal: Principal,
    channel_name: str,
    source: Source,
    *,
    asked: Received,
    force: bool = False,
) -> Outcome:
    """Make the file part of the channel as an upload of the same bytes would.

    ``asked`` is what ``find_source`` returned. Whoever waited for the lock since then may have
    lost his rights in the source's channel, and the source may be gone: both are looked at again.

    Raises:
        FileNotFound: the source was deleted or replaced meanwhile.
        QuetzError: as ``find_source``, for the source, and ``record``, for the channel.
    """
    # The source's channel is not locked: a change of it would wait for those of this one.
    lock_channel(session, get_channel(session, channel_name))
    principal = renew_principal(session, principal)
    found = _described(session, principal, source)
    if found.sha256 != asked.sha256:
        raise FileNotFound(f"{source.channel}/{found.path}")
    [outcome] = record(session, plugins, principal, channel_name, [found], force=force)
    crashpoint("copy.recorded")
    return outcome


def _described(session: Session, principal: Principal, source: Source) -> Received:
    authorize_path(session, principal, Operation.PACKAGE_COPY_FROM, source.channel, source.package)
    channel = get_channel(session, source.channel)
    file = get_file(session, channel, source.package, source.subdir, source.filename)
    if file.yanked_at is not None:
        raise FileYanked(f"{channel.name}/{file.subdir}/{file.filename}")
    return Received(_archive(file), file.size, file.sha256, file.md5, Operation.PACKAGE_COPY)


def _archive(file: File) -> PackageArchive:
    """Return what the package said of itself when it was uploaded; its bytes are not read."""
    record = json.loads(file.record)
    return PackageArchive(
        filename=PackageFilename.parse(file.filename),
        subdir=file.subdir,
        index={key: value for key, value in record.items() if key not in _SAID_BY_THE_CHANNEL},
        run_exports=json.loads(file.run_exports),
        about=json.loads(file.about),
    )
