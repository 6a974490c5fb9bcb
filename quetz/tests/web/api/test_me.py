import pytest
from starlette.testclient import TestClient

from quetz.db.base import now_ms
from quetz.db.models import User
from quetz.services.sessions import start_session
from quetz.testing.factories import make_user


@pytest.fixture
def alice_at_home(deployment):
    with deployment.transaction(write=True) as session:
        user = make_user(session, "alice", name="Alice", avatar_url="https://example.org/a.png")
        cookie = start_session(session, user, "dummy")
    return user, cookie


def test_the_profile_has_exactly_the_keys_that_clients_know(app, alice_at_home):
    user, cookie = alice_at_home
    client = TestClient(app, cookies={"__Host-session": cookie})

    answer = client.get("/api/me")

    assert answer.status_code == 200
    assert answer.json() == {
        "name": "Alice",
        "avatar_url": "https://example.org/a.png",
        "user": {"id": user.public_id, "username": "alice"},
    }


def test_a_cookie_that_a_neighbouring_host_could_have_set_is_nobodys(app, alice_at_home):
    client = TestClient(app, cookies={"session": alice_at_home[1]})

    assert client.get("/api/me").status_code == 401


def test_an_api_key_alone_has_no_profile(alice):
    answer = alice.get("/api/me")

    assert answer.status_code == 401


def test_an_api_key_puts_the_cookie_aside(app, alice_at_home):
    client = TestClient(app, cookies={"__Host-session": alice_at_home[1]})

    answer = client.get("/api/me", headers={"X-API-Key": "wrong"})

    assert answer.status_code == 401


def test_nobody_has_no_profile(anonymous):
    answer = anonymous.get("/api/me")

    assert answer.status_code == 401
    assert answer.json()["detail"] == "Not logged in"


def test_a_disabled_user_is_logged_out_at_once(app, deployment, alice_at_home):
    user, cookie = alice_at_home
    client = TestClient(app, cookies={"__Host-session": cookie})
    assert client.get("/api/me").status_code == 200

    with deployment.transaction(write=True) as session:
        session.get_one(User, user.id).disabled_at = now_ms()

    assert client.get("/api/me").status_code == 401
