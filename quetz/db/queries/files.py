"""Files: the builds of a package."""

import json
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

from sqlalchemy import (
    JSON,
    ColumnElement,
    Row,
    bindparam,
    cast,
    delete,
    func,
    insert,
    literal_column,
    select,
    tuple_,
)
from sqlalchemy.orm import Session

from quetz.db.models import File, FileDownloads, User
from quetz.db.queries.windows import Query, batches

# Built once: every upload asks it, and building it takes longer than SQLite takes to answer.
_BY_PLACE = select(File).where(
    File.channel_id == bindparam("channel_id"),
    File.subdir == bindparam("subdir"),
    File.name == bindparam("name"),
    File.filename == bindparam("filename"),
)

Removed: TypeAlias = Row[str, str, str, str, int]
_REMOVED = (File.subdir, File.name, File.filename, File.sha256, File.size)


def find_file(
    session: Session, channel_id: int, subdir: str, name: str, filename: str
) -> File | None:
    """Return the file; ``name`` is its package's, the one that ``filename`` begins with."""
    place = {"channel_id": channel_id, "subdir": subdir, "name": name, "filename": filename}
    return session.scalar(_BY_PLACE, place)


def list_held(
    session: Session, channel_id: int, subdir: str, places: Sequence[tuple[str, str]]
) -> list[Row[str, str]]:
    """Return (filename, sha256) of those of the (name, filename) that a subdir has."""
    query = _at_places(session, select(File.filename, File.sha256))
    found = session.execute(query, _places(channel_id, subdir, places))
    return [row for row in found if row.filename]


def list_by_places(
    session: Session, channel_id: int, subdir: str, places: Sequence[tuple[str, str]]
) -> Sequence[File]:
    """Return the files of a subdir with these (name, filename), of which each is there."""
    query = _at_places(session, select(File))
    return session.scalars(query, _places(channel_id, subdir, places)).all()


def _places(channel_id: int, subdir: str, places: Sequence[tuple[str, str]]) -> dict[str, Any]:
    return {"channel_id": channel_id, "subdir": subdir, "places": json.dumps(places)}


def _at_places(session: Session, query: Query) -> Query:
    """Let the query have a row for each of ``_places``, of NULL where there is no file.

    They are one parameter, for to compile thousands takes longer than the query; and an outer
    join, for SQLite turns any other around and looks through the whole subdir.
    """
    if session.get_bind().dialect.name == "sqlite":
        rows = func.json_each(bindparam("places")).table_valued("value")
        parts: list[ColumnElement[str]] = [
            func.json_extract(rows.c.value, path) for path in ("$[0]", "$[1]")
        ]
    else:
        places = cast(bindparam("places"), JSON)
        rows = func.json_array_elements(places).table_valued("value")
        parts = [rows.c.value.op("->>")(literal_column(place)) for place in ("0", "1")]
    at_place = (
        (File.channel_id == bindparam("channel_id"))
        & (File.subdir == bindparam("subdir"))
        & (File.name == parts[0])
        & (File.filename == parts[1])
    )
    return query.select_from(rows.outerjoin(File, at_place))


def add_files(session: Session, rows: Sequence[dict[str, Any]]) -> None:
    session.connection().execute(insert(File), rows)


def find_again(session: Session, file_id: int) -> File | None:
    """Return the file as it is now, whatever the session has seen of it before."""
    return session.get(File, file_id, populate_existing=True)


def find_largest(session: Session, package_id: int, filename: str) -> int:
    """Return the largest size of the package's files of this name, in bytes; 0 without one."""
    query = select(func.max(File.size)).where(
        File.package_id == package_id, File.filename == filename
    )
    return session.scalar(query) or 0


def list_builds(session: Session, package_id: int, *, since: int) -> Sequence[Row[int, str, int]]:
    """Return (id, version, build number) of files uploaded at or after ``since``, by place."""
    query = (
        select(File.id, File.version, File.build_number)
        .where(File.package_id == package_id, File.uploaded_at >= since)
        .order_by(File.subdir, File.filename)
    )
    return session.execute(query).all()


def list_places_after(
    session: Session, package_id: int, place: tuple[str, str], *, limit: int
) -> Sequence[Row[int, str, str]]:
    """Return (id, subdir, filename) of a package's files, in this order, from behind a place."""
    order = tuple_(File.subdir, File.filename)
    query = (
        select(File.id, File.subdir, File.filename)
        .where(File.package_id == package_id, order > place)
        .order_by(File.subdir, File.filename)
        .limit(limit)
    )
    return session.execute(query).all()


def list_files(session: Session, ids: Sequence[int]) -> list[Row[File, User | None, int]]:
    """Return (file, uploader, number of downloads) of the files with these ids, in any order."""
    query = (
        select(File, User, func.coalesce(FileDownloads.count, 0))
        .outerjoin(User, User.id == File.uploader_id)
        .outerjoin(FileDownloads, FileDownloads.file_id == File.id)
    )
    found: list[Row[File, User | None, int]] = []
    for some in batches(ids):
        found += session.execute(query.where(File.id.in_(some)))
    return found


def list_in_subdir(
    session: Session, channel_id: int, subdir: str, *, limit: int
) -> Sequence[Row[str, int, int, int | None]]:
    """Return (filename, size, when uploaded, when yanked) by package name, then by file name."""
    query = (
        select(File.filename, File.size, File.uploaded_at, File.yanked_at)
        .where(File.channel_id == channel_id, File.subdir == subdir)
        .order_by(File.name, File.filename)
        .limit(limit)
    )
    return session.execute(query).all()


def list_objects(session: Session, channel_id: int) -> Sequence[Row[str, str, int, str]]:
    """Return (subdir, filename, size, sha256) of each file of a channel, by place."""
    query = (
        select(File.subdir, File.filename, File.size, File.sha256)
        .where(File.channel_id == channel_id)
        .order_by(File.subdir, File.name, File.filename)
    )
    return session.execute(query).all()


def list_hashes(session: Session, channel_id: int) -> list[str]:
    """Return the sha256 of each object that a file of the channel names, in order."""
    query = select(File.sha256).distinct().where(File.channel_id == channel_id)
    return list(session.scalars(query.order_by(File.sha256)))


def list_subdirs(session: Session, channel_id: int) -> list[str]:
    """Return the subdirs of a channel that hold a file, by name; one look-up for each."""
    first = select(func.min(File.subdir)).where(File.channel_id == channel_id)
    subdirs: list[str] = []
    subdir = session.scalar(first)
    while subdir is not None:
        subdirs.append(subdir)
        subdir = session.scalar(first.where(File.subdir > subdir))
    return subdirs


def read_abouts(session: Session, package_id: int) -> Iterator[str]:
    """Yield ``about`` of a package's files, the last uploaded first; not of yanked ones."""
    query = (
        select(File.id)
        .where(File.package_id == package_id, File.yanked_at.is_(None))
        .order_by(File.uploaded_at.desc(), File.id.desc())
    )
    for file_id in session.scalars(query).all():  # no wide rows are sorted, and few are read
        yield session.scalars(select(File.about).where(File.id == file_id)).one()


def remove_file(session: Session, file_id: int) -> Sequence[Removed]:
    """Delete the file; return (subdir, name, filename, sha256, size) of it, or nothing."""
    query = delete(File).where(File.id == file_id)
    return session.execute(query.returning(*_REMOVED)).all()


def remove_files_of(session: Session, package_id: int) -> Sequence[Removed]:
    """Delete all files of a package; return (subdir, name, filename, sha256, size) of each."""
    query = delete(File).where(File.package_id == package_id)
    return session.execute(query.returning(*_REMOVED)).all()
