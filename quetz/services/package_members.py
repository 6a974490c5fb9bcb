"""Members of packages. A package needs no owner: whoever maintains its channel does its work."""

from collections.abc import Sequence

from sqlalchemy import Row
from sqlalchemy.orm import Session

from quetz.db.models import Channel, Package, User
from quetz.db.queries import channels, users
from quetz.db.queries import members as queries
from quetz.db.queries.packages import get_package
from quetz.errors import MemberNotFound
from quetz.errors.packages import MemberExists
from quetz.services.events import record_event
from quetz.services.permissions import Operation, Principal, Role


def list_members(session: Session, package: Package) -> Sequence[Row[User, str]]:
    """Return (user, role) by username."""
    return queries.list_package_members(session, package.id)


def add_member(
    session: Session,
    principal: Principal,
    channel: Channel,
    name: str,
    username: str,
    *,
    role: Role,
) -> None:
    """Give a user a role in the package ``name``.

    Raises:
        PackageNotFound, UserNotFound: there is no such package or user.
        MemberExists: he has a role in the package.
    """
    channels.lock_channel(session, channel)  # which keeps the package, too
    package = get_package(session, channel, name)
    user = users.get_user(session, username)
    if queries.find_package_role(session, user.id, package.id) is not None:
        raise MemberExists(username, _place(channel, package))
    queries.add_package_role(session, user.id, package.id, role)
    record_event(
        session,
        principal,
        Operation.PACKAGE_MEMBERS_ADD,
        channel=channel,
        subject=f"{package.name}/{username}",
        after=role,
    )
    session.flush()


def remove_member(
    session: Session, principal: Principal, channel: Channel, name: str, username: str
) -> None:
    """Take a user's role in the package ``name`` away.

    Raises:
        PackageNotFound: there is no such package.
        MemberNotFound: he has no role in the package, whether there is such a user or not.
    """
    channels.lock_channel(session, channel)
    package = get_package(session, channel, name)
    user = users.find_live(session, username)
    before = None if user is None else queries.find_package_role(session, user.id, package.id)
    if user is None or before is None:
        raise MemberNotFound(username, _place(channel, package))
    queries.remove_package_role(session, user.id, package.id)
    record_event(
        session,
        principal,
        Operation.PACKAGE_MEMBERS_REMOVE,
        channel=channel,
        subject=f"{package.name}/{username}",
        before=before,
    )
    session.flush()


def _place(channel: Channel, package: Package) -> str:
    return f"package '{channel.name}/{package.name}'"
