"""Packages: the names of a channel, made, listed and deleted."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from quetz.conda.names import check_package_name
from quetz.crashpoints import crashpoint
from quetz.db.models import Channel, Package
from quetz.db.queries import channels, files
from quetz.db.queries import packages as queries
from quetz.db.queries.packages import ORDERS, PackageFilter
from quetz.errors import BadOrder, PackageNotFound
from quetz.errors.packages import PackageNameTaken
from quetz.services.events import record_event
from quetz.services.files import bury
from quetz.services.permissions import Operation, Principal

DIRECTIONS = {"": False, "asc": False, "desc": True}


@dataclass(frozen=True)
class NewPackage:
    """A name, and what people are told of it until an upload says more."""

    name: str
    summary: str | None = None
    description: str | None = None
    url: str | None = None


def create_package(
    session: Session, principal: Principal, channel: Channel, new: NewPackage
) -> Package:
    """Add a package without files, which stays until it or its last file is deleted.

    Raises:
        BadName: the name breaks the rule of package names.
        PackageNameTaken: the channel has a package of the name.
    """
    check_package_name(new.name)
    channels.lock_channel(session, channel)
    if queries.find_package(session, channel.id, new.name) is not None:
        raise PackageNameTaken(channel.name, new.name)
    package = add_package(session, channel, new)
    record_event(session, principal, Operation.PACKAGE_CREATE, channel=channel, subject=new.name)
    session.flush()
    return package


def add_package(session: Session, channel: Channel, new: NewPackage) -> Package:
    """Add and count a package whose name is sound and free; the channel is locked."""
    package = Package(
        channel_id=channel.id,
        name=new.name,
        summary=new.summary,
        description=new.description,
        url=new.url,
    )
    session.add(package)
    session.flush()
    channels.count_up(session, channel.id, packages=1)
    return package


def packages_to_list(channel: Channel, *, text: str = "", order_by: str = "") -> PackageFilter:
    """Return the filter for packages of a channel whose name holds ``text``.

    ``order_by`` is such as ``latest_change:desc,name``; the direction may be left out.

    Raises:
        BadOrder: it names something that packages cannot be ordered by.
    """
    order = []
    for part in order_by.split(",") if order_by else ():
        key, _, direction = part.strip().partition(":")
        if key not in ORDERS or direction not in DIRECTIONS:
            raise BadOrder(part, " or ".join(ORDERS))
        order.append((key, DIRECTIONS[direction]))
    return PackageFilter(channel, text, tuple(order))


def list_packages_after(
    session: Session, wanted: PackageFilter, name: str, *, limit: int
) -> tuple[Sequence[Package], list[str] | None]:
    """Return packages by name, from behind a name, and the name behind which more follow."""
    found = queries.list_packages_after(session, wanted, name, limit=limit + 1)
    following = [found[limit - 1].name] if len(found) > limit else None
    return found[:limit], following


def delete_package(
    session: Session,
    principal: Principal,
    channel: Channel,
    package: Package,
    *,
    keep: bool = False,
) -> None:
    """Delete a package with all its files, whose names stay reserved for their bytes.

    ``keep`` keeps the objects of the files for good.

    Raises:
        PackageNotFound: it was deleted meanwhile.
    """
    name = package.name
    channels.lock_channel(session, channel)
    bury(session, channel, files.remove_files_of(session, package.id), keep=keep)
    crashpoint("package.deleting")
    if not queries.remove_package(session, package.id):
        raise PackageNotFound(channel.name, name)
    channels.count_up(session, channel.id, packages=-1)
    record_event(session, principal, Operation.PACKAGE_DELETE, channel=channel, subject=name)
    session.flush()
