"""Accounts of users."""

import pytest
from sqlalchemy import select

from quetz.db.models import Event, User
from quetz.db.queries.users import find_user
from quetz.errors import BadName, LoginRequired, RoleRequired, UserExists
from quetz.services.accounts import create_user, get_own_account, get_own_profile
from quetz.services.api_keys import authenticate_key, create_api_key
from quetz.services.permissions import ANONYMOUS, OPERATOR, Principal, Role, principal_of
from quetz.testing.factories import make_user


def test_the_operator_makes_the_first_owner(session):
    user = create_user(session, OPERATOR, "alice", role=Role.OWNER)

    assert principal_of(user) == Principal(user.id, "alice", Role.OWNER)


def test_a_taken_name_leaves_its_user_alone(session):
    create_user(session, OPERATOR, "alice", role=Role.MEMBER)

    with pytest.raises(UserExists, match="alice"):
        create_user(session, OPERATOR, "alice", role=Role.OWNER)

    assert list(session.scalars(select(User.role))) == ["member"]


@pytest.mark.parametrize("name", ["", "a b", "../etc", "-dash", "nul\x00", "ü", "a" * 65])
def test_a_name_that_breaks_the_rule_makes_no_user(session, name):
    with pytest.raises(BadName):
        create_user(session, OPERATOR, name, role=None)

    assert list(session.scalars(select(User.username))) == []


@pytest.mark.parametrize(
    ("own", "given", "needed"),
    [
        pytest.param(None, None, "maintainer", id="no role"),
        pytest.param("member", Role.MEMBER, "maintainer", id="member"),
        pytest.param("maintainer", Role.MAINTAINER, "owner", id="maintainer, an equal"),
        pytest.param("maintainer", Role.OWNER, "owner", id="maintainer, an owner"),
    ],
)
def test_a_user_is_made_by_whoever_may_give_his_role(session, own, given, needed):
    principal = principal_of(make_user(session, role=own))

    with pytest.raises(RoleRequired, match=f"takes the role {needed} on the server"):
        create_user(session, principal, "bob", role=given)

    assert find_user(session, "bob") is None


def test_making_a_user_is_recorded_once(session):
    create_user(session, OPERATOR, "alice", role=Role.OWNER)

    [event] = session.scalars(select(Event))
    assert (event.actor, event.action, event.subject, event.after) == (
        "operator",
        "users.create",
        "alice",
        "owner",
    )


def test_an_anonymous_caller_has_no_account(session):
    with pytest.raises(LoginRequired):
        get_own_account(session, ANONYMOUS)


def test_an_api_key_has_an_account_and_no_profile(session):
    user = make_user(session)
    new = create_api_key(session, OPERATOR, user, description="", expires_at=None, scopes=None)
    principal = authenticate_key(session, new.key) or ANONYMOUS

    assert get_own_account(session, principal) is user
    with pytest.raises(LoginRequired):
        get_own_profile(session, principal)
