import json

import pytest

from quetz.testing.factories import make_user


@pytest.fixture
def people(alice, deployment):
    alice.post("/api/channels", json={"name": "forge"})
    with deployment.transaction(write=True) as session:
        bob = make_user(session, "bob", name="Bob", avatar_url="https://example.org/bob.png")
    return {"bob": bob.public_id}


MEMBERS = "/api/channels/forge/members"


def roles(client):
    return {member["user"]["username"]: member["role"] for member in client.get(MEMBERS).json()}


def test_a_member_is_listed_with_exactly_the_keys_that_clients_know(alice, people):
    added = alice.post(MEMBERS, json={"username": "bob", "role": "member"})
    listed = alice.get(MEMBERS).json()

    assert (added.status_code, added.json()) == (201, None)
    assert listed[1] == {
        "role": "member",
        "user": {
            "id": people["bob"],
            "username": "bob",
            "profile": {"name": "Bob", "avatar_url": "https://example.org/bob.png"},
        },
    }


@pytest.mark.usefixtures("people")
def test_a_member_s_role_is_changed_and_taken_away(alice):
    alice.post(MEMBERS, json={"username": "bob", "role": "member"})
    changed = alice.post(MEMBERS, json={"username": "bob", "role": "maintainer"})

    assert changed.status_code == 201
    assert roles(alice) == {"alice": "owner", "bob": "maintainer"}

    removed = alice.delete(MEMBERS, params={"username": "bob"})

    assert (removed.status_code, removed.json()) == (200, None)
    assert roles(alice) == {"alice": "owner"}
    assert alice.delete(MEMBERS, params={"username": "bob"}).status_code == 404


@pytest.mark.usefixtures("people")
@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"username": "nobody", "role": "member"}, 404),
        ({"username": "", "role": "member"}, 404),
        ({"username": "a\0b", "role": "member"}, 422),
        ({"username": "\ud800", "role": "member"}, 422),
        ({"username": "bob", "role": "admin"}, 422),
        ({"username": "bob", "role": None}, 422),
        ({"username": "bob"}, 422),
        ({"role": "member"}, 422),
        ({"username": "alice", "role": "member"}, 409),
    ],
)
def test_a_wrong_member_is_refused(alice, body, status):
    assert alice.post(MEMBERS, content=json.dumps(body)).status_code == status
    assert roles(alice) == {"alice": "owner"}


@pytest.mark.usefixtures("people")
def test_who_is_removed_and_is_no_member_may_be_nobody(alice, make_client):
    make_client("zoe")

    answers = [alice.delete(MEMBERS, params={"username": name}) for name in ("zoe", "zog")]

    assert [answer.status_code for answer in answers] == [404, 404]
    assert answers[0].text.replace("zoe", "zog") == answers[1].text


@pytest.mark.usefixtures("people")
def test_the_last_owner_stays(alice):
    assert alice.delete(MEMBERS, params={"username": "alice"}).status_code == 409
    assert alice.delete(MEMBERS, params={"username": "nobody"}).status_code == 404
    assert alice.delete(MEMBERS).status_code == 422
    assert roles(alice) == {"alice": "owner"}


@pytest.mark.usefixtures("people")
def test_members_are_listed_by_maintainers_and_changed_by_owners(alice, anonymous, make_client):
    alice.patch("/api/channels/forge", json={"private": False})
    maintainer, stranger = make_client("maintainer"), make_client("stranger")
    alice.post(MEMBERS, json={"username": "maintainer", "role": "maintainer"})
    body = {"username": "bob", "role": "member"}

    assert maintainer.get(MEMBERS).status_code == 200
    assert maintainer.post(MEMBERS, json=body).status_code == 403
    assert maintainer.delete(MEMBERS, params={"username": "alice"}).status_code == 403
    assert stranger.get(MEMBERS).status_code == 403
    assert anonymous.get(MEMBERS).status_code == 401
    assert anonymous.post(MEMBERS, json=body).status_code == 401
    assert roles(alice) == {"alice": "owner", "maintainer": "maintainer"}
