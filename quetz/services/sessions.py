"""Login sessions: what a browser's cookie stands for."""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import replace

from sqlalchemy.orm import Session

from quetz.db.base import now_ms
from quetz.db.models import LoginSession, User
from quetz.db.queries import sessions
from quetz.errors.accounts import LoginRefused
from quetz.services.events import record_event
from quetz.services.permissions import Operation, Principal, principal_of

HOUR = 3_600_000  # milliseconds
IDLE_LIMIT = 12 * HOUR
AGE_LIMIT = 7 * 24 * HOUR


def start_session(
    session: Session, user: User, provider: str, *, address: str | None = None
) -> str:
    """Log the user in, and return the value of his cookie, which is kept nowhere else.

    Raises:
        LoginRefused: it is a service account.
    """
    if user.service:
        raise LoginRefused(user.username)
    now = now_ms()
    sessions.delete_stale_sessions(
        session, user.id, created_before=now - AGE_LIMIT, used_before=now - IDLE_LIMIT
    )
    cookie = "qzs-" + secrets.token_urlsafe(32)  # logs know by the prefix what to leave out
    session.add(LoginSession(token_hash=_digest(cookie), user_id=user.id, provider=provider))
    principal = replace(principal_of(user), address=address)
    record_event(session, principal, Operation.LOGIN, subject=user.username, after=provider)
    session.flush()
    return cookie


def authenticate_session(session: Session, cookie: str) -> Principal | None:
    """Return whose cookie it is, or None when it is nobody's at present."""
    return find_login(session, _digest(cookie))


def find_login(session: Session, digest: str) -> Principal | None:
    """Return whose cookie has this hash, as ``authenticate_session``."""
    found = sessions.find_session(session, digest)
    if found is None:
        return None
    login, user = found
    now = now_ms()
    stale = login.last_used_at < now - IDLE_LIMIT or login.created_at < now - AGE_LIMIT
    if stale or user.disabled_at is not None:
        return None
    return replace(principal_of(user), login=digest)


def touch_sessions(session: Session, uses: Mapping[str, int]) -> None:
    """Note when cookies were last used, in Unix milliseconds; a session that idles ends."""
    sessions.set_last_used(session, {_digest(cookie): at for cookie, at in uses.items()})


def end_session(session: Session, principal: Principal, cookie: str) -> None:
    """Log out: the cookie is nobody's from now on. To do it again changes nothing."""
    found = sessions.find_session(session, _digest(cookie))
    if found is None:
        return
    login, user = found
    session.delete(login)
    record_event(session, principal, Operation.LOGOUT, subject=user.username)
    session.flush()


def _digest(cookie: str) -> str:
    """Hash a cookie; a fast hash is right for 256 random bits."""
    return hashlib.sha256(cookie.encode("utf-8", "surrogatepass")).hexdigest()
