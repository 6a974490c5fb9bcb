from concurrent.futures import ThreadPoolExecutor, wait

import pytest
from sqlalchemy import select

from quetz.db.models import Event
from quetz.db.queries.channels import get_channel
from quetz.errors import LastOwner, MemberNotFound, RoleRequired, UserNotFound
from quetz.services.members import list_members, remove_member, set_member
from quetz.services.permissions import Role
from quetz.testing.factories import add_member, make_channel, make_user, principal_of


@pytest.fixture
def alice(session):
    return make_user(session, "alice")


@pytest.fixture
def bob(session):
    return make_user(session, "bob")


@pytest.fixture
def channel(session, alice):
    return make_channel(session, "forge", owner=alice)


def roles(session, channel):
    return {user.username: role for user, role in list_members(session, channel)}


def test_an_owner_adds_a_member_and_changes_his_role(session, alice, bob, channel):
    set_member(session, principal_of(alice), channel, "bob", Role.MEMBER)
    set_member(session, principal_of(alice), channel, "bob", Role.OWNER)

    assert roles(session, channel) == {"alice": "owner", "bob": "owner"}
    events = session.execute(select(Event.action, Event.subject, Event.before, Event.after))
    assert [tuple(event) for event in events] == [
        ("channel.members.add", "bob", None, "member"),
        ("channel.members.add", "bob", "member", "owner"),
    ]


def test_nobody_gives_a_role_above_his_own(session, bob, channel):
    carol = make_user(session, "carol")
    add_member(session, channel, bob, "maintainer")

    with pytest.raises(RoleRequired):
        set_member(session, principal_of(bob), channel, carol.username, Role.OWNER)

    assert roles(session, channel) == {"alice": "owner", "bob": "maintainer"}


@pytest.mark.parametrize("username", ["nobody", "", "a\0b"])
def test_an_unknown_user_is_neither_added_nor_removed(session, alice, channel, username):
    with pytest.raises(UserNotFound):
        set_member(session, principal_of(alice), channel, username, Role.MEMBER)
    with pytest.raises(MemberNotFound):
        remove_member(session, principal_of(alice), channel, username)


def test_a_member_is_removed_once(session, alice, bob, channel):
    add_member(session, channel, bob, "maintainer")

    remove_member(session, principal_of(alice), channel, "bob")

    assert roles(session, channel) == {"alice": "owner"}
    event = session.scalars(select(Event)).one()
    assert (event.action, event.subject, event.before) == (
        "channel.members.remove",
        "bob",
        "maintainer",
    )
    with pytest.raises(MemberNotFound, match="'bob' is not a member of channel 'forge'"):
        remove_member(session, principal_of(alice), channel, "bob")


@pytest.mark.parametrize("role", [Role.MAINTAINER, Role.MEMBER])
def test_the_last_owner_is_not_demoted(session, alice, channel, role):
    with pytest.raises(LastOwner):
        set_member(session, principal_of(alice), channel, "alice", role)

    assert roles(session, channel) == {"alice": "owner"}


def test_not_even_a_server_owner_removes_the_last_owner(session, channel):
    admin = make_user(session, "admin", role="owner")

    with pytest.raises(LastOwner):
        remove_member(session, principal_of(admin), channel, "alice")

    assert roles(session, channel) == {"alice": "owner"}


def test_one_of_two_owners_may_leave(session, alice, bob, channel):
    add_member(session, channel, bob, "owner")

    remove_member(session, principal_of(alice), channel, "alice")

    assert roles(session, channel) == {"bob": "owner"}


def test_two_owners_who_remove_each_other_at_once_leave_one(deployment):
    with deployment.transaction(write=True) as session:
        alice, bob = make_user(session, "alice"), make_user(session, "bob")
        channel = make_channel(session, "forge", owner=alice)
        add_member(session, channel, bob, "owner")

    def remove_alice():
        with deployment.transaction(write=True) as session:
            remove_member(session, principal_of(bob), get_channel(session, "forge"), "alice")

    with ThreadPoolExecutor() as pool, deployment.transaction(write=True) as session:
        remove_member(session, principal_of(alice), get_channel(session, "forge"), "bob")
        later = pool.submit(remove_alice)
        wait([later], timeout=0.2)  # let it come as far as it can

    with pytest.raises(LastOwner):
        later.result()
    with deployment.transaction() as session:
        assert roles(session, get_channel(session, "forge")) == {"alice": "owner"}


def test_the_last_owner_may_be_made_owner_again(session, alice, channel):
    set_member(session, principal_of(alice), channel, "alice", Role.OWNER)

    assert roles(session, channel) == {"alice": "owner"}
