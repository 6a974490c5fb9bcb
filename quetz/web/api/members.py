"""Members of channels."""

from quetz.db.queries.channels import get_channel
from quetz.services import members as service
from quetz.services.permissions import Operation
from quetz.web.api.pages import Text
from quetz.web.api.schemas import MemberIn, MemberOut
from quetz.web.deps import Caller, ReadChannel, ReadSession, WriteSession
from quetz.web.guard import GuardedRouter, declares

router = GuardedRouter(tags=["members"])
PATH = "/api/channels/{channel}/members"


@router.get(PATH, **declares(Operation.CHANNEL_MEMBERS_LIST))
def list_members(channel: ReadChannel, session: ReadSession) -> list[MemberOut]:
    rows = service.list_members(session, channel)
    return [MemberOut.of(*row) for row in rows]


@router.post(PATH, status_code=201, **declares(Operation.CHANNEL_MEMBERS_ADD))
def set_member(channel: str, body: MemberIn, session: WriteSession, caller: Caller) -> None:
    found = get_channel(session, channel)
    service.set_member(session, caller, found, body.username, body.role)


@router.delete(PATH, **declares(Operation.CHANNEL_MEMBERS_REMOVE))
def remove_member(channel: str, username: Text, session: WriteSession, caller: Caller) -> None:
    service.remove_member(session, caller, get_channel(session, channel), username)
