"""Login sessions, by the hash of their cookie."""

from collections.abc import Mapping

from sqlalchemy import Row, bindparam, delete, or_, select, update
from sqlalchemy.orm import Session

from quetz.db.models import LoginSession, User


def find_session(session: Session, token_hash: str) -> Row[LoginSession, User] | None:
    """Return the login session and its user, as they are at this moment."""
    query = (
        select(LoginSession, User)
        .join(User, User.id == LoginSession.user_id)
        .where(LoginSession.token_hash == token_hash)
    )
    return session.execute(query, execution_options={"populate_existing": True}).one_or_none()


def delete_stale_sessions(
    session: Session, user_id: int, *, created_before: int, used_before: int
) -> None:
    session.execute(
        delete(LoginSession).where(
            LoginSession.user_id == user_id,
            or_(LoginSession.created_at < created_before, LoginSession.last_used_at < used_before),
        )
    )


def set_last_used(session: Session, uses: Mapping[str, int]) -> None:
    """Note the time of the last use of each token hash, unless a later one is known."""
    if not uses:
        return
    query = (
        update(LoginSession)
        .where(
            LoginSession.token_hash == bindparam("token"),
            LoginSession.last_used_at < bindparam("used_at"),
        )
        .values(last_used_at=bindparam("used_at"))
    )
    rows = [{"token": token, "used_at": uses[token]} for token in sorted(uses)]
    session.connection().execute(query, rows)
