"""Accounts: the users of the server, the roles they have on it, and where else they have some."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Row, true
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from quetz.conda.names import check_username
from quetz.db.base import now_ms
from quetz.db.models import Channel, Package, User
from quetz.db.queries import api_keys, members
from quetz.db.queries import users as queries
from quetz.db.queries.users import UserFilter
from quetz.db.queries.windows import EVERYTHING, Window
from quetz.errors import BadName, LastOwner, LoginRequired, RoleRequired, UserExists
from quetz.errors.accounts import KeysInTheWay
from quetz.services.authentication import renew_principal
from quetz.services.events import record_event
from quetz.services.permissions import (
    ANONYMOUS,
    OPERATOR,
    Operation,
    Principal,
    Role,
    authorize,
    principal_of,
    visible_channels,
)

_NAMES_OF_NO_USER = {principal.username for principal in (ANONYMOUS, OPERATOR)}


@dataclass(frozen=True)
class NewUser:
    """What an account begins with; ``name`` and ``avatar_url`` are its profile."""

    username: str
    role: Role | None = None
    name: str = ""
    avatar_url: str = ""
    service: bool = False


def create_user(
    session: Session,
    principal: Principal,
    username: str,
    *,
    role: Role | None,
    service: bool = False,
) -> User:
    """Add a user who has ``role`` on the server, or none.

    Raises:
        BadName: the name breaks the rule for user names, or the audit log means others by it.
        RoleRequired: the caller may not add users, or not with this role.
        UserExists: the name is taken, be it by a deleted user.
    """
    check_username(username)
    authorize(session, principal, Operation.USERS_CREATE)
    if _is_elevated(role):
        authorize(session, principal, Operation.USERS_SET_ROLE_ELEVATED)
    user = add_user(session, NewUser(username, role, name=username, service=service))
    record_event(session, principal, Operation.USERS_CREATE, subject=username, after=role)
    session.flush()
    return user


def add_user(session: Session, new: NewUser) -> User:
    """Add the row of a user whom somebody else has authorised, and records.

    Raises:
        BadName, UserExists: as ``create_user``.
    """
    check_username(new.username)
    if new.username.lower() in _NAMES_OF_NO_USER:
        reason = "the audit log calls so whoever is no user; choose another"
        raise BadName("user", new.username, reason)
    user = User(
        username=new.username,
        role=new.role,
        name=new.name,
        avatar_url=new.avatar_url,
        service=new.service,
    )
    try:
        with session.begin_nested():
            session.add(user)
    except IntegrityError:
        raise UserExists(new.username) from None
    return user


def users_to_list(session: Session, principal: Principal, *, text: str = "") -> UserFilter:
    """Return the filter for the users whom the caller may list: all, or only himself.

    Raises:
        LoginRequired: the caller is anonymous.
    """
    authorize(session, principal, Operation.USERS_READ_SELF)
    try:
        authorize(session, principal, Operation.USERS_LIST_ALL)
    except RoleRequired:
        return UserFilter(only=principal.user_id, text=text)
    return UserFilter(text=text)


def list_users(session: Session, wanted: UserFilter, window: Window = EVERYTHING) -> Sequence[User]:
    """Return users by name."""
    return queries.list_users(session, wanted, window)


def get_account(session: Session, principal: Principal, username: str) -> User:
    """Return a user whose account the caller may read.

    Raises:
        LoginRequired: the caller is anonymous.
        RoleRequired: it is another's, whether there is such a user or not.
        UserNotFound: there is no such user, or he was deleted.
    """
    own = principal.known and principal.username == username
    authorize(session, principal, Operation.USERS_READ_SELF if own else Operation.USERS_READ_OTHER)
    return queries.get_user(session, username)


def set_role(session: Session, principal: Principal, username: str, role: Role | None) -> None:
    """Give a user a role on the server in place of the one he may have.

    Raises:
        RoleRequired: the caller may not set roles, or not this one, or not this user's.
        UserNotFound: there is no such user.
        LastOwner: the server would be left without an owner.
        KeysInTheWay: a service account is to be elevated, and has API keys.
    """
    authorize(session, principal, Operation.USERS_SET_ROLE)
    user = queries.get_user(session, username)
    owners = queries.lock_user(session, user)
    principal = renew_principal(session, principal)
    authorize(session, principal, Operation.USERS_SET_ROLE)
    operation = Operation.USERS_SET_ROLE
    if _is_elevated(role) or _is_elevated(user.role):
        operation = Operation.USERS_SET_ROLE_ELEVATED
        authorize(session, principal, operation)
    if role != Role.OWNER:
        _check_not_last_owner(user, owners)
    if role == user.role:
        return
    _check_no_keys_rise(session, user, role)
    record_event(session, principal, operation, subject=username, before=user.role, after=role)
    user.role = role
    session.flush()


def delete_user(session: Session, principal: Principal, username: str) -> None:
    """Delete an account: nobody logs in by it, or uses a key or a session of it, from now on.

    Its name stays taken, and its memberships stay without an effect. A channel may be left
    without an owner; owners and maintainers of the server act in each.

    Raises:
        LoginRequired: the caller is anonymous.
        RoleRequired: the caller may not delete this user, whether there is one or not.
        UserNotFound: there is no such user.
        LastOwner: the server would be left without an owner.
    """
    operation = Operation.USERS_DELETE_MEMBER
    if principal.known and principal.username == username:
        operation = Operation.USERS_DELETE_SELF
    authorize(session, principal, operation)
    user = queries.get_user(session, username)
    owners = queries.lock_user(session, user)
    principal = renew_principal(session, principal)
    authorize(session, principal, operation)
    if operation is not Operation.USERS_DELETE_SELF and _is_elevated(user.role):
        operation = Operation.USERS_DELETE_ELEVATED
        authorize(session, principal, operation)
    _check_not_last_owner(user, owners)
    record_event(session, principal, operation, subject=username, before=user.role)
    user.disabled_at = now_ms()
    user.role = None
    user.name = user.avatar_url = ""
    queries.remove_credentials(session, user.id, at=user.disabled_at)
    session.flush()


def list_channels_of(
    session: Session, principal: Principal, user: User, window: Window = EVERYTHING
) -> Sequence[Row[Channel, str]]:
    """Return (channel, the user's role in it) by name; those that the credential shows."""
    return members.list_channels_of(session, user.id, visible_channels(principal), window)


def count_channels_of(session: Session, principal: Principal, user: User) -> int:
    return members.count_channels_of(session, user.id, visible_channels(principal))


def list_packages_of(
    session: Session, principal: Principal, user: User, window: Window = EVERYTHING
) -> Sequence[Row[Package, Channel, str]]:
    """Return (package, channel, the user's role in the package) by both names."""
    return members.list_packages_of(session, user.id, _visible_packages(principal), window)


def count_packages_of(session: Session, principal: Principal, user: User) -> int:
    return members.count_packages_of(session, user.id, _visible_packages(principal))


def get_own_account(session: Session, principal: Principal) -> User:
    """Return the caller's user.

    Raises:
        LoginRequired: the caller is anonymous.
    """
    user = None if principal.user_id is None else session.get(User, principal.user_id)
    if user is None:
        raise LoginRequired
    return user


def get_own_profile(session: Session, principal: Principal) -> User:
    """Return the user who sits at the browser; an API key speaks for a program.

    Raises:
        LoginRequired: the caller is anonymous, or uses an API key.
    """
    if principal.api_key is not None:
        raise LoginRequired
    return get_own_account(session, principal)


def check_not_above(principal: Principal, user: User, deed: str) -> None:
    """Nobody touches a user above himself.

    Raises:
        RoleRequired: the user has a higher role on the server than the caller.
    """
    role = principal_of(user).server_role
    if role is not None and (principal.server_role is None or principal.server_role < role):
        raise RoleRequired(deed, f"the role {role} on the server")


def _is_elevated(role: str | None) -> bool:
    return role is not None and Role(role) >= Role.MAINTAINER


def _check_not_last_owner(user: User, owners: Sequence[User]) -> None:
    """Keep an owner of the server who can log in; a service account may go before the last."""
    if user.role != Role.OWNER:
        return
    if not any(one is not user and (user.service or not one.service) for one in owners):
        raise LastOwner("the server")


def _check_no_keys_rise(session: Session, user: User, role: Role | None) -> None:
    """Elevate no key that somebody below may have made, as he may of a service account."""
    if not user.service or role is None or not _is_elevated(role):
        return
    if user.role is not None and role <= user.role:
        return
    keys = api_keys.count_good_keys(session, user.id, now_ms())
    if keys:
        raise KeysInTheWay(user.username, role, keys)


def _visible_packages(principal: Principal) -> ColumnElement[bool]:
    """Return the condition on ``Package`` and its ``Channel`` that the credential shows it.

    A user sees the packages that he has a role in; a scoped key only those of its scopes.
    """
    if principal.scopes is None:
        return true()
    named = [scope.package_id for scope in principal.scopes if scope.package_id is not None]
    return visible_channels(principal) | Package.id.in_(named)
