"""Accounts of those who log in by a provider."""

from concurrent.futures import ThreadPoolExecutor, wait

import pytest
from sqlalchemy import select

from quetz.db.models import Channel, ChannelMember, Event, User
from quetz.errors import BadName
from quetz.services.accounts import create_user, delete_user
from quetz.services.identities import Login, find_or_make_account, give_listed_roles
from quetz.services.permissions import OPERATOR, Role
from quetz.settings import Settings
from quetz.settings.sections import Quotas, Users
from quetz.testing.factories import make_channel, make_user


def first_login(session, username, *, subject="1", provider="github", users=None, **profile):
    settings = Settings(users=users or Users(), quotas=Quotas(channel_quota=1000))
    return find_or_make_account(session, Login(provider, subject, username, **profile), settings)


def test_the_first_login_makes_an_account_and_later_ones_find_it(session):
    made = first_login(session, "alice", name="Alice", avatar_url="https://example.org/a.png")
    found = first_login(session, "alice-renamed", name="Another")

    assert found is made
    assert (made.username, made.name, made.avatar_url, made.role) == (
        "alice",
        "Alice",
        "https://example.org/a.png",
        None,
    )
    [event] = session.scalars(select(Event))
    assert (event.actor, event.action, event.subject) == ("alice", "users.create", "alice")


@pytest.mark.parametrize(
    ("username", "role"),
    [
        ("ada", "owner"),
        ("max", "maintainer"),
        ("mia", "member"),
        pytest.param("both", "owner", id="the highest of two"),
        pytest.param("nobody", "member", id="the default"),
        pytest.param("Ada", "member", id="another case is another name"),
    ],
)
def test_a_new_user_has_the_role_that_is_listed_for_him(session, username, role):
    users = Users(
        admins=("github:ada", "github:both"),
        maintainers=("github:max", "gitlab:nobody"),
        members=("github:mia", "github:both"),
        default_role="member",
    )

    assert first_login(session, username, users=users).role == role


@pytest.mark.parametrize(
    ("called", "username"),
    [
        pytest.param("alice", "alice@github", id="taken"),
        pytest.param("twice", "twice@github-2", id="taken twice"),
        pytest.param("Operator", "Operator@github", id="what the audit log calls others"),
        pytest.param("ü b e r", "b-e-r@github", id="malformed"),
        pytest.param("日本", "user@github", id="without a letter that may stay"),
        pytest.param("a" * 70, "a" * 57 + "@github", id="too long"),
        pytest.param("a\0b", "a-b@github", id="NUL"),
    ],
)
def test_one_who_cannot_be_called_as_he_is_there_gets_a_name_of_his_own(session, called, username):
    for taken in ("alice", "twice", "twice@github"):
        make_user(session, taken)

    assert first_login(session, called).username == username


def test_a_profile_is_stored_without_what_a_database_refuses(session):
    user = first_login(session, "alice", name="A\0l\ud800ice")

    assert user.name == "Alice"


@pytest.mark.parametrize("subject", ["1\0", "\udfff"])
def test_an_identity_that_cannot_be_stored_is_nobody_s(session, subject):
    with pytest.raises(BadName):
        first_login(session, "alice", subject=subject)

    assert list(session.scalars(select(User))) == []


def test_a_name_that_was_made_up_is_listed_for_nobody(session):
    make_user(session, "bob")
    users = Users(admins=("github:bob-2", "github:a-b"))

    for subject, called in enumerate(["bob", "a b"]):
        first_login(session, called, subject=str(subject))

    assert give_listed_roles(session, users) == ["github:bob-2", "github:a-b"]
    assert set(session.scalars(select(User.role))) == {None}


def test_a_deleted_user_who_logs_in_again_is_another(session):
    deleted = first_login(session, "alice")
    delete_user(session, OPERATOR, "alice")

    again = first_login(session, "alice")

    assert (again.username, deleted.username) == ("alice@github", "alice")


BOSS = Users(admins=("github:boss",), default_role="member")


def test_whoever_takes_the_freed_name_of_a_listed_user_does_not_get_his_role(session):
    first = first_login(session, "boss", subject="1", users=BOSS)

    later = [first_login(session, "boss", subject=str(number), users=BOSS) for number in (2, 3)]

    assert first.role == "owner"
    assert [user.role for user in later] == ["member", "member"]
    assert give_listed_roles(session, BOSS) == []
    assert [user.role for user in later] == ["member", "member"]


@pytest.mark.parametrize("called", ["boss", "the boss"])
def test_nor_does_he_where_the_first_had_to_be_called_otherwise(session, called):
    make_user(session, "boss")
    users = Users(admins=(f"github:{called}",))

    roles = [
        first_login(session, called, subject=str(number), users=users).role for number in range(3)
    ]

    assert roles == ["owner", None, None]


def test_nor_does_he_when_the_first_was_not_listed_yet(session):
    first_login(session, "boss", subject="1")

    assert first_login(session, "boss", subject="2", users=BOSS).role == "member"


def test_nor_does_he_when_the_first_was_deleted(session):
    make_user(session, "other", role="owner")
    first_login(session, "boss", subject="1", users=BOSS)
    delete_user(session, OPERATOR, "boss")

    assert first_login(session, "boss", subject="2", users=BOSS).role == "member"


def test_a_name_that_one_of_another_provider_has_is_listed_for_the_first_of_this_one(session):
    first_login(session, "boss", provider="gitlab", users=BOSS)

    assert first_login(session, "boss", users=BOSS).role == "owner"


BY_ID = Users(admins=("github:sub:1",), members=("github:alice",))


def test_an_entry_by_the_provider_s_id_is_for_that_person_whatever_he_is_called(session):
    make_user(session, "other", role="owner")
    first = first_login(session, "alice", users=BY_ID)
    delete_user(session, OPERATOR, "alice")

    again = first_login(session, "alice", users=BY_ID)
    others = [
        first_login(session, called, subject=subject, users=BY_ID)
        for called, subject in (("sub:1", "2"), ("alice", "3"))
    ]

    assert again is not first
    assert again.role == "owner"
    assert [user.role for user in others] == [None, None]


def test_a_role_that_is_listed_by_the_provider_s_id_goes_to_who_is_known_already(session):
    user = first_login(session, "alice")
    users = Users(admins=("github:sub:1", "github:sub:2", "git\0hub:sub:1", "gitlab:sub:1"))

    unknown = give_listed_roles(session, users)

    assert user.role == "owner"
    assert sorted(unknown) == ["git\0hub:sub:1", "github:sub:2", "gitlab:sub:1"]


def channels(session):
    query = select(Channel.name, Channel.private, Channel.size_limit)
    return [tuple(row) for row in session.execute(query)]


@pytest.mark.parametrize(
    ("username", "expected"),
    [
        pytest.param("Alice", [("alice", True, 1000)], id="in lower case"),
        pytest.param("under_score", [], id="not a channel's name"),
        pytest.param("linux-64", [], id="a subdir"),
    ],
)
def test_a_new_user_owns_a_private_channel_of_his_name_if_there_can_be_one(
    session, username, expected
):
    user = first_login(session, username, users=Users(create_default_channel=True))

    assert channels(session) == expected
    owners = session.execute(select(ChannelMember.user_id, ChannelMember.role))
    assert [tuple(row) for row in owners] == [(user.id, "owner")] * len(expected)
    actions = session.scalars(select(Event.action).order_by(Event.id))
    assert list(actions) == ["users.create", *["channel.create"] * len(expected)]


def test_a_channel_that_has_the_name_stays_whose_it_is(session):
    make_channel(session, "alice", owner=make_user(session, "bob"))

    first_login(session, "alice", users=Users(create_default_channel=True))

    assert len(channels(session)) == 1
    assert len(list(session.scalars(select(ChannelMember)))) == 1


def test_two_first_logins_of_one_person_at_once_make_one_account(deployment):
    def log_in():
        with deployment.transaction(write=True) as session:
            return first_login(session, "alice").id

    with ThreadPoolExecutor() as pool, deployment.transaction(write=True) as session:
        made = first_login(session, "alice").id
        later = pool.submit(log_in)
        wait([later], timeout=0.2)  # let it come as far as it can

    assert later.result() == made
    with deployment.transaction() as session:
        assert list(session.scalars(select(User.username))) == ["alice"]


def test_listed_roles_go_to_who_has_none_or_the_default_one(session):
    for subject, username in enumerate(["ada", "max", "mia", "low", "left"]):
        first_login(session, username, subject=str(subject))
    by_name = {user.username: user for user in session.scalars(select(User))}
    by_name["max"].role = "member"  # the default
    by_name["low"].role = "maintainer"
    by_name["left"].role = "owner"
    create_user(session, OPERATOR, "local", role=None)
    former = len(list(session.scalars(select(Event))))
    users = Users(
        admins=("github:ada", "github:nobody", "gitlab:mia", "github:local"),
        maintainers=("github:max", "github:a b", "a\0b:ada"),
        members=("github:ada", "github:low"),
        default_role="member",
    )

    unknown = give_listed_roles(session, users)
    give_listed_roles(session, users)

    assert sorted(unknown) == [
        "a\0b:ada",
        "github:a b",
        "github:local",
        "github:nobody",
        "gitlab:mia",
    ]
    assert {name: user.role for name, user in by_name.items()} == {
        "ada": "owner",
        "max": "maintainer",
        "mia": None,
        "low": "maintainer",
        "left": "owner",
    }
    given = list(session.scalars(select(Event).order_by(Event.id)))[former:]
    assert sorted((event.actor, event.subject, event.after) for event in given) == [
        ("operator", "ada", Role.OWNER),
        ("operator", "max", Role.MAINTAINER),
    ]
