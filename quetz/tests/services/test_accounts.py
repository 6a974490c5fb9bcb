"""Accounts of users."""

from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace

import pytest
from sqlalchemy import select

from quetz.db.base import now_ms
from quetz.db.models import ApiKey, Event, Identity, LoginSession, User
from quetz.db.queries.channels import ChannelFilter
from quetz.db.queries.users import UserFilter, find_user
from quetz.errors import (
    BadName,
    LastOwner,
    LoginRequired,
    RoleRequired,
    UserExists,
    UserNotFound,
)
from quetz.services.accounts import (
    create_user,
    delete_user,
    get_own_account,
    get_own_profile,
    list_users,
    set_role,
)
from quetz.services.api_keys import create_api_key, touch_keys
from quetz.services.authentication import authenticate_key
from quetz.services.channels import list_channels
from quetz.services.members import list_members, remove_member, set_member
from quetz.services.permissions import (
    ANONYMOUS,
    OPERATOR,
    Principal,
    Role,
    principal_of,
    visible_channels,
)
from quetz.services.sessions import authenticate_session, start_session, touch_sessions
from quetz.testing.factories import add_member, make_channel, make_user


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


ALICE, BOB = "alice", "bob"


def roles(session):
    return {user.username: user.role for user in list_users(session, UserFilter())}


def events(session):
    query = select(Event.actor, Event.action, Event.subject, Event.before, Event.after)
    return [tuple(event) for event in session.execute(query.order_by(Event.id))]


def test_a_role_is_given_and_taken_and_each_time_recorded_once(session):
    alice = principal_of(make_user(session, ALICE, role="owner"))
    make_user(session, BOB)

    set_role(session, alice, BOB, Role.MAINTAINER)
    set_role(session, alice, BOB, Role.MEMBER)
    set_role(session, alice, BOB, None)

    assert roles(session) == {ALICE: "owner", BOB: None}
    assert events(session) == [
        (ALICE, "users.set_role_elevated", BOB, None, "maintainer"),
        (ALICE, "users.set_role_elevated", BOB, "maintainer", "member"),
        (ALICE, "users.set_role", BOB, "member", None),
    ]


@pytest.mark.parametrize(
    ("own", "former", "given"),
    [
        pytest.param("maintainer", "owner", None, id="of an owner"),
        pytest.param("maintainer", "maintainer", Role.MEMBER, id="of an equal"),
        pytest.param("maintainer", "member", Role.MAINTAINER, id="his own to another"),
        pytest.param("maintainer", None, Role.OWNER, id="above his own"),
        pytest.param("member", None, Role.MEMBER, id="without an elevated one"),
    ],
)
def test_nobody_changes_a_role_that_is_not_his_to_change(session, own, former, given):
    caller = principal_of(make_user(session, ALICE, role=own))
    make_user(session, "boss", role="owner")
    make_user(session, BOB, role=former)

    with pytest.raises(RoleRequired):
        set_role(session, caller, BOB, given)

    assert (roles(session)[BOB], events(session)) == (former, [])


def test_the_last_owner_of_the_server_is_neither_demoted_nor_deleted(session):
    make_user(session, "gone", role="owner", disabled_at=1)
    alice = principal_of(make_user(session, ALICE, role="owner"))

    for caller in (alice, OPERATOR):
        with pytest.raises(LastOwner, match="the server must keep one owner"):
            set_role(session, caller, ALICE, Role.MAINTAINER)
        with pytest.raises(LastOwner, match="the server must keep one owner"):
            delete_user(session, caller, ALICE)
    set_role(session, alice, ALICE, Role.OWNER)

    assert roles(session) == {ALICE: "owner"}


def test_the_last_owner_who_can_log_in_stays_though_a_service_account_is_an_owner(session):
    alice = make_user(session, ALICE, role="owner")
    make_user(session, "robot", role="owner", service=True)

    with pytest.raises(LastOwner):
        set_role(session, principal_of(alice), ALICE, None)
    with pytest.raises(LastOwner):
        delete_user(session, principal_of(alice), ALICE)
    delete_user(session, principal_of(alice), "robot")

    assert roles(session) == {ALICE: "owner"}


def test_a_service_account_that_is_the_only_owner_stays(session):
    make_user(session, "robot", role="owner", service=True)

    with pytest.raises(LastOwner):
        set_role(session, OPERATOR, "robot", None)


@pytest.mark.parametrize(
    ("role", "action"),
    [(None, "users.delete_member"), ("maintainer", "users.delete_elevated")],
)
def test_deleting_a_user_leaves_his_name_and_nothing_that_he_could_come_in_by(
    session, role, action
):
    alice = principal_of(make_user(session, ALICE, role="owner"))
    bob = make_user(session, BOB, role=role, name="Bob", avatar_url="https://example.org/b.png")
    session.add(Identity(user_id=bob.id, provider="github", subject="7"))
    cookie = start_session(session, bob, "github")
    key = create_api_key(session, OPERATOR, bob, description="", expires_at=None, scopes=None).key
    former = len(events(session))

    delete_user(session, alice, BOB)

    assert authenticate_key(session, key) is None
    assert authenticate_session(session, cookie) is None
    assert [*session.scalars(select(Identity)), *session.scalars(select(LoginSession))] == []
    assert session.scalars(select(ApiKey.revoked_at)).one() is not None
    assert (bob.role, bob.name, bob.avatar_url) == (None, "", "")
    assert events(session)[former:] == [(ALICE, action, BOB, role, None)]
    with pytest.raises(UserNotFound):
        delete_user(session, alice, BOB)
    with pytest.raises(UserExists):
        create_user(session, alice, BOB, role=None)


@pytest.mark.parametrize(
    ("own", "other"), [("maintainer", "maintainer"), ("maintainer", "owner"), ("member", None)]
)
def test_nobody_deletes_a_user_whom_he_may_not(session, own, other):
    caller = principal_of(make_user(session, ALICE, role=own))
    make_user(session, "boss", role="owner")
    make_user(session, BOB, role=other)

    with pytest.raises(RoleRequired):
        delete_user(session, caller, BOB)

    assert (roles(session)[BOB], events(session)) == (other, [])


def test_only_a_browser_deletes_its_own_user(session):
    bob = principal_of(make_user(session, BOB))

    with pytest.raises(RoleRequired, match="a login by a browser"):
        delete_user(session, replace(bob, api_key="0123456789abcdef"), BOB)
    assert roles(session) == {BOB: None}

    delete_user(session, bob, BOB)

    assert roles(session) == {}
    assert events(session) == [(BOB, "users.delete_self", BOB, None, None)]


def test_a_deleted_member_counts_nowhere(session):
    alice, bob = make_user(session, ALICE, role="owner"), make_user(session, BOB)
    channel = make_channel(session, "forge", owner=alice)
    add_member(session, channel, bob, "owner")

    delete_user(session, principal_of(alice), BOB)

    assert [user.username for user, _ in list_members(session, channel)] == [ALICE]
    everything = ChannelFilter(visible_channels(principal_of(alice)))
    assert [count for _, count in list_channels(session, everything)] == [1]
    with pytest.raises(LastOwner):
        remove_member(session, principal_of(alice), channel, ALICE)
    with pytest.raises(UserNotFound):
        set_member(session, principal_of(alice), channel, BOB, Role.MEMBER)


def test_two_owners_who_demote_each_other_at_once_leave_one(deployment):
    with deployment.transaction(write=True) as session:
        alice = principal_of(make_user(session, ALICE, role="owner"))
        bob = principal_of(make_user(session, BOB, role="owner"))

    def demote_alice():
        with deployment.transaction(write=True) as session:
            set_role(session, bob, ALICE, None)

    with ThreadPoolExecutor() as pool, deployment.transaction(write=True) as session:
        set_role(session, alice, BOB, None)
        later = pool.submit(demote_alice)
        wait([later], timeout=0.2)  # let it come as far as it can

    with pytest.raises(RoleRequired):
        later.result()
    with deployment.transaction() as session:
        assert roles(session) == {ALICE: "owner", BOB: None}


def test_a_user_is_deleted_while_the_use_of_his_credentials_is_noted(deployment):
    with deployment.transaction(write=True) as session:
        alice = principal_of(make_user(session, ALICE, role="owner"))
        bob = make_user(session, BOB)
        for public_id in ("f" * 16, "0" * 16):
            session.add(ApiKey(public_id=public_id, secret_hash="", user_id=bob.id, description=""))
            session.flush()
        cookie = start_session(session, bob, "github")

    def delete_bob():
        with deployment.transaction(write=True) as session:
            delete_user(session, alice, BOB)

    with ThreadPoolExecutor() as pool, deployment.transaction(write=True) as session:
        touch_keys(session, {"0" * 16: now_ms()})
        later = pool.submit(delete_bob)
        wait([later], timeout=0.2)  # let it come as far as it can
        touch_keys(session, {"f" * 16: now_ms()})
        touch_sessions(session, {cookie: now_ms() + 1})

    later.result()
    with deployment.transaction() as session:
        assert authenticate_session(session, cookie) is None
        assert None not in session.scalars(select(ApiKey.revoked_at)).all()


def test_a_user_who_is_promoted_meanwhile_is_not_demoted_by_a_maintainer(deployment):
    with deployment.transaction(write=True) as session:
        alice = principal_of(make_user(session, ALICE, role="owner"))
        maintainer = principal_of(make_user(session, "mia", role="maintainer"))
        make_user(session, BOB, role="member")

    def demote_bob():
        with deployment.transaction(write=True) as session:
            set_role(session, maintainer, BOB, None)

    with ThreadPoolExecutor() as pool, deployment.transaction(write=True) as session:
        set_role(session, alice, BOB, Role.OWNER)
        later = pool.submit(demote_bob)
        wait([later], timeout=0.2)  # let it come as far as it can

    with pytest.raises(RoleRequired):
        later.result()
    with deployment.transaction() as session:
        assert roles(session)[BOB] == "owner"
