"""Login sessions."""

import pytest
from sqlalchemy import select

from quetz.db.base import now_ms
from quetz.db.models import Event, LoginSession
from quetz.services.permissions import principal_of
from quetz.services.sessions import (
    HOUR,
    authenticate_session,
    end_session,
    start_session,
    touch_sessions,
)
from quetz.testing.factories import make_user


def age(session, *, created: int = 0, used: int = 0) -> None:
    """Let the one session there is have been made and used so many milliseconds ago."""
    login = session.scalars(select(LoginSession)).one()
    login.created_at = now_ms() - created
    login.last_used_at = now_ms() - used
    session.flush()


def test_a_cookie_stands_for_the_user_who_logged_in(session):
    user = make_user(session, role="maintainer")

    cookie = start_session(session, user, "dummy")

    assert authenticate_session(session, cookie) == principal_of(user)


def test_the_cookie_itself_is_kept_nowhere(session):
    cookie = start_session(session, make_user(session), "dummy")

    [login] = session.scalars(select(LoginSession))
    kept = {getattr(login, column.key) for column in LoginSession.__table__.columns}
    assert cookie not in kept


def test_each_login_gets_a_cookie_of_its_own(session):
    user = make_user(session)

    cookies = {start_session(session, user, "dummy") for _ in range(3)}

    assert len(cookies) == 3
    assert all(authenticate_session(session, cookie) for cookie in cookies)


@pytest.mark.parametrize("cookie", ["", "unknown", "nul\x00", "\ud800", "x" * 100_000])
def test_an_unknown_cookie_is_nobodys(session, cookie):
    start_session(session, make_user(session), "dummy")

    assert authenticate_session(session, cookie) is None


@pytest.mark.parametrize(
    ("created", "used", "alive"),
    [
        pytest.param(11 * HOUR, 11 * HOUR, True, id="idle for less than 12 hours"),
        pytest.param(13 * HOUR, 13 * HOUR, False, id="idle for more than 12 hours"),
        pytest.param(7 * 24 * HOUR - HOUR, 0, True, id="used for less than 7 days"),
        pytest.param(7 * 24 * HOUR + HOUR, 0, False, id="used for more than 7 days"),
    ],
)
def test_a_session_ends_when_it_idles_or_grows_old(session, created, used, alive):
    cookie = start_session(session, make_user(session), "dummy")

    age(session, created=created, used=used)

    assert (authenticate_session(session, cookie) is not None) == alive


def test_use_keeps_a_session_alive(session):
    cookie = start_session(session, make_user(session), "dummy")
    age(session, created=13 * HOUR, used=13 * HOUR)

    touch_sessions(session, {cookie: now_ms(), "unknown": now_ms()})
    session.expire_all()

    assert authenticate_session(session, cookie) is not None


def test_an_earlier_use_does_not_undo_a_later_one(session):
    cookie = start_session(session, make_user(session), "dummy")

    touch_sessions(session, {cookie: 1})
    touch_sessions(session, {})
    session.expire_all()

    assert authenticate_session(session, cookie) is not None


def test_a_disabled_user_is_logged_out(session):
    user = make_user(session)
    cookie = start_session(session, user, "dummy")

    user.disabled_at = now_ms()
    session.flush()

    assert authenticate_session(session, cookie) is None


def test_logging_out_ends_this_session_only(session):
    user = make_user(session)
    here, there = (start_session(session, user, "dummy") for _ in range(2))

    end_session(session, principal_of(user), here)

    assert authenticate_session(session, here) is None
    assert authenticate_session(session, there) == principal_of(user)


def test_logging_in_and_out_are_recorded_once_each(session):
    user = make_user(session, "alice")
    cookie = start_session(session, user, "dummy", address="192.0.2.1")

    end_session(session, principal_of(user), cookie)
    end_session(session, principal_of(user), cookie)

    events = session.execute(select(Event.action, Event.subject, Event.address).order_by(Event.id))
    assert list(map(tuple, events)) == [("login", "alice", "192.0.2.1"), ("logout", "alice", None)]


def test_a_login_clears_the_users_dead_sessions_away(session):
    user, other = make_user(session), make_user(session)
    start_session(session, user, "dummy")
    age(session, used=13 * HOUR)
    start_session(session, other, "dummy")

    start_session(session, user, "dummy")

    owners = list(session.scalars(select(LoginSession.user_id).order_by(LoginSession.id)))
    assert owners == [other.id, user.id]
