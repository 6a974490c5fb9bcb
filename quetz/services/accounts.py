"""Accounts: the users of the server and the roles they have on it."""

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from quetz.conda.names import check_username
from quetz.db.models import User
from quetz.errors import LoginRequired, RoleRequired, UserExists
from quetz.services.events import record_event
from quetz.services.permissions import Principal, Role


def create_user(
    session: Session, principal: Principal, username: str, *, role: Role | None
) -> User:
    """Add a user who has ``role`` on the server, or none.

    Raises:
        BadName: the name breaks the rule for user names.
        RoleRequired: the role is above the caller's own.
        UserExists: the name is taken.
    """
    check_username(username)
    if role is not None and (principal.server_role is None or principal.server_role < role):
        raise RoleRequired(f"giving the role {role}", f"the role {role} on the server")
    user = User(username=username, name=username, role=role)
    try:
        with session.begin_nested():
            session.add(user)
    except IntegrityError:
        raise UserExists(username) from None
    record_event(session, principal, "users.create", subject=username, after=role)
    session.flush()
    return user


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
