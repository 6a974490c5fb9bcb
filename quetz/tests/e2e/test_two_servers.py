"""What one server process changes holds in another that has just believed otherwise."""

import time

import pytest
import requests

SECONDS = {"sqlite": 0.0, "postgresql": 1.0}
"""How long another process may still let in who has lost a right."""


@pytest.fixture
def ask(running_below_a_path, private_channel):
    """Ask the other server for an index of the private channel."""
    url = running_below_a_path.url
    index = f"get/{private_channel.name}/noarch/repodata.json"

    def ask(kind: str, secret: str) -> int:
        session = requests.Session()
        session.trust_env = False
        address = f"{url}/{index}"
        if kind == "url":
            address = f"{url}/t/{secret}/{index}"
        elif kind == "cookie":
            session.headers["Cookie"] = secret
        else:
            session.headers["X-API-Key"] = secret
        return session.get(address).status_code

    return ask


def assert_refused_in_time(ask, database: str, *credential: str) -> None:
    """Ask until the time is over, and once more: the last answer counts."""
    end = time.monotonic() + SECONDS[database.partition(":")[0].partition("+")[0]]
    while time.monotonic() < end and ask(*credential) == 200:
        time.sleep(0.05)
    assert ask(*credential) in {401, 404}


@pytest.fixture
def log_in(alice):
    """Log a user in, and return a session that sends the cookie and what a page would."""

    def log_in(username: str) -> requests.Session:
        browser = requests.Session()
        browser.trust_env = False
        answer = browser.get(f"{alice.url}/api/dummylogin/{username}", allow_redirects=False)
        # Not by the session's own means: it keeps a secure cookie for https.
        browser.headers["Cookie"] = answer.headers["set-cookie"].partition(";")[0]
        browser.headers["Origin"] = alice.url
        browser.headers["X-CSRF"] = browser.get(f"{alice.url}/api/csrf-token").json()["token"]
        return browser

    return log_in


@pytest.fixture
def bob_key(alice, log_in):
    """Bob's key with all his rights."""
    body = {"description": "all", "roles": []}
    answer = log_in("bob").post(f"{alice.url}/api/api-keys", json=body)
    answer.raise_for_status()
    return answer.json()["key"]


@pytest.fixture
def member(alice, private_channel):
    body = {"username": "bob", "role": "member"}
    answer = alice.session.post(
        f"{alice.url}/api/channels/{private_channel.name}/members", json=body
    )
    answer.raise_for_status()


@pytest.mark.parametrize("kind", ["header", "url"])
def test_a_revoked_key_opens_nothing_at_another_server(alice, ask, database, reader_key, kind):
    before = [ask(kind, reader_key) for _ in range(3)]

    alice.session.delete(f"{alice.url}/api/api-keys/{reader_key}").raise_for_status()

    assert before == [200, 200, 200]
    assert_refused_in_time(ask, database, kind, reader_key)


@pytest.mark.parametrize("kind", ["header", "url"])
def test_a_lost_role_opens_nothing_at_another_server(
    alice, ask, database, private_channel, member, bob_key, kind
):
    before = [ask(kind, bob_key) for _ in range(3)]

    alice.session.delete(
        f"{alice.url}/api/channels/{private_channel.name}/members", params={"username": "bob"}
    ).raise_for_status()

    assert before == [200, 200, 200]
    assert_refused_in_time(ask, database, kind, bob_key)


def test_a_login_that_ended_opens_nothing_at_another_server(alice, ask, database, log_in):
    browser = log_in("alice")
    cookie = browser.headers["Cookie"]
    before = [ask("cookie", cookie) for _ in range(3)]

    browser.get(f"{alice.url}/auth/logout", allow_redirects=False)

    assert before == [200, 200, 200]
    assert_refused_in_time(ask, database, "cookie", cookie)
