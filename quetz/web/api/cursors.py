"""Lists by cursor: pages that stay right while rows are added and removed."""

import base64
import binascii
import json
from collections.abc import Sequence
from typing import Annotated, Generic, TypeVar

from fastapi import Query
from pydantic import BaseModel

from quetz.db.queries.packages import get_package
from quetz.errors.searches import BadCursor
from quetz.services import channels, files, packages
from quetz.services.permissions import Operation
from quetz.web.api.pages import LONGEST_PAGE, Text
from quetz.web.api.schemas import ChannelExtra, PackageOut, VersionOut
from quetz.web.deps import Caller, ReadChannel, ReadSession
from quetz.web.guard import GuardedRouter, declares

router = GuardedRouter(tags=["lists by cursor"])

Item = TypeVar("Item")
Limit = Annotated[int, Query(ge=1, le=LONGEST_PAGE)]
After = Annotated[
    Text | None, Query(max_length=600, description="what the page before gave as `next`")
]


class CursorPage(BaseModel, Generic[Item]):
    """``next`` is the cursor of the page that follows; null on the last one."""

    items: list[Item]
    next: str | None


@router.get("/api/cursor/channels", **declares(Operation.LIST_CHANNELS))
def list_channels(
    session: ReadSession, caller: Caller, limit: Limit = 20, after: After = None
) -> CursorPage[ChannelExtra]:
    """List the channels that the caller sees, by name."""
    [name] = _position(after, 1)
    wanted = channels.channels_to_list(caller)
    rows, following = channels.list_channels_after(session, wanted, name, limit=limit)
    return CursorPage(items=[ChannelExtra.of(*row) for row in rows], next=_cursor(following))


@router.get("/api/cursor/channels/{channel}/packages", **declares(Operation.CHANNEL_LIST_PACKAGES))
def list_packages(
    channel: ReadChannel, session: ReadSession, limit: Limit = 20, after: After = None
) -> CursorPage[PackageOut]:
    """List the packages of a channel by name."""
    [name] = _position(after, 1)
    wanted = packages.packages_to_list(channel)
    found, following = packages.list_packages_after(session, wanted, name, limit=limit)
    return CursorPage(items=list(map(PackageOut.of, found)), next=_cursor(following))


@router.get(
    "/api/cursor/channels/{channel}/packages/{package}/versions",
    **declares(Operation.PACKAGE_VERSIONS),
)
def list_versions(
    channel: ReadChannel, package: str, session: ReadSession, limit: Limit = 20, after: After = None
) -> CursorPage[VersionOut]:
    """List the files of a package by platform and file name."""
    subdir, filename = _position(after, 2)
    found = get_package(session, channel, package)
    rows, following = files.list_files_after(session, found, (subdir, filename), limit=limit)
    return CursorPage(items=[VersionOut.of(channel, row) for row in rows], next=_cursor(following))


def _cursor(position: Sequence[str] | None) -> str | None:
    """Write the place of the last item: where it stands, not how many stand before it."""
    if position is None:
        return None
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode().rstrip("=")


def _position(cursor: str | None, parts: int) -> list[str]:
    """Return the ``parts`` texts of a cursor; empty ones without it, before every name.

    Raises:
        BadCursor: it was not made by ``_cursor`` for such a list.
    """
    if cursor is None:
        return [""] * parts
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        position = json.loads(base64.b64decode(padded, altchars="-_", validate=True))
    except (ValueError, binascii.Error, RecursionError):
        raise BadCursor from None
    if not isinstance(position, list) or len(position) != parts:
        raise BadCursor
    if not all(isinstance(text, str) and text.isascii() and "\0" not in text for text in position):
        raise BadCursor
    return position
