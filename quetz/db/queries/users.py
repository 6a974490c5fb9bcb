"""Users, by the name they go by, and the identities they log in by.

A deleted user keeps his row, and with it his name: nobody else may take it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, bindparam, delete, func, or_, select, update
from sqlalchemy.orm import Session

from quetz.conda.names import check_username
from quetz.db.models import ApiKey, Identity, LoginSession, User
from quetz.db.queries.windows import Window, contains
from quetz.errors import BadName, UserNotFound

_LIVE = User.disabled_at.is_(None)
# In one order everywhere, or two transactions could lock each other out.
_LOCKED = (
    select(User)
    .where(or_(User.id == bindparam("user_id"), (User.role == "owner") & _LIVE))
    .order_by(User.id)
    .with_for_update(key_share=True)
    .execution_options(populate_existing=True)
)


@dataclass(frozen=True)
class UserFilter:
    """Which users to list: all, or the ``only`` one; deleted ones never.

    ``text`` is a part of the name in any case. ``service`` asks for service accounts alone.
    """

    only: int | None = None
    text: str = ""
    service: bool = False

    @property
    def condition(self) -> ColumnElement[bool]:
        condition: ColumnElement[bool] = _LIVE
        if self.only is not None:
            condition &= User.id == self.only
        if self.service:
            condition &= User.service
        if self.text:
            condition &= contains(func.lower(User.username), self.text)
        return condition


def find_user(session: Session, username: str) -> User | None:
    """Return the user, a deleted one too; None as well for what could be nobody's name."""
    try:
        check_username(username)
    except BadName:
        return None  # a database may choke on it
    return session.scalar(select(User).where(User.username == username))


def find_live(session: Session, username: str) -> User | None:
    """Return the user, unless he was deleted."""
    user = find_user(session, username)
    return None if user is None or user.disabled_at is not None else user


def get_user(session: Session, username: str) -> User:
    """Raises UserNotFound, for a deleted user too."""
    user = find_live(session, username)
    if user is None:
        raise UserNotFound(username)
    return user


def find_again(session: Session, user_id: int) -> User | None:
    """Return the user as he is at this moment."""
    return session.get(User, user_id, populate_existing=True)


def lock_user(session: Session, user: User) -> list[User]:
    """Hold a user, and all owners of the server, against changes until this transaction ends.

    Return the owners. SQLite has one writer at a time anyway.

    Raises:
        UserNotFound: he was deleted meanwhile.
    """
    locked = list(session.scalars(_LOCKED, {"user_id": user.id}))
    if user.disabled_at is not None or user not in locked:
        raise UserNotFound(user.username)
    return [one for one in locked if one.role == "owner"]


def list_users(session: Session, wanted: UserFilter, window: Window) -> Sequence[User]:
    """Return users by name."""
    query = select(User).where(wanted.condition).order_by(User.username)
    return session.scalars(window.of(query)).all()


def count_users(session: Session, wanted: UserFilter) -> int:
    query = select(func.count()).select_from(User).where(wanted.condition)
    return session.scalar(query) or 0


def find_user_of(session: Session, provider: str, subject: str) -> User | None:
    """Return whose identity it is."""
    query = (
        select(User)
        .join(Identity, Identity.user_id == User.id)
        .where(Identity.provider == provider, Identity.subject == subject)
    )
    return session.scalar(query)


def find_user_by_provider(session: Session, provider: str, username: str) -> User | None:
    """Return the user of this name if he logs in by the provider."""
    user = find_user(session, username)
    if user is None or not provider.isprintable():  # a database may choke on it
        return None
    query = select(Identity.id).where(Identity.user_id == user.id, Identity.provider == provider)
    return user if session.scalars(query).first() is not None else None


def remove_credentials(session: Session, user_id: int, *, at: int) -> None:
    """Delete the user's identities and login sessions, and revoke his API keys."""
    # Keys first, each kind in this order, as where their last use is noted: or a transaction of
    # one and one of the other could lock each other out.
    live = (ApiKey.user_id == user_id) & ApiKey.revoked_at.is_(None)
    logins = LoginSession.user_id == user_id
    keys_in_order = select(ApiKey.id).where(live).order_by(ApiKey.public_id)
    logins_in_order = select(LoginSession.id).where(logins).order_by(LoginSession.token_hash)
    session.execute(keys_in_order.with_for_update()).all()
    session.execute(update(ApiKey).where(live).values(revoked_at=at))
    session.execute(logins_in_order.with_for_update()).all()
    session.execute(delete(LoginSession).where(logins))
    session.execute(delete(Identity).where(Identity.user_id == user_id))
