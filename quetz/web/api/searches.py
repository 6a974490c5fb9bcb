"""Searches in all channels that the caller sees."""

from typing import Annotated

from fastapi import Query

from quetz.services import searches as service
from quetz.services.permissions import Operation
from quetz.web.api.pages import Text
from quetz.web.api.schemas import ChannelFound, PackageFound
from quetz.web.deps import Caller, ReadSession
from quetz.web.guard import GuardedRouter, declares

router = GuardedRouter(tags=["searches"])

PackageSearch = Annotated[
    Text, Query(alias="q", max_length=1000, examples=["numpy NOT base platform:linux-64"])
]
ChannelSearch = Annotated[Text, Query(alias="q", max_length=1000, examples=["forge private:false"])]


@router.get("/api/packages/search/", **declares(Operation.SEARCH_PACKAGES))
def search_packages(
    session: ReadSession, caller: Caller, q: PackageSearch = ""
) -> list[PackageFound]:
    """Find packages by words of their names, and by filters.

    These are `channel:`, `description:`, `summary:` and `platform:`. All parts have to hold;
    `AND` may stand between them, `NOT` before one. A filter holds one of its values, which
    commas separate, and none of those with `-` before them. A platform is written whole,
    anything else in part. Answers with the first 50 by name, then by channel.
    """
    found = service.search_packages(session, caller, q)
    return [PackageFound.found(package, channel) for package, channel in found]


@router.get(
    "/api/channels/search/",
    response_model=list[ChannelFound],
    **declares(Operation.SEARCH_CHANNELS),
)
def search_channels(session: ReadSession, caller: Caller, q: ChannelSearch = "") -> object:
    """Find channels by words of their names, `description:` and `private:true` or `false`.

    Written as for packages. Answers with the first 1,000 by name.
    """
    return service.search_channels(session, caller, q)
