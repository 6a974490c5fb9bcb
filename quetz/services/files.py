"""Files: the builds of a package, listed and deleted."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row
from sqlalchemy.orm import Session

from quetz.conda.filenames import PackageFilename
from quetz.conda.names import is_subdir
from quetz.conda.version_specs import matching_versions
from quetz.conda.versions import sorted_versions
from quetz.crashpoints import crashpoint
from quetz.db.base import now_ms
from quetz.db.models import Channel, File, Package, User
from quetz.db.queries import channels, packages, tombstones
from quetz.db.queries import files as queries
from quetz.db.queries.files import Removed
from quetz.errors import BadFilename, FileNotFound
from quetz.services.descriptions import describe_again
from quetz.services.events import record_event
from quetz.services.objects import end_references
from quetz.services.permissions import Operation, Principal
from quetz.services.publishing import mark_dirty


@dataclass(frozen=True)
class FileFilter:
    """Which files of a package: uploaded at or after ``since``, of a version that meets ``spec``.

    An empty specification is met by every version.
    """

    since: int = 0
    spec: str = ""


def get_file(session: Session, channel: Channel, package: str, subdir: str, filename: str) -> File:
    """Raises FileNotFound."""
    file = None
    try:
        name = PackageFilename.parse(filename).name
    except BadFilename:
        name = None  # no file has such a name, and PostgreSQL refuses to compare some
    if name == package and is_subdir(subdir):
        file = queries.find_file(session, channel.id, subdir, package, filename)
    if file is None:
        raise FileNotFound(f"{channel.name}/{subdir}/{filename}")
    return file


def list_file_ids(session: Session, package: Package, wanted: FileFilter) -> list[int]:
    """Return the ids of a package's files, the newest version first (CEP 33).

    Raises:
        BadVersionSpec: the filter's specification is none.
    """
    builds = queries.list_builds(session, package.id, since=wanted.since)
    versions = {build.version for build in builds}
    if wanted.spec:
        versions = matching_versions(wanted.spec, versions)
    rank = {version: place for place, version in enumerate(sorted_versions(versions))}
    found = [build for build in builds if build.version in rank]
    # Sorting is stable: builds alike in these stay ordered by subdir and file name.
    found.sort(key=lambda build: (rank[build.version], build.build_number), reverse=True)
    return [build.id for build in found]


def list_files(session: Session, ids: Sequence[int]) -> list[Row[File, User | None, int]]:
    """Return (file, uploader, number of downloads) in the order of ``ids``."""
    rows = {row[0].id: row for row in queries.list_files(session, ids)}
    return [rows[file_id] for file_id in ids if file_id in rows]


def list_files_after(
    session: Session, package: Package, place: tuple[str, str], *, limit: int
) -> tuple[list[Row[File, User | None, int]], list[str] | None]:
    """Return files by (subdir, filename), from behind such a place, and where more follow."""
    places = queries.list_places_after(session, package.id, place, limit=limit + 1)
    # Not from the rows that are read next: these files may be deleted by then.
    following = list(places[limit - 1][1:]) if len(places) > limit else None
    return list_files(session, [found.id for found in places[:limit]]), following


def describe_file(session: Session, file: File) -> Row[File, User | None, int]:
    """Return (file, uploader, number of downloads).

    Raises:
        FileNotFound: it was deleted meanwhile.
    """
    for row in queries.list_files(session, [file.id]):
        return row
    raise FileNotFound(f"{file.subdir}/{file.filename}")


def read_run_exports(file: File) -> dict[str, Any]:
    """Return the file's run_exports by kind, such as ``{"weak": ["zlib >=1.2"]}`` (CEP 12)."""
    exports: dict[str, Any] = json.loads(file.run_exports)
    return exports


def delete_file(session: Session, principal: Principal, channel: Channel, file: File) -> None:
    """Take a file out of its channel; its package goes with its last file.

    The file's name stays reserved for its bytes.

    Raises:
        FileNotFound: it was deleted meanwhile.
    """
    path = f"{file.subdir}/{file.filename}"
    channels.lock_channel(session, channel)
    found = queries.find_again(session, file.id)
    if found is None:
        raise FileNotFound(f"{channel.name}/{path}")
    package_id, about = found.package_id, found.about
    removed = queries.remove_file(session, file.id)
    bury(session, channel, removed)
    crashpoint("file.deleting")
    packages.count_files_up(session, package_id, -1, now_ms())
    if packages.remove_package(session, package_id, if_empty=True):
        channels.count_up(session, channel.id, packages=-1)
    else:
        describe_again(session, package_id, about)
    record_event(
        session,
        principal,
        Operation.VERSION_DELETE,
        channel=channel,
        subject=path,
        before=removed[0].sha256,
    )
    session.flush()


def bury(
    session: Session, channel: Channel, removed: Sequence[Removed], *, keep: bool = False
) -> None:
    """Do what follows from the removal of files: reserve names, count down, mark the index.

    ``keep`` keeps their objects for good.
    """
    end_references(session, [file.sha256 for file in removed], keep=keep)
    gone = [(file.subdir, file.filename, file.sha256) for file in removed]
    tombstones.add_tombstones(session, channel.id, gone, at=now_ms())
    channels.count_up(session, channel.id, size=-sum(file.size for file in removed))
    for subdir, name in sorted({(file.subdir, file.name) for file in removed}):
        mark_dirty(session, channel.id, subdir, name)
