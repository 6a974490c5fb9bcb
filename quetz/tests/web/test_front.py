import base64

import pytest
from starlette.testclient import TestClient

from quetz.deployment import Deployment
from quetz.services.accounts import create_user
from quetz.services.permissions import OPERATOR, Role
from quetz.services.sessions import start_session
from quetz.web.app import create_app

INDEX = "noarch/repodata.json"


@pytest.fixture
def key(owner_key):
    return owner_key


@pytest.fixture
def secret(client, key):
    """Make a private channel, and return the path of one of its index files."""
    body = {"name": "secret", "private": True}
    client.post("/api/channels", json=body, headers={"X-API-Key": key})
    return f"/get/secret/{INDEX}"


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param(lambda key: {"X-API-Key": key}, id="X-API-Key"),
        pytest.param(lambda key: {"Authorization": f"Bearer {key}"}, id="Bearer"),
        pytest.param(lambda key: {"Authorization": f"bearer {key}"}, id="bearer"),
        pytest.param(lambda key: {"Authorization": basic("alice", key)}, id="Basic password"),
        pytest.param(lambda key: {"Authorization": basic(key, "")}, id="Basic user"),
    ],
)
def test_a_key_is_taken_from_every_header_that_clients_use(client, key, secret, headers):
    assert client.get(secret, headers=headers(key)).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Basic !!!"},
        {"Authorization": "Basic /w=="},
        {"Authorization": b"Basic \xff"},
        {"Authorization": "Digest x"},
        {"Authorization": ""},
        {"X-API-Key": ""},
        {"X-API-Key": "qz-0123456789abcdef-" + "0" * 49},
        {"Cookie": "__Host-session=unknown"},
        {"Cookie": "=;;=\x7f"},
    ],
)
def test_a_malformed_or_unknown_credential_counts_as_none(client, secret, headers):
    answer = client.get(secret, headers=headers)

    assert answer.status_code == 401
    assert "Bearer" in answer.headers["www-authenticate"]


def test_a_token_in_the_url_reads(client, key, secret):
    assert client.get(f"/t/{key}{secret}").status_code == 200


def test_a_token_in_the_url_changes_nothing(client, key):
    answer = client.post(f"/t/{key}/api/channels", json={"name": "new"})

    assert answer.status_code == 403


@pytest.mark.parametrize("path", ["/quetz/t/{key}", "/t/{key}/quetz", "/quetz", "", "/t/{key}"])
def test_a_sub_path_and_a_token_may_stand_in_either_order(deployment, key, path):
    client = TestClient(create_app(deployment, root_path="/quetz"))
    body = {"name": "open", "private": False}
    client.post("/api/channels", json=body, headers={"X-API-Key": key})

    answer = client.get(path.format(key=key) + f"/get/open/{INDEX}")

    assert answer.status_code == 200


def test_the_api_answers_below_a_sub_path(deployment):
    client = TestClient(create_app(deployment, root_path="/quetz"))

    assert client.get("/quetz/health/live").status_code == 200


def test_a_token_is_gone_from_what_the_access_log_reads(deployment, key, secret):
    app = create_app(deployment)
    seen = []

    async def logging_server(scope, receive, send):
        await app(scope, receive, send)
        seen.append(scope["path"])

    TestClient(logging_server).get(f"/t/{key}{secret}")

    assert seen == [f"/t/***{secret}"]


@pytest.mark.parametrize(
    "path",
    [
        "/get/secret/../../config.toml",
        "/get/%2e%2e/%2e%2e/config.toml",
        "/get/secret/noarch/%2e%2e%2f%2e%2e%2fconfig.toml",
        "/get/secret/noarch/..%5c..%5cconfig.toml",
        "/get/secret/noarch/repodata.json%00",
        "/get//secret/noarch/repodata.json",
        "/get/secret//repodata.json",
        "/get/",
        "/get",
        "/t",
        "/%",
        "/get/secret/noarch/%ff%fe",
    ],
)
def test_a_hostile_path_is_a_clear_refusal(client, key, secret, path):
    answer = client.get(path, headers={"X-API-Key": key})

    assert answer.status_code in {401, 404}
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("target", ["noarch", "*", "", "localhost:80"])
def test_a_target_that_is_no_path_is_a_clear_refusal(app, client, target):
    async def as_it_came(scope, receive, send):
        await app({**scope, "path": target, "raw_path": target.encode()}, receive, send)

    answer = TestClient(as_it_came).get("/")

    assert answer.status_code == 400
    assert "a path that begins with a slash" in answer.json()["detail"]


def test_the_cookies_of_other_applications_do_not_matter(client, deployment):
    with deployment.transaction(write=True) as session:
        user = create_user(session, OPERATOR, "carol", role=Role.MEMBER)
        cookie = start_session(session, user, "dummy")

    for others in ('prefs={"a":1}; ', "a; ", "=; ", "a b=c; ", "expires=Mon, 01 Jan; "):
        answer = client.get("/api/me", headers={"Cookie": f"{others}__Host-session={cookie}"})
        assert answer.status_code == 200


def test_a_long_path_leaves_nothing_in_memory(app, client):
    for number in range(20):
        client.get(f"/get/{'a' * 50_000}{number}/noarch/repodata.json")
        client.get(f"/get/forge/noarch/{'a' * 50_000}{number}-1.0-0.conda")

    held = sum(len(repr(key)) for key in app._cache._entries)
    assert held < 50_000


@pytest.fixture
def dev_client(deployment_path):
    with (deployment_path / "config.toml").open("a") as file:
        file.write("[general]\ndev = true\n")
    deployment = Deployment.open(deployment_path)
    yield TestClient(create_app(deployment), base_url="http://localhost:8000")
    deployment.close()


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8000", 200),
        ("quetz.localhost", 200),
        ("127.0.0.1:8000", 200),
        ("[::1]:8000", 200),
        ("evil.example:8000", 421),
        ("localhost.evil.example", 421),
        ("10.0.0.1", 421),
        ("", 421),
        ("[", 421),
        ("[::1", 421),
        ("localhost]", 421),
        ("a[b", 421),
    ],
)
def test_a_development_server_answers_only_to_names_of_this_machine(dev_client, host, status):
    answers = [
        dev_client.get(path, headers={"Host": host})
        for path in ("/health/live", "/get/none/noarch/repodata.json", "/t/x/get/none/a", "/get/")
    ]

    assert answers[0].status_code == status
    assert {answer.status_code == 421 for answer in answers} == {status == 421}


@pytest.mark.parametrize("name", ["X-Forwarded-For", "Forwarded", "X-Forwarded-Host", "X-Real-IP"])
def test_a_development_server_answers_nobody_through_a_proxy(dev_client, name):
    headers = {"Host": "127.0.0.1:8000", name: "203.0.113.9"}

    for path in ("/api/dummylogin/alice", "/get/none/noarch/repodata.json"):
        assert dev_client.get(path, headers=headers).status_code == 421
