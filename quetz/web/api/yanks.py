"""Yanks of versions."""

from typing import Annotated

from fastapi import Response
from pydantic import BaseModel, ConfigDict, Field

from quetz.db.models import File
from quetz.db.queries.channels import get_channel
from quetz.services import yanks as service
from quetz.services.files import get_file
from quetz.services.permissions import Operation
from quetz.services.texts import YANK_REASON_LENGTH
from quetz.web.api.pages import Text
from quetz.web.api.schemas import iso_time
from quetz.web.deps import Caller, ReadChannel, ReadSession, WriteSession
from quetz.web.guard import GuardedRouter, declares
from quetz.web.index_waits import WAITS_FOR_INDEX

router = GuardedRouter(tags=["versions"])

_ONE = "/api/channels/{channel}/packages/{package}/versions/{platform}/{filename}"


class YankIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    reason: Annotated[Text, Field(max_length=YANK_REASON_LENGTH)] | None = None


class YankOut(BaseModel):
    yanked: bool
    reason: str | None
    at: str | None = Field(examples=["2026-01-02T03:04:05.123000+00:00"])

    @classmethod
    def of(cls, file: File) -> "YankOut":
        at = None if file.yanked_at is None else iso_time(file.yanked_at)
        return cls(yanked=at is not None, reason=file.yank_reason, at=at)


@router.get(f"{_ONE}/yank", **declares(Operation.VERSION_READ))
def read_yank(
    channel: ReadChannel, package: str, platform: str, filename: str, session: ReadSession
) -> YankOut:
    """Tell whether a file is yanked, since when and why."""
    return YankOut.of(get_file(session, channel, package, platform, filename))


@router.post(f"{_ONE}/yank", dependencies=[WAITS_FOR_INDEX], **declares(Operation.VERSION_YANK))
def yank_version(
    channel: str,
    package: str,
    platform: str,
    filename: str,
    *,
    body: YankIn | None = None,
    session: WriteSession,
    caller: Caller,
    response: Response,
) -> None:
    """Take a file out of the indexes, so that nothing installs it; it can still be downloaded.

    Indexes name it as removed. Whoever may read the channel can read the reason. To yank it again
    sets another reason, or changes nothing.
    """
    place = get_channel(session, channel)
    file = get_file(session, place, package, platform, filename)
    reason = body.reason if body else None
    _tell(response, service.yank_file(session, caller, place, file, reason=reason))


@router.post(f"{_ONE}/restore", dependencies=[WAITS_FOR_INDEX], **declares(Operation.VERSION_YANK))
def restore_version(
    channel: str,
    package: str,
    platform: str,
    filename: str,
    *,
    session: WriteSession,
    caller: Caller,
    response: Response,
) -> None:
    """Put a file that was yanked back into the indexes."""
    place = get_channel(session, channel)
    file = get_file(session, place, package, platform, filename)
    _tell(response, service.restore_file(session, caller, place, file))


def _tell(response: Response, change: int | None) -> None:
    if change is not None:
        response.headers["Quetz-Change"] = str(change)
