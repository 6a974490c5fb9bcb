"""Users, their roles on the server, and the channels and packages that they have roles in.

Each route declares what everybody may do with his own account; the services ask for more where
it is another's.
"""

from pydantic import BaseModel

from quetz.db.models import Channel, Package
from quetz.db.queries.users import count_users
from quetz.services import accounts as service
from quetz.services.permissions import Operation, Role
from quetz.web.api.pages import Page, SearchText, WindowDep
from quetz.web.api.schemas import UserOut
from quetz.web.deps import Caller, ReadSession, WriteSession
from quetz.web.guard import GuardedRouter, declares

router = GuardedRouter(tags=["users"])

OWN = declares(Operation.USERS_READ_SELF)


class UserRole(BaseModel):
    role: Role | None


class UserChannel(BaseModel):
    name: str
    role: Role

    @classmethod
    def of(cls, channel: Channel, role: str) -> "UserChannel":
        return cls(name=channel.name, role=Role(role))


class UserPackage(BaseModel):
    name: str
    channel_name: str
    role: Role

    @classmethod
    def of(cls, package: Package, channel: Channel, role: str) -> "UserPackage":
        return cls(name=package.name, channel_name=channel.name, role=Role(role))


@router.get("/api/users", **OWN)
def list_users(session: ReadSession, caller: Caller, q: SearchText = "") -> list[UserOut]:
    """List all users by name; for a caller without an elevated role, himself only."""
    wanted = service.users_to_list(session, caller, text=q)
    return [UserOut.of(user) for user in service.list_users(session, wanted)]


@router.get("/api/paginated/users", **OWN)
def list_users_by_page(
    session: ReadSession, caller: Caller, window: WindowDep, q: SearchText = ""
) -> Page[UserOut]:
    """List a page of the users by name; for a caller without an elevated role, himself only."""
    wanted = service.users_to_list(session, caller, text=q)
    users = service.list_users(session, wanted, window)
    return Page.of(window, count_users(session, wanted), map(UserOut.of, users))


@router.get("/api/users/{username}", **OWN)
def read_user(username: str, session: ReadSession, caller: Caller) -> UserOut:
    return UserOut.of(service.get_account(session, caller, username))


@router.delete("/api/users/{username}", **declares(Operation.USERS_DELETE_ANY))
def delete_user(username: str, session: WriteSession, caller: Caller) -> None:
    """Delete an account for good; one's own only by the cookie of a browser's login.

    Its sessions and API keys end at once. Its name stays taken.
    """
    service.delete_user(session, caller, username)


@router.get("/api/users/{username}/role", **OWN)
def read_role(username: str, session: ReadSession, caller: Caller) -> UserRole:
    """Read the role of a user on the server; null is none."""
    user = service.get_account(session, caller, username)
    return UserRole(role=Role(user.role) if user.role else None)


@router.put("/api/users/{username}/role", **declares(Operation.USERS_SET_ROLE))
def set_role(username: str, body: UserRole, session: WriteSession, caller: Caller) -> None:
    """Give a user a role on the server, or none by null.

    Only owners of the server give the roles owner and maintainer, or change whoever has one.
    """
    service.set_role(session, caller, username, body.role)


@router.get("/api/users/{username}/channels", **OWN)
def list_channels(username: str, session: ReadSession, caller: Caller) -> list[UserChannel]:
    """List the channels that a user has a role in."""
    user = service.get_account(session, caller, username)
    return [UserChannel.of(*row) for row in service.list_channels_of(session, caller, user)]


@router.get("/api/paginated/users/{username}/channels", **OWN)
def list_channels_by_page(
    username: str, session: ReadSession, caller: Caller, window: WindowDep
) -> Page[UserChannel]:
    """List a page of the channels that a user has a role in."""
    user = service.get_account(session, caller, username)
    rows = service.list_channels_of(session, caller, user, window)
    count = service.count_channels_of(session, caller, user)
    return Page.of(window, count, (UserChannel.of(*row) for row in rows))


@router.get("/api/users/{username}/packages", **OWN)
def list_packages(username: str, session: ReadSession, caller: Caller) -> list[UserPackage]:
    """List the packages that a user has a role in."""
    user = service.get_account(session, caller, username)
    return [UserPackage.of(*row) for row in service.list_packages_of(session, caller, user)]


@router.get("/api/paginated/users/{username}/packages", **OWN)
def list_packages_by_page(
    username: str, session: ReadSession, caller: Caller, window: WindowDep
) -> Page[UserPackage]:
    """List a page of the packages that a user has a role in."""
    user = service.get_account(session, caller, username)
    rows = service.list_packages_of(session, caller, user, window)
    count = service.count_packages_of(session, caller, user)
    return Page.of(window, count, (UserPackage.of(*row) for row in rows))
