"""Packages."""

from typing import Annotated

from fastapi import Query

from quetz.db.queries import packages as queries
from quetz.db.queries.channels import get_channel
from quetz.db.queries.windows import EVERYTHING
from quetz.services import packages as service
from quetz.services.permissions import Operation
from quetz.web.api.pages import Page, SearchText, WindowDep
from quetz.web.api.schemas import PackageIn, PackageOut
from quetz.web.deps import Caller, DeploymentDep, ReadChannel, ReadSession, WriteSession
from quetz.web.guard import GuardedRouter, declares
from quetz.web.index_waits import WAITS_FOR_INDEX

router = GuardedRouter(tags=["packages"])

OrderBy = Annotated[str, Query(max_length=100, examples=["latest_change:desc"])]


@router.get("/api/channels/{channel}/packages", **declares(Operation.CHANNEL_LIST_PACKAGES))
def list_packages(
    channel: ReadChannel, session: ReadSession, q: SearchText = ""
) -> list[PackageOut]:
    wanted = service.packages_to_list(channel, text=q)
    return [
        PackageOut.of(package) for package in queries.list_packages(session, wanted, EVERYTHING)
    ]


@router.get(
    "/api/paginated/channels/{channel}/packages", **declares(Operation.CHANNEL_LIST_PACKAGES)
)
def list_packages_by_page(
    channel: ReadChannel,
    session: ReadSession,
    window: WindowDep,
    q: SearchText = "",
    order_by: OrderBy = "",
) -> Page[PackageOut]:
    wanted = service.packages_to_list(channel, text=q, order_by=order_by)
    packages = queries.list_packages(session, wanted, window)
    count = queries.count_packages(session, wanted)
    return Page.of(window, count, map(PackageOut.of, packages))


@router.post(
    "/api/channels/{channel}/packages", status_code=201, **declares(Operation.PACKAGE_CREATE)
)
def create_package(channel: str, body: PackageIn, session: WriteSession, caller: Caller) -> None:
    """Add a package without files; it stays until it, or its last file, is deleted."""
    service.create_package(session, caller, get_channel(session, channel), body.as_new())


@router.get("/api/channels/{channel}/packages/{package}", **declares(Operation.PACKAGE_READ))
def read_package(channel: ReadChannel, package: str, session: ReadSession) -> PackageOut:
    return PackageOut.of(queries.get_package(session, channel, package))


@router.delete(
    "/api/channels/{channel}/packages/{package}",
    dependencies=[WAITS_FOR_INDEX],
    **declares(Operation.PACKAGE_DELETE),
)
def delete_package(
    channel: str, package: str, session: WriteSession, caller: Caller, deployment: DeploymentDep
) -> None:
    found = get_channel(session, channel)
    doomed = queries.get_package(session, found, package)
    keep = deployment.settings.storage.soft_delete_package
    service.delete_package(session, caller, found, doomed, keep=keep)
