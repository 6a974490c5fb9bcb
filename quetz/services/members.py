"""Members of channels."""

from collections.abc import Sequence

from sqlalchemy import Row
from sqlalchemy.orm import Session

from quetz.db.models import Channel, User
from quetz.db.queries import channels, users
from quetz.db.queries import members as queries
from quetz.errors import LastOwner, MemberNotFound
from quetz.services.events import record_event
from quetz.services.permissions import Operation, Principal, Role, authorize_giving


def list_members(session: Session, channel: Channel) -> Sequence[Row[User, str]]:
    """Return (user, role) by username."""
    return queries.list_channel_members(session, channel.id)


def set_member(
    session: Session, principal: Principal, channel: Channel, username: str, role: Role
) -> None:
    """Give a user a role in the channel, in place of the one he may have.

    Raises:
        UserNotFound: there is no such user.
        RoleRequired: the caller has a lower role himself.
        LastOwner: the channel would be left without an owner.
    """
    channels.lock_channel(session, channel)
    authorize_giving(session, principal, role, channel)
    user = users.get_user(session, username)
    before = queries.find_channel_role(session, user.id, channel.id)
    if role != Role.OWNER:
        _check_not_last_owner(session, channel, before)
    if role == before:
        return
    queries.set_channel_role(session, user.id, channel.id, role)
    record_event(
        session,
        principal,
        Operation.CHANNEL_MEMBERS_ADD,
        channel=channel,
        subject=username,
        before=before,
        after=role,
    )
    session.flush()


def remove_member(session: Session, principal: Principal, channel: Channel, username: str) -> None:
    """Take a user's role in the channel away.

    Raises:
        MemberNotFound: he has no role in the channel, whether there is such a user or not.
        LastOwner: the channel would be left without an owner.
    """
    channels.lock_channel(session, channel)
    user = users.find_live(session, username)
    before = None if user is None else queries.find_channel_role(session, user.id, channel.id)
    if user is None or before is None:
        raise MemberNotFound(username, f"channel '{channel.name}'")
    _check_not_last_owner(session, channel, before)
    queries.remove_channel_role(session, user.id, channel.id)
    record_event(
        session,
        principal,
        Operation.CHANNEL_MEMBERS_REMOVE,
        channel=channel,
        subject=username,
        before=before,
    )
    session.flush()


def _check_not_last_owner(session: Session, channel: Channel, role: str | None) -> None:
    if role != Role.OWNER:
        return
    if queries.count_channel_members(session, channel.id, role=Role.OWNER) == 1:
        raise LastOwner(f"channel '{channel.name}'")
