"""Versions: the files of a package."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import Depends, Query

from quetz.db.queries.channels import get_channel
from quetz.db.queries.packages import get_package
from quetz.db.queries.windows import EVERYTHING
from quetz.services import files as service
from quetz.services.files import FileFilter
from quetz.services.permissions import Operation
from quetz.web.api.pages import Page, WindowDep
from quetz.web.api.schemas import VersionOut, milliseconds
from quetz.web.deps import Caller, ReadChannel, ReadSession, WriteSession
from quetz.web.guard import GuardedRouter, declares
from quetz.web.index_waits import WAITS_FOR_INDEX

router = GuardedRouter(tags=["versions"])

_LIST = "channels/{channel}/packages/{package}/versions"
_ONE = f"/api/{_LIST}/{{platform}}/{{filename}}"


async def requested_files(
    time_created__ge: datetime | None = None,
    version_match_str: Annotated[str, Query(max_length=1000, examples=[">=1.2,<2"])] = "",
) -> FileFilter:
    if time_created__ge is None:
        return FileFilter(spec=version_match_str)
    # Rounded up: what was uploaded in an earlier millisecond was uploaded before.
    return FileFilter(since=milliseconds(time_created__ge), spec=version_match_str)


FilesDep = Annotated[FileFilter, Depends(requested_files)]


@router.get(f"/api/{_LIST}", **declares(Operation.PACKAGE_VERSIONS))
def list_versions(
    channel: ReadChannel, package: str, session: ReadSession, wanted: FilesDep
) -> list[VersionOut]:
    return list_versions_by_page(channel, package, session, wanted, EVERYTHING).result


@router.get(f"/api/paginated/{_LIST}", **declares(Operation.PACKAGE_VERSIONS))
def list_versions_by_page(
    channel: ReadChannel, package: str, session: ReadSession, wanted: FilesDep, window: WindowDep
) -> Page[VersionOut]:
    found = get_package(session, channel, package)
    ids = service.list_file_ids(session, found, wanted)
    rows = service.list_files(session, window.cut(ids))
    return Page.of(window, len(ids), (VersionOut.of(channel, row) for row in rows))


@router.get(_ONE, **declares(Operation.VERSION_READ))
def read_version(
    channel: ReadChannel, package: str, platform: str, filename: str, session: ReadSession
) -> VersionOut:
    file = service.get_file(session, channel, package, platform, filename)
    return VersionOut.of(channel, service.describe_file(session, file))


@router.get(f"{_ONE}/run_exports", **declares(Operation.VERSION_RUN_EXPORTS))
def read_run_exports(
    channel: ReadChannel, package: str, platform: str, filename: str, session: ReadSession
) -> dict[str, Any]:
    """Give what the file exports to those who build with it, by kind (CEP 12)."""
    return service.read_run_exports(service.get_file(session, channel, package, platform, filename))


@router.delete(_ONE, dependencies=[WAITS_FOR_INDEX], **declares(Operation.VERSION_DELETE))
def delete_version(
    channel: str,
    package: str,
    platform: str,
    filename: str,
    *,
    session: WriteSession,
    caller: Caller,
) -> None:
    place = get_channel(session, channel)
    file = service.get_file(session, place, package, platform, filename)
    service.delete_file(session, caller, place, file)
