"""Users, by the name they go by."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from quetz.conda.names import check_username
from quetz.db.models import User
from quetz.errors import BadName, UserNotFound


def find_user(session: Session, username: str) -> User | None:
    """Return None too for what could be nobody's name, and which a database may choke on."""
    try:
        check_username(username)
    except BadName:
        return None
    return session.scalar(select(User).where(User.username == username))


def get_user(session: Session, username: str) -> User:
    """Raises UserNotFound."""
    user = find_user(session, username)
    if user is None:
        raise UserNotFound(username)
    return user
