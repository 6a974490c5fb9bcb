"""Packages: the names of a channel, made, listed and deleted."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from quetz.conda.names import check_package_name
from quetz.conda.versions import newest
from quetz.db.models import Channel, Package
from quetz.db.queries import channels, files
from quetz.db.queries import packages as queries
from quetz.db.queries.packages import ORDERS, PackageFilter
from quetz.db.queries.windows import EVERYTHING, Window
from quetz.errors import BadOrder, PackageNotFound
from quetz.errors.packages import PackageNameTaken
from quetz.services.events import record_event
from quetz.services.files import bury
from quetz.services.permissions import Operation, Principal

DIRECTIONS = {"": False, "asc": False, "desc": True}


@dataclass(frozen=True)
class PackageSummary:
    """A package with what its files say: the subdirs that hold one, the newest version.

    Files that were yanked say nothing.
    """

    package: Package
    platforms: list[str]
    current_version: str | None


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
    return PackageFilter(channel.id, text, tuple(order))


def list_packages(
    session: Session, wanted: PackageFilter, window: Window = EVERYTHING
) -> list[PackageSummary]:
    """Return summaries in the filter's order, by as many queries however many there are."""
    return _summarize_ids(session, queries.list_package_ids(session, wanted, window))


def list_packages_after(
    session: Session, wanted: PackageFilter, name: str, *, limit: int
) -> tuple[list[PackageSummary], list[str] | None]:
    """Return summaries by name, from behind a name, and the name behind which more follow."""
    places = queries.list_places_after(session, wanted, name, limit=limit + 1)
    # Not from the rows that are read next: these packages may be deleted by then.
    following = [places[limit - 1].name] if len(places) > limit else None
    return _summarize_ids(session, [found.id for found in places[:limit]]), following


def get_summary(session: Session, channel: Channel, name: str) -> PackageSummary:
    """Raises PackageNotFound."""
    package = queries.get_package(session, channel, name)
    return summarize(session, [package])[0]


def delete_package(
    session: Session, principal: Principal, channel: Channel, package: Package
) -> None:
    """Delete a package with all its files, whose names stay reserved for their bytes.

    Raises:
        PackageNotFound: it was deleted meanwhile.
    """
    name = package.name
    channels.lock_channel(session, channel)
    bury(session, channel, files.remove_files_of(session, package.id))
    if not queries.remove_package(session, package.id):
        raise PackageNotFound(channel.name, name)
    channels.count_up(session, channel.id, packages=-1)
    record_event(session, principal, Operation.PACKAGE_DELETE, channel=channel, subject=name)
    session.flush()


def _summarize_ids(session: Session, ids: Sequence[int]) -> list[PackageSummary]:
    found = {package.id: package for package in queries.list_packages(session, ids)}
    return summarize(session, [found[package_id] for package_id in ids if package_id in found])


def summarize(session: Session, packages: Sequence[Package]) -> list[PackageSummary]:
    """Return a summary of each package, in the same order."""
    subdirs: defaultdict[int, set[str]] = defaultdict(set)
    versions: defaultdict[int, set[str]] = defaultdict(set)
    for package_id, subdir, version in queries.list_builds(session, [row.id for row in packages]):
        subdirs[package_id].add(subdir)
        versions[package_id].add(version)
    return [
        PackageSummary(
            package,
            sorted(subdirs[package.id]),
            newest(versions[package.id]) if versions[package.id] else None,
        )
        for package in packages
    ]
