"""Channels."""

from typing import Annotated

from fastapi import Depends, Query
from pydantic import AfterValidator

from quetz.db.models import Channel
from quetz.db.queries.channels import count_channels, get_channel
from quetz.db.queries.members import count_channel_members
from quetz.services import channels as service
from quetz.services.permissions import Operation
from quetz.web.api.pages import Page, SearchText, WindowDep
from quetz.web.api.schemas import (
    ChannelBase,
    ChannelExtra,
    ChannelIn,
    ChannelPatch,
    refuse_mirroring,
)
from quetz.web.deps import Caller, DeploymentDep, ReadChannel, ReadSession, WriteSession
from quetz.web.guard import GuardedRouter, declares

router = GuardedRouter(tags=["channels"])

WithPublic = Annotated[bool, Query(description="false: only those in which you have a role")]


@router.get("/api/channels", **declares(Operation.LIST_CHANNELS))
def list_channels(
    session: ReadSession, caller: Caller, *, public: WithPublic = True, q: SearchText = ""
) -> list[ChannelExtra]:
    wanted = service.channels_to_list(caller, public=public, text=q)
    return [ChannelExtra.of(*row) for row in service.list_channels(session, wanted)]


@router.get("/api/paginated/channels", **declares(Operation.LIST_CHANNELS))
def list_channels_by_page(
    session: ReadSession,
    caller: Caller,
    window: WindowDep,
    *,
    public: WithPublic = True,
    q: SearchText = "",
) -> Page[ChannelExtra]:
    wanted = service.channels_to_list(caller, public=public, text=q)
    rows = service.list_channels(session, wanted, window)
    count = count_channels(session, wanted)
    return Page.of(window, count, (ChannelExtra.of(*row) for row in rows))


async def requested_mirror(
    *, register_mirror: Annotated[bool, AfterValidator(refuse_mirroring)] = False
) -> None:
    """Take the parameter that clients send with every new channel."""


@router.post(
    "/api/channels",
    status_code=201,
    dependencies=[Depends(requested_mirror)],
    **declares(Operation.CHANNEL_CREATE),
)
def create_channel(
    body: ChannelIn, session: WriteSession, caller: Caller, deployment: DeploymentDep
) -> None:
    quota = deployment.settings.quotas.channel_quota
    service.create_channel(session, caller, body.as_new(), quota=quota)


@router.get("/api/channels/{channel}", **declares(Operation.CHANNEL_READ))
def read_channel(channel: ReadChannel, session: ReadSession) -> ChannelExtra:
    return ChannelExtra.of(channel, count_channel_members(session, channel.id))


@router.patch(
    "/api/channels/{channel}",
    response_model=ChannelBase,
    **declares(Operation.CHANNEL_PATCH),
)
def patch_channel(
    channel: str, body: ChannelPatch, session: WriteSession, caller: Caller
) -> Channel:
    found = get_channel(session, channel)
    return service.patch_channel(session, caller, found, body.as_changes())


@router.delete("/api/channels/{channel}", **declares(Operation.CHANNEL_DELETE))
def delete_channel(
    channel: str, session: WriteSession, caller: Caller, deployment: DeploymentDep
) -> None:
    keep = deployment.settings.storage.soft_delete_channel
    service.delete_channel(session, caller, get_channel(session, channel), keep=keep)
