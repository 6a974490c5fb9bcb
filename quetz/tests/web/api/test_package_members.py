import json

import pytest
from sqlalchemy import select

from quetz.db.models import Event
from quetz.services.accounts import delete_user
from quetz.services.permissions import OPERATOR
from quetz.testing.factories import make_user

PACKAGES = "/api/channels/forge/packages"
MEMBERS = f"{PACKAGES}/numpy/members"


@pytest.fixture
def people(alice, deployment):
    alice.post("/api/channels", json={"name": "forge", "private": False})
    alice.post(PACKAGES, json={"name": "numpy"})
    with deployment.transaction(write=True) as session:
        bob = make_user(session, "bob", name="Bob", avatar_url="https://example.org/bob.png")
    return {"bob": bob.public_id}


def roles(client):
    return {member["user"]["username"]: member["role"] for member in client.get(MEMBERS).json()}


def changes(deployment):
    with deployment.transaction() as session:
        query = select(Event.action, Event.subject, Event.before, Event.after)
        return [tuple(row) for row in session.execute(query) if "package.members" in row.action]


def test_a_member_is_listed_with_exactly_the_keys_that_clients_know(alice, anonymous, people):
    added = alice.post(MEMBERS, json={"username": "bob", "role": "owner"})

    assert (added.status_code, added.json()) == (201, None)
    assert anonymous.get(MEMBERS).json() == [
        {
            "role": "owner",
            "user": {
                "id": people["bob"],
                "username": "bob",
                "profile": {"name": "Bob", "avatar_url": "https://example.org/bob.png"},
            },
        }
    ]


@pytest.mark.usefixtures("people")
def test_a_deleted_user_is_no_member(alice, deployment):
    alice.post(MEMBERS, json={"username": "bob", "role": "owner"})

    with deployment.transaction(write=True) as session:
        delete_user(session, OPERATOR, "bob")

    assert "bob" not in roles(alice)


@pytest.mark.usefixtures("people")
def test_a_member_is_added_once_and_taken_away_once(alice, deployment):
    alice.post(MEMBERS, json={"username": "bob", "role": "member"})
    again = alice.post(MEMBERS, json={"username": "bob", "role": "owner"})

    assert again.status_code == 409
    assert roles(alice) == {"bob": "member"}

    removed = alice.delete(MEMBERS, params={"username": "bob"})

    assert (removed.status_code, removed.json()) == (200, None)
    assert alice.delete(MEMBERS, params={"username": "bob"}).status_code == 404
    assert roles(alice) == {}
    assert changes(deployment) == [
        ("package.members.add", "numpy/bob", None, "member"),
        ("package.members.remove", "numpy/bob", "member", None),
    ]


@pytest.mark.usefixtures("people")
@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"username": "nobody", "role": "member"}, 404),
        ({"username": "a\0b", "role": "member"}, 422),
        ({"username": "bob", "role": "admin"}, 422),
        ({"username": "bob"}, 422),
    ],
)
def test_a_wrong_member_is_refused(alice, body, status):
    assert alice.post(MEMBERS, content=json.dumps(body)).status_code == status
    assert alice.delete(MEMBERS, params={"username": "nobody"}).status_code == 404
    assert alice.delete(MEMBERS).status_code == 422
    assert roles(alice) == {}


@pytest.mark.usefixtures("people")
@pytest.mark.parametrize("name", ["missing", "%00"])
def test_a_missing_package_has_no_members(alice, name):
    path = f"{PACKAGES}/{name}/members"

    assert alice.get(path).status_code == 404
    assert alice.post(path, json={"username": "bob", "role": "member"}).status_code == 404
    assert alice.delete(path, params={"username": "bob"}).status_code == 404


@pytest.mark.usefixtures("people")
def test_owners_of_a_package_and_maintainers_of_its_channel_give_any_role(
    alice, anonymous, make_client
):
    clients = {name: make_client(name) for name in ("cmaint", "cmember", "powner", "pmaint")}
    for name, role in {"cmaint": "maintainer", "cmember": "member"}.items():
        alice.post("/api/channels/forge/members", json={"username": name, "role": role})
    for name, role in {"powner": "owner", "pmaint": "maintainer"}.items():
        alice.post(MEMBERS, json={"username": name, "role": role})
    bob = {"username": "bob", "role": "owner"}

    def changed_by(client):
        added = client.post(MEMBERS, json=bob).status_code
        return added, client.delete(MEMBERS, params={"username": "bob"}).status_code

    assert {name: changed_by(client) for name, client in clients.items()} == {
        "cmaint": (201, 200),
        "cmember": (403, 403),
        "powner": (201, 200),
        "pmaint": (403, 403),
    }
    assert changed_by(anonymous) == (401, 401)


def test_who_is_removed_and_is_no_member_may_be_nobody(alice, make_client):
    make_client("zoe")

    answers = [alice.delete(MEMBERS, params={"username": name}) for name in ("zoe", "zog")]

    assert [answer.status_code for answer in answers] == [404, 404]
    assert answers[0].text.replace("zoe", "zog") == answers[1].text
