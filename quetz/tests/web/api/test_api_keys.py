import re
from datetime import UTC, date, datetime, timedelta

import pytest
from starlette.testclient import TestClient

from quetz.services.api_keys import create_api_key
from quetz.services.permissions import OPERATOR, Role, Scope
from quetz.services.sessions import start_session
from quetz.testing.factories import make_channel, make_package, make_user
from quetz.tests.web.conftest import open_browser

KEYS = "/api/api-keys"
LATER = "2999-12-31"


@pytest.fixture
def owner(deployment):
    """The owner of a private channel with a package."""
    with deployment.transaction(write=True) as session:
        user = make_user(session, "olga", role="member")
        make_package(session, make_channel(session, "closed", private=True, owner=user), "numpy")
    return user


@pytest.fixture
def browser(app, deployment, owner):
    """A client of the owner, who logged in."""
    with deployment.transaction(write=True) as session:
        cookie = start_session(session, owner, "dummy")
    return open_browser(app, cookie)


def create(client, **body):
    return client.post(KEYS, json={"description": "ci", "roles": [], **body})


def with_key(client, key):
    """Return a client of the same application that uses ``key``."""
    return TestClient(client.app, base_url=client.base_url, headers={"X-API-Key": key})


def test_a_key_is_shown_once_and_listed_by_its_id(browser):
    made = create(browser, expire_at=LATER)
    listed = browser.get(KEYS)

    assert made.status_code == 201
    today = datetime.now(UTC).date().isoformat()
    expected = {
        "description": "ci",
        "time_created": today,
        "expire_at": LATER,
        "roles": None,
    }
    key = made.json().pop("key")
    assert made.json() == expected | {"key": key}
    assert listed.json() == [expected | {"key": key.split("-")[1]}]


def test_a_new_key_works_at_once(browser):
    key = create(browser).json()["key"]

    answer = with_key(browser, key).get("/api/channels/closed")

    assert answer.status_code == 200


def test_the_roles_of_a_key_are_all_that_it_may_use(browser):
    roles = [{"channel": "closed", "package": "numpy", "role": "member"}]
    made = create(browser, roles=[roles[0] | {"channel": "Closed"}])
    client = with_key(browser, made.json()["key"])

    assert made.json()["roles"] == roles
    assert browser.get(KEYS).json()[0]["roles"] == roles
    assert client.get("/api/channels/closed/packages/numpy").status_code == 200
    assert client.get("/api/channels/closed").status_code == 404
    assert client.delete("/api/channels/closed/packages/numpy").status_code == 403


def test_a_key_of_a_whole_channel_has_a_null_package(browser):
    made = create(browser, roles=[{"channel": "closed", "role": "owner"}])

    assert made.json()["roles"] == [{"channel": "closed", "package": None, "role": "owner"}]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param({}, datetime.now(UTC).date() + timedelta(days=90), id="90 days"),
        pytest.param({"expire_at": None}, None, id="never"),
        pytest.param({"expire_at": "9999-12-31"}, date.max, id="the last day there is"),
        pytest.param(
            {"expire_at": datetime.now(UTC).date().isoformat()},
            datetime.now(UTC).date(),
            id="today",
        ),
    ],
)
def test_a_key_is_good_to_the_end_of_its_last_day(browser, given, expected):
    made = create(browser, **given).json()

    assert made["expire_at"] == (expected and expected.isoformat())
    assert with_key(browser, made["key"]).get(KEYS).status_code == 200


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param({"expire_at": "2020-01-01"}, 422, id="expired already"),
        pytest.param({"expire_at": "tomorrow"}, 422, id="no day"),
        pytest.param({"description": None}, 422, id="no description"),
        pytest.param({"description": "a\0b"}, 422, id="NUL"),
        pytest.param({"description": "a" * 1001}, 422, id="long"),
        pytest.param({"roles": [{"channel": "closed", "role": "admin"}]}, 422, id="no such role"),
        pytest.param({"roles": [{"role": "owner"}]}, 422, id="no channel"),
        pytest.param({"roles": [{"channel": "missing", "role": "member"}]}, 404, id="missing"),
        pytest.param({"roles": [{"channel": "a\0b", "role": "member"}]}, 404, id="no name"),
        pytest.param(
            {"roles": [{"channel": "closed", "package": "scipy", "role": "member"}]},
            404,
            id="missing package",
        ),
        pytest.param({"roles": [{"channel": "open", "role": "member"}]}, 403, id="no role there"),
    ],
)
def test_a_key_that_is_refused_is_not_made(browser, deployment, body, status):
    with deployment.transaction(write=True) as session:
        make_channel(session, "open")

    answer = create(browser, **body)

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert browser.get(KEYS).json() == []


def test_a_private_channel_in_the_roles_is_answered_as_a_missing_one(alice, owner):
    answers = [
        create(alice, roles=[{"channel": name, "package": package, "role": "member"}])
        for name in ("closed", "missing")
        for package in (None, "numpy", "scipy")
    ]

    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.content for answer in answers}) == 1


def test_a_revoked_key_stops_working(browser):
    key = create(browser).json()["key"]
    client = with_key(browser, key)
    assert client.get(KEYS).status_code == 200

    answer = browser.delete(f"{KEYS}/{key.split('-')[1]}")

    assert (answer.status_code, answer.json()) == (200, None)
    assert client.get(KEYS).status_code == 401
    assert browser.get(KEYS).json() == []


def test_a_key_may_be_revoked_by_its_full_text_and_revokes_itself(browser):
    key = create(browser).json()["key"]
    client = with_key(browser, key)

    assert client.delete(f"{KEYS}/{key}").status_code == 200
    assert client.delete(f"{KEYS}/{key}").status_code == 401


@pytest.mark.parametrize("name", ["unknown", "%00", "qz-0-0", "%E2%82%AC"])
def test_an_unknown_key_is_not_found(browser, name):
    answer = browser.delete(f"{KEYS}/{name}")

    assert answer.status_code == 404


def test_no_answer_to_a_revocation_repeats_the_key(browser):
    key = create(browser).json()["key"]
    browser.delete(f"{KEYS}/{key}")

    answer = browser.delete(f"{KEYS}/{key}")

    assert answer.status_code == 404
    assert key.split("-")[2] not in answer.text


def test_the_key_of_another_user_takes_a_role_on_the_server(browser, alice, make_client):
    key = create(browser).json()["key"].split("-")[1]

    refused = alice.delete(f"{KEYS}/{key}")
    done = make_client("root", role="maintainer").delete(f"{KEYS}/{key}")

    assert refused.status_code == 403
    assert "the role maintainer on the server" in refused.json()["detail"]
    assert done.status_code == 200


@pytest.mark.parametrize(
    "limits",
    [
        pytest.param({"read_only": True}, id="read-only"),
        pytest.param({"scopes": True}, id="scoped"),
    ],
)
def test_a_limited_key_has_no_business_with_keys(browser, deployment, owner, limits):
    with deployment.transaction(write=True) as session:
        channel = make_channel(session, owner=owner)
        if "scopes" in limits:
            limits = {"scopes": [Scope(channel.id, None, Role.OWNER)]}
        new = create_api_key(
            session, OPERATOR, owner, description="", expires_at=None, **{"scopes": None} | limits
        )
    client = with_key(browser, new.key)

    answers = [
        client.get(KEYS),
        create(client),
        client.delete(f"{KEYS}/{new.row.public_id}"),
    ]

    assert [answer.status_code for answer in answers] == [403, 403, 403]


def test_a_token_in_the_url_has_no_business_with_keys(browser):
    key = create(browser).json()["key"]

    answer = with_key(browser, "").get(f"/t/{key}{KEYS}", headers={"X-API-Key": ""})
    by_url = TestClient(browser.app, base_url=browser.base_url).get(f"/t/{key}{KEYS}")

    assert answer.status_code == 401
    assert by_url.status_code == 403


def test_a_caller_without_a_credential_is_challenged_before_the_body_is_read(anonymous):
    answers = [
        anonymous.get(KEYS),
        anonymous.post(KEYS, content=b"{not JSON"),
        anonymous.delete(f"{KEYS}/unknown"),
    ]

    assert [answer.status_code for answer in answers] == [401, 401, 401]
    assert all("www-authenticate" in answer.headers for answer in answers)


def test_a_page_of_another_site_makes_no_key(browser):
    answer = browser.post(
        KEYS, json={"description": ""}, headers={"Origin": "https://evil.example"}
    )

    assert answer.status_code == 403
    assert browser.get(KEYS).json() == []


def test_keys_have_the_form_that_every_client_takes(browser):
    assert re.fullmatch(r"qz-[A-Za-z0-9]{16}-[A-Za-z0-9]{49}", create(browser).json()["key"])
