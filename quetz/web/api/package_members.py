"""Members of packages."""

from quetz.db.queries.channels import get_channel
from quetz.db.queries.packages import get_package
from quetz.services import package_members as service
from quetz.services.permissions import Operation
from quetz.web.api.pages import Text
from quetz.web.api.schemas import MemberIn, MemberOut
from quetz.web.deps import Caller, ReadChannel, ReadSession, WriteSession
from quetz.web.guard import GuardedRouter, declares

router = GuardedRouter(tags=["members"])
PATH = "/api/channels/{channel}/packages/{package}/members"


@router.get(PATH, **declares(Operation.PACKAGE_MEMBERS_LIST))
def list_package_members(
    channel: ReadChannel, package: str, session: ReadSession
) -> list[MemberOut]:
    found = get_package(session, channel, package)
    return [MemberOut.of(*row) for row in service.list_members(session, found)]


@router.post(PATH, status_code=201, **declares(Operation.PACKAGE_MEMBERS_ADD))
def add_package_member(
    channel: str, package: str, body: MemberIn, session: WriteSession, caller: Caller
) -> None:
    place = get_channel(session, channel)
    service.add_member(session, caller, place, package, body.username, role=body.role)


@router.delete(PATH, **declares(Operation.PACKAGE_MEMBERS_REMOVE))
def remove_package_member(
    channel: str, package: str, username: Text, session: WriteSession, caller: Caller
) -> None:
    place = get_channel(session, channel)
    service.remove_member(session, caller, place, package, username)
