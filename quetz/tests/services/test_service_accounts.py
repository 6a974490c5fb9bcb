"""Service accounts and their keys."""

from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace

import pytest
from sqlalchemy import select

from quetz.db.models import Event
from quetz.db.queries.users import get_user
from quetz.errors import RoleRequired
from quetz.errors.accounts import KeysInTheWay, LoginRefused, ServiceAccountNotFound
from quetz.services.accounts import create_user, set_role
from quetz.services.api_keys import create_api_key, list_api_keys, revoke_api_key
from quetz.services.authentication import authenticate_key
from quetz.services.permissions import ANONYMOUS, OPERATOR, Role, Verb, principal_of
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


@pytest.mark.parametrize(
    ("own", "given"),
    [
        pytest.param(None, Role.MAINTAINER, id="to maintainer"),
        pytest.param(Role.MEMBER, Role.OWNER, id="to owner"),
        pytest.param(Role.MAINTAINER, Role.OWNER, id="from maintainer to owner"),
    ],
)
def test_a_service_account_is_elevated_once_it_has_no_key(session, own, given):
    robot = create_user(session, OPERATOR, "robot", role=own, service=True)
    keys = [new_key(session, OPERATOR, robot) for _ in range(2)]

    for caller in (OPERATOR, principal_of(make_user(session, role="owner"))):
        with pytest.raises(KeysInTheWay, match=r"'robot' has 2 API keys .* revoke them first"):
            set_role(session, caller, "robot", given)
    revoke_api_key(session, OPERATOR, keys[0])
    with pytest.raises(KeysInTheWay, match="'robot' has an API key "):
        set_role(session, OPERATOR, "robot", given)
    revoke_api_key(session, OPERATOR, keys[1])
    set_role(session, OPERATOR, "robot", given)

    assert robot.role == given


def test_a_role_that_elevates_no_key_is_given_whatever_keys_there_are(session):
    robot = create_user(session, OPERATOR, "robot", role=Role.OWNER, service=True)
    person = create_user(session, OPERATOR, "person", role=None)
    for owner in (robot, person):
        new_key(session, OPERATOR, owner)

    set_role(session, OPERATOR, "person", Role.OWNER)
    for role in (Role.MAINTAINER, None, Role.MEMBER):
        set_role(session, OPERATOR, "robot", role)

    assert (robot.role, person.role) == ("member", "owner")


def test_a_key_made_while_its_account_is_elevated_is_refused(deployment):
    with deployment.transaction(write=True) as session:
        mia = principal_of(make_user(session, "mia", role="maintainer"))
        create_user(session, OPERATOR, "robot", role=None, service=True)

    def make_key():
        with deployment.transaction(write=True) as session:
            return new_key(session, mia, get_user(session, "robot"))

    with ThreadPoolExecutor() as pool, deployment.transaction(write=True) as session:
        set_role(session, OPERATOR, "robot", Role.OWNER)
        later = pool.submit(make_key)
        wait([later], timeout=0.3)  # let it come as far as it can

    with pytest.raises(RoleRequired, match="creating an API key of another user"):
        later.result()


def test_keys_of_a_service_account_are_listed_by_whoever_may_read(session, mia):
    robot = create_user(session, mia, "robot", role=None, service=True)
    new_key(session, mia, robot)

    reader = replace(mia, verbs=frozenset({Verb.READ}))

    assert [row.user_id for row in list_api_keys(session, reader, robot)] == [robot.id]
