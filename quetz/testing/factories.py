"""Rows with sensible defaults: a test states what matters to it."""

import hashlib
import itertools
import json
from typing import Any, TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from quetz.db.base import Base, now_ms
from quetz.db.models import Channel, ChannelMember, File, Package, PackageMember, User
from quetz.services.descriptions import describe_by_upload
from quetz.services.permissions import principal_of

__all__ = [
    "add_member",
    "make_channel",
    "make_file",
    "make_package",
    "make_user",
    "principal_of",
]

Row = TypeVar("Row", bound=Base)

_numbers = itertools.count(1)


def make_user(
    session: Session, username: str | None = None, *, role: str | None = None, **columns: Any
) -> User:
    """Add a user; ``role`` is the server role."""
    user = User(username=username or f"user-{next(_numbers)}", role=role, **columns)
    return _added(session, user)


def make_channel(
    session: Session,
    name: str | None = None,
    *,
    private: bool = False,
    owner: User | None = None,
    **columns: Any,
) -> Channel:
    channel = Channel(name=name or f"channel-{next(_numbers)}", private=private, **columns)
    _added(session, channel)
    if owner is not None:
        add_member(session, channel, owner, "owner")
    return channel


def make_package(
    session: Session,
    channel: Channel,
    name: str | None = None,
    *,
    owner: User | None = None,
    **columns: Any,
) -> Package:
    package = Package(channel_id=channel.id, name=name or f"package-{next(_numbers)}", **columns)
    _added(session, package)
    channel.packages_count += 1
    if owner is not None:
        add_member(session, package, owner, "owner")
    return package


def make_file(
    session: Session,
    channel: Channel,
    filename: str = "pkg-1.0-0.conda",
    *,
    subdir: str = "noarch",
    **columns: Any,
) -> File:
    """Add a file, and its package if the channel has none of the name.

    Its object is not in the store: to serve bytes, upload a package of ``packages.py``.
    """
    name, version, build = filename.removesuffix(".conda").removesuffix(".tar.bz2").rsplit("-", 2)
    package = session.scalar(
        select(Package).where(Package.channel_id == channel.id, Package.name == name)
    ) or make_package(session, channel, name)
    values = {
        "build_number": 0,
        "size": 1000,
        "sha256": hashlib.sha256(filename.encode()).hexdigest(),
        "md5": hashlib.md5(filename.encode()).hexdigest(),
    } | columns
    parts = {"name": name, "version": version, "build": build, "subdir": subdir}
    record = json.dumps(
        {"depends": [], "indexed_timestamp": 1_700_000_000_000}
        | parts
        | {key: values[key] for key in ("build_number", "size", "sha256", "md5")},
        sort_keys=True,
        separators=(",", ":"),
    )
    file = File(
        channel_id=channel.id,
        package_id=package.id,
        filename=filename,
        **parts,
        **({"record": record} | values),
    )
    package.files_count += 1
    if file.yanked_at is None:
        describe_by_upload(package, subdir, version, {})
    package.latest_change = now_ms()
    channel.size += file.size
    return _added(session, file)


def add_member(session: Session, place: Channel | Package, user: User, role: str) -> None:
    """Give ``user`` a role in a channel or in one package."""
    if isinstance(place, Channel):
        session.add(ChannelMember(channel_id=place.id, user_id=user.id, role=role))
    else:
        session.add(PackageMember(package_id=place.id, user_id=user.id, role=role))
    session.flush()


def _added(session: Session, row: Row) -> Row:
    session.add(row)
    session.flush()
    return row
