"""Packages: the names of a channel."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, UnaryExpression, bindparam, delete, func, select, update
from sqlalchemy.orm import Session

from quetz.conda.names import check_package_name
from quetz.db.models import Channel, File, Package
from quetz.db.queries.windows import Window, batches, contains
from quetz.errors import BadName, PackageNotFound

# Built once: uploads and lists ask them, and building one takes longer than SQLite takes to answer.
_BY_NAME = select(Package).where(
    Package.channel_id == bindparam("channel_id"), Package.name == bindparam("name")
)
_COUNT_FILES_UP = (
    update(Package)
    .where(Package.id == bindparam("package_id"))
    .values(
        files_count=Package.files_count + bindparam("more_files"), latest_change=bindparam("at")
    )
)

# What packages may be ordered by.
ORDERS = {"name": Package.name, "latest_change": Package.latest_change}


@dataclass(frozen=True)
class PackageFilter:
    """Which packages of a channel, in which order.

    ``order`` holds (key of ORDERS, descending) in falling weight; the name decides what is left.
    """

    channel: Channel
    text: str = ""
    order: tuple[tuple[str, bool], ...] = ()

    @property
    def condition(self) -> ColumnElement[bool]:
        condition = Package.channel_id == self.channel.id
        return condition & contains(Package.name, self.text) if self.text else condition

    @property
    def columns(self) -> list[UnaryExpression[Any]]:
        # Databases disagree on where NULL stands: a package without a change comes last.
        ordered = [
            (ORDERS[key].desc() if down else ORDERS[key].asc()).nulls_last()
            for key, down in self.order
        ]
        return [*ordered, Package.name.asc()]


def find_package(session: Session, channel_id: int, name: str) -> Package | None:
    try:
        check_package_name(name)
    except BadName:
        return None  # no package has such a name, and PostgreSQL refuses to compare some
    return session.scalar(_BY_NAME, {"channel_id": channel_id, "name": name})


def get_package(session: Session, channel: Channel, name: str) -> Package:
    """Raises PackageNotFound."""
    package = find_package(session, channel.id, name)
    if package is None:
        raise PackageNotFound(channel.name, name)
    return package


def list_named(session: Session, channel_id: int, names: Sequence[str]) -> list[Package]:
    """Return those of the packages that a channel has, as they are now."""
    found: list[Package] = []
    for some in batches(names):
        query = select(Package).where(Package.channel_id == channel_id, Package.name.in_(some))
        found += session.scalars(query.execution_options(populate_existing=True))
    return found


def find_again(session: Session, package_id: int) -> Package | None:
    """Return the package as it is now, whatever the session has seen of it before."""
    return session.get(Package, package_id, populate_existing=True)


def list_packages(session: Session, wanted: PackageFilter, window: Window) -> Sequence[Package]:
    """Return packages in the filter's order; what is skipped or sorted is no wide row."""
    ids = select(Package.id).where(wanted.condition).order_by(*wanted.columns)
    query = select(Package).where(Package.id.in_(window.of(ids))).order_by(*wanted.columns)
    return session.scalars(query).all()


def list_packages_after(
    session: Session, wanted: PackageFilter, name: str, *, limit: int
) -> Sequence[Package]:
    """Return packages by name, from behind a name."""
    query = select(Package).where(wanted.condition, Package.name > name)
    return session.scalars(query.order_by(Package.name).limit(limit)).all()


def list_lines(
    session: Session, channel_id: int, *, summary_length: int, limit: int
) -> Sequence[Row[str, str | None, str | None]]:
    """Return (name, the beginning of the summary, url) of a channel's packages, by name."""
    summary = func.substr(Package.summary, 1, summary_length)
    query = select(Package.name, summary, Package.url).where(Package.channel_id == channel_id)
    return session.execute(query.order_by(Package.name).limit(limit)).all()


def count_packages(session: Session, wanted: PackageFilter) -> int:
    if not wanted.text:
        return wanted.channel.packages_count
    query = select(func.count()).select_from(Package).where(wanted.condition)
    return session.scalar(query) or 0


def list_builds(session: Session, package_id: int) -> Sequence[Row[str, str]]:
    """Return each (subdir, version) of which a package has a file that is not yanked."""
    query = select(File.subdir, File.version).distinct()
    return session.execute(
        query.where(File.package_id == package_id, File.yanked_at.is_(None))
    ).all()


def count_files_up(session: Session, package_id: int, files: int, at: int) -> None:
    """Add to the package's number of files, which changes at ``at``; negative takes away."""
    values = {"package_id": package_id, "more_files": files, "at": at}
    session.connection().execute(_COUNT_FILES_UP, values)
    session.expire(session.get_one(Package, package_id), ["files_count", "latest_change"])


def remove_package(session: Session, package_id: int, *, if_empty: bool = False) -> bool:
    """Delete the package and all that belongs to it; False: it was gone, or is not empty."""
    query = delete(Package).where(Package.id == package_id)
    if if_empty:
        query = query.where(Package.files_count == 0)
    return session.scalar(query.returning(Package.id)) is not None
