"""API keys by the paths that show all of them: verbs, last use, expiry."""

from datetime import UTC, datetime, timedelta

import pytest
from starlette.testclient import TestClient

from quetz.db.base import now_ms
from quetz.db.models import ApiKey
from quetz.deployment import Deployment
from quetz.services.sessions import start_session
from quetz.testing.factories import make_channel, make_user
from quetz.tests.web.conftest import open_browser
from quetz.web.app import create_app

KEYS = "/api/keys"


@pytest.fixture
def browser(app, deployment):
    """A client of a user with a private channel, who logged in."""
    with deployment.transaction(write=True) as session:
        user = make_user(session, "olga", role="member")
        make_channel(session, "closed", private=True, owner=user)
        cookie = start_session(session, user, "dummy")
    return open_browser(app, cookie)


def create(client, **body):
    return client.post(KEYS, json={"description": "ci", **body})


def with_key(client, key):
    return TestClient(client.app, base_url=client.base_url, headers={"X-API-Key": key})


def day(days):
    return (datetime.now(UTC).date() + timedelta(days=days)).isoformat()


def test_a_key_is_shown_whole_once_and_listed_by_its_id(browser):
    made = create(browser, verbs=["upload", "read"], read_only=False)

    assert made.status_code == 201
    key = made.json()["key"]
    assert made.json() == {
        "key": key,
        "description": "ci",
        "time_created": day(0),
        "expire_at": day(90),
        "roles": None,
        "verbs": ["read", "upload"],
        "read_only": False,
        "last_used_at": None,
        "expired": False,
    }
    assert browser.get(KEYS).json() == [made.json() | {"key": key.split("-")[1]}]


def test_the_answers_that_existing_clients_read_stay_as_they_are(browser):
    create(browser, verbs=["read"], read_only=True)

    [old] = browser.get("/api/api-keys").json()

    assert list(old) == ["key", "description", "time_created", "expire_at", "roles"]


def test_a_key_does_what_its_verbs_say(browser):
    client = with_key(browser, create(browser, verbs=["read"]).json()["key"])

    assert client.get("/api/channels/closed").status_code == 200
    refused = client.delete("/api/channels/closed")
    assert refused.status_code == 403
    assert "the verb manage" in refused.json()["detail"]


def test_a_key_without_the_verb_reads_no_private_channel(browser):
    client = with_key(browser, create(browser, verbs=["upload"]).json()["key"])

    answers = [
        client.get(path) for path in ("/api/channels/closed", "/get/closed/noarch/repodata.json")
    ]

    assert [answer.status_code for answer in answers] == [403, 403]
    assert all("the verb read" in answer.json()["detail"] for answer in answers)
    assert client.get("/api/channels").json() == []


def test_a_read_only_key_changes_nothing(browser):
    client = with_key(browser, create(browser, read_only=True).json()["key"])

    assert client.get("/api/channels/closed").status_code == 200
    assert client.delete("/api/channels/closed").status_code == 403


def test_a_key_makes_keys_with_its_own_verbs_at_most(browser):
    client = with_key(browser, create(browser, verbs=["manage", "read"]).json()["key"])

    assert create(client, verbs=["read", "delete"]).status_code == 403
    assert create(client, verbs=["read"]).json()["verbs"] == ["read"]
    assert create(client).json()["verbs"] == ["read", "manage"]


def test_a_key_of_the_older_path_has_no_more_verbs_than_the_key_that_makes_it(browser):
    client = with_key(browser, create(browser, verbs=["manage"]).json()["key"])

    made = client.post("/api/api-keys", json={"description": "old"}).json()["key"]

    assert with_key(browser, made).get("/api/channels/closed").status_code == 403


@pytest.mark.parametrize(
    "limit", [pytest.param({"verbs": ["read"]}, id="verbs"), pytest.param({"read_only": True})]
)
def test_a_key_of_the_older_path_is_as_limited_as_its_maker_asked(browser, limit):
    made = browser.post("/api/api-keys", json={"description": "old", **limit})

    client = with_key(browser, made.json()["key"])
    assert list(made.json()) == ["key", "description", "time_created", "expire_at", "roles"]
    assert client.get("/api/channels/closed").status_code == 200
    assert client.delete("/api/channels/closed").status_code == 403
    [listed] = browser.get(KEYS).json()
    assert {name: listed[name] for name in limit} == limit


def test_the_older_path_takes_no_verb_that_is_none(browser):
    answer = browser.post("/api/api-keys", json={"description": "old", "verbs": ["write"]})

    assert answer.status_code == 422
    assert browser.get(KEYS).json() == []


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"verbs": []}, id="no verb"),
        pytest.param({"verbs": ["write"]}, id="no such verb"),
        pytest.param({"verbs": "read"}, id="no list"),
        pytest.param({"read_only": "perhaps"}, id="no flag"),
        pytest.param({"expire_at": day(-1)}, id="expired already"),
    ],
)
def test_a_key_that_is_refused_is_not_made(browser, body):
    assert create(browser, **body).status_code == 422
    assert browser.get(KEYS).json() == []


def test_an_expired_key_is_listed_as_that_and_a_used_one_with_its_time(browser, deployment):
    create(browser)
    with deployment.transaction(write=True) as session:
        key = session.query(ApiKey).one()
        key.expires_at, key.last_used_at = now_ms() - 1, 1_700_000_000_000

    [listed] = browser.get(KEYS).json()

    assert listed["expired"]
    assert listed["last_used_at"] == "2023-11-14T22:13:20Z"


@pytest.mark.parametrize("path", [KEYS, "/api/api-keys"])
def test_nobody_has_more_keys_than_can_be_listed(browser, deployment, path):
    create(browser)
    with deployment.transaction(write=True) as session:
        first = session.query(ApiKey).one()
        columns = {"secret_hash": "", "user_id": first.user_id}
        session.add_all(ApiKey(public_id=f"key{number}", **columns) for number in range(998))
        session.add(ApiKey(public_id="expired", expires_at=1, **columns))
        session.add(ApiKey(public_id="revoked", revoked_at=1, **columns))

    answers = [browser.post(path, json={"description": ""}) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [201, 409]
    assert "1000 API keys" in answers[1].json()["detail"]
    browser.delete(f"{KEYS}/key1")
    assert create(browser).status_code == 201


def test_a_revoked_key_is_listed_no_more(browser):
    key = create(browser).json()["key"]

    answer = browser.delete(f"{KEYS}/{key.split('-')[1]}")

    assert (answer.status_code, answer.json()) == (200, None)
    assert browser.get(KEYS).json() == []
    assert with_key(browser, key).get(KEYS).status_code == 401


class TestWithLimits:
    @pytest.fixture
    def deployment_path(self, deployment_path):
        with (deployment_path / "config.toml").open("a") as file:
            file.write("[keys]\nmax_days = 30\n")
        return deployment_path

    @pytest.mark.parametrize("path", [KEYS, "/api/api-keys"])
    @pytest.mark.parametrize("expire_at", [None, day(32), "9999-12-31"])
    def test_no_key_lasts_longer_than_the_settings_allow(self, browser, path, expire_at):
        answer = browser.post(path, json={"description": "", "expire_at": expire_at})

        assert answer.status_code == 422
        assert "30 days at most" in answer.json()["detail"]

    def test_a_key_whose_maker_names_no_day_lasts_as_long_as_it_may(self, browser):
        assert create(browser).json()["expire_at"] == day(30)
        assert create(browser, expire_at=day(30)).status_code == 201


def test_the_default_life_of_keys_is_a_setting(deployment_path, monkeypatch):
    monkeypatch.setenv("QUETZ_KEYS_DEFAULT_DAYS", "0")
    deployment = Deployment.open(deployment_path)
    with deployment.transaction(write=True) as session:
        cookie = start_session(session, make_user(session), "dummy")
    browser = open_browser(create_app(deployment), cookie)

    assert create(browser).json()["expire_at"] is None
    deployment.close()
