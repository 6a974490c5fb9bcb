"""Service accounts and their keys."""

import pytest
from sqlalchemy import select

from quetz.db.models import Event
from quetz.errors import RoleRequired
from quetz.errors.accounts import LoginRefused, ServiceAccountNotFound
from quetz.services.accounts import create_user
from quetz.services.api_keys import create_api_key, list_api_keys
from quetz.services.authentication import authenticate_key
from quetz.services.permissions import ANONYMOUS, OPERATOR, Role, principal_of
from quetz.services.service_accounts import delete_service_account, list_service_accounts
from quetz.services.sessions import start_session
from quetz.testing.factories import make_user


@pytest.fixture
def mia(session):
    """Who may make accounts, but none above a maintainer."""
    return principal_of(make_user(session, "mia", role="maintainer"))


def new_key(session, principal, owner):
    return create_api_key(
        session, principal, owner, description="", expires_at=None, scopes=None
    ).key


def test_whoever_makes_accounts_makes_their_keys_too(session, mia):
    robot = create_user(session, mia, "robot", role=Role.MEMBER, service=True)

    key = new_key(session, mia, robot)

    assert (authenticate_key(session, key) or ANONYMOUS).username == "robot"
    assert [row.user_id for row in list_api_keys(session, mia, robot)] == [robot.id]
    actions = session.scalars(select(Event.action).order_by(Event.id))
    assert list(actions) == ["users.create", "apikey.create"]


def test_nobody_makes_or_lists_keys_of_a_service_account_above_him_or_of_a_person(session, mia):
    above = create_user(session, OPERATOR, "above", role=Role.OWNER, service=True)
    person = make_user(session, "person")

    for owner in (above, person):
        with pytest.raises(RoleRequired, match="creating an API key of another user"):
            new_key(session, mia, owner)
        with pytest.raises(RoleRequired, match="creating an API key of another user"):
            list_api_keys(session, mia, owner)


def test_who_may_not_make_accounts_makes_no_key_of_theirs(session):
    robot = create_user(session, OPERATOR, "robot", role=None, service=True)
    member = principal_of(make_user(session, role="member"))

    with pytest.raises(RoleRequired, match="creating an account"):
        new_key(session, member, robot)


def test_nobody_logs_in_as_a_service_account(session):
    robot = create_user(session, OPERATOR, "robot", role=None, service=True)

    with pytest.raises(LoginRefused, match="'robot' is a service account"):
        start_session(session, robot, "dummy")


def test_service_accounts_are_listed_without_people_until_they_are_deleted(session, mia):
    for name in ("robot", "drone"):
        create_user(session, mia, name, role=None, service=True)
    make_user(session, "person")

    def names():
        return [user.username for user in list_service_accounts(session, mia)]

    assert names() == ["drone", "robot"]

    delete_service_account(session, mia, "drone")

    assert names() == ["robot"]
    for name in ("drone", "person", "nobody", "a\0b"):
        with pytest.raises(ServiceAccountNotFound):
            delete_service_account(session, mia, name)
