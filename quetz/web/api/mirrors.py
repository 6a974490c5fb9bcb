"""Mirrors that others keep of a channel."""

from pydantic import BaseModel, ConfigDict

from quetz.db.models import ChannelMirror
from quetz.db.queries.channels import get_channel
from quetz.services import mirrors as service
from quetz.services.permissions import Operation
from quetz.web.deps import Caller, ReadChannel, ReadSession, WriteSession
from quetz.web.guard import GuardedRouter, declares

router = GuardedRouter(tags=["mirrors"])
PATH = "/api/channels/{channel}/mirrors"


class MirrorIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    url: str
    api_endpoint: str | None = None
    metrics_endpoint: str | None = None


class MirrorOut(BaseModel):
    id: str
    url: str
    api_endpoint: str
    metrics_endpoint: str

    @classmethod
    def of(cls, mirror: ChannelMirror) -> "MirrorOut":
        return cls(
            id=mirror.public_id,
            url=mirror.url,
            api_endpoint=mirror.api_endpoint,
            metrics_endpoint=mirror.metrics_endpoint,
        )


@router.get(PATH, **declares(Operation.CHANNEL_MIRRORS_LIST))
def list_mirrors(channel: ReadChannel, session: ReadSession) -> list[MirrorOut]:
    mirrors = service.list_mirrors(session, channel)
    return [MirrorOut.of(mirror) for mirror in mirrors]


@router.post(PATH, status_code=201, **declares(Operation.CHANNEL_MIRRORS_REGISTER))
def register_mirror(channel: str, body: MirrorIn, session: WriteSession, caller: Caller) -> None:
    """Tell of a mirror. Nobody is asked whether there is one.

    Endpoints that are left out are ``url`` with ``api/channels`` or ``metrics/channels`` in place
    of ``get`` in its path.
    """
    new = service.NewMirror(body.url, body.api_endpoint, body.metrics_endpoint)
    service.register_mirror(session, caller, get_channel(session, channel), new)


@router.delete(f"{PATH}/{{mirror_id}}", **declares(Operation.CHANNEL_MIRRORS_DELETE))
def remove_mirror(channel: str, mirror_id: str, session: WriteSession, caller: Caller) -> None:
    service.remove_mirror(session, caller, get_channel(session, channel), mirror_id)
