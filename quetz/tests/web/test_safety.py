"""Headers that every answer has, and what pages of other sites may read."""

import pytest
from starlette.responses import Response
from starlette.testclient import TestClient

from quetz.services.operations import Operation
from quetz.testing.packages import build_package
from quetz.testing.publishing import publish_all
from quetz.web.guard import GuardedRouter, declares

ALWAYS = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}
HSTS = "strict-transport-security"
SITE = "https://pages.example"


@pytest.fixture
def config():
    """What the deployment is configured with; a test may choose another."""
    return ""


@pytest.fixture
def deployment_path(deployment_path, config):
    with (deployment_path / "config.toml").open("a") as file:
        file.write(config)
    return deployment_path


@pytest.fixture
def answers(client, deployment, key, channel, tmp_path):
    """Answers of every kind, by what they are."""
    package = build_package(tmp_path)
    path = f"/get/{channel}/noarch/{package.name}"
    upload = f"/api/channels/{channel}/upload/{package.name}"
    body = package.read_bytes()
    uploaded = client.post(upload, content=body, headers=key)
    publish_all(deployment)
    index = f"/get/{channel}/noarch/repodata.json"
    etag = client.get(index).headers["etag"]
    return {
        "upload": uploaded,
        "index": client.get(index),
        "index that did not change": client.get(index, headers={"If-None-Match": etag}),
        "package": client.get(path),
        "part of a package": client.get(path, headers={"Range": "bytes=0-9"}),
        "no part of a package": client.get(path, headers={"Range": "bytes=99999999-"}),
        "head of a package": client.head(path),
        "missing file": client.get(f"/get/{channel}/noarch/x-1-0.conda"),
        "wrong method": client.post(index),
        "private channel": client.get("/get/private/noarch/repodata.json"),
        "token in the address": client.get(f"/t/x{index}"),
        "list": client.get("/api/channels"),
        "list for a user": client.get("/api/channels", headers=key),
        "refusal": client.post("/api/channels", json={"name": "x"}),
        "malformed": client.post("/api/channels", json={}, headers=key),
        "nothing": client.get("/nothing"),
        "health": client.get("/health/live"),
        "logout": client.get("/auth/logout", follow_redirects=False),
        "description": client.get("/openapi.json"),
    }


def test_every_answer_has_the_headers_of_safety_once(answers):
    for name, answer in answers.items():
        sent = {header: answer.headers.get_list(header) for header in ALWAYS}
        assert sent == {header: [value] for header, value in ALWAYS.items()}, name
    assert {answer.status_code for answer in answers.values()} >= {
        200, 201, 206, 304, 307, 401, 404, 405, 416, 422,
    }  # fmt: skip


def test_nobody_keeps_what_an_answer_told_one_caller(answers):
    for name, answer in answers.items():
        kept = answer.headers.get("cache-control", "")
        if answer.status_code >= 400 and answer.status_code != 416:
            assert kept == "no-store", name
        elif not answer.request.url.path.startswith(("/get/", "/t/")):
            assert "no-store" in kept, name
    assert answers["list for a user"].headers["cache-control"] == "private, no-store"
    assert answers["index"].headers["cache-control"].startswith("public, max-age=")


def test_over_https_browsers_are_told_to_stay_there(answers):
    assert {answer.headers[HSTS] for answer in answers.values()} == {"max-age=31536000"}


@pytest.mark.parametrize("config", ["[session]\nhttps_only = false\n"])
def test_over_plain_http_they_are_not(answers):
    assert not any(HSTS in answer.headers for answer in answers.values())


def test_a_fault_of_the_server_has_the_headers_too(app):
    router = GuardedRouter(tags=["things"])

    @router.get("/faulty", **declares(Operation.FRONTEND))
    def fail() -> None:
        raise ZeroDivisionError

    app._app.include_router(router)
    answer = TestClient(app, raise_server_exceptions=False).get("/faulty")

    assert answer.status_code == 500
    assert {name: answer.headers[name] for name in ALWAYS} == ALWAYS


def test_a_page_keeps_a_policy_of_its_own(app, client):
    router = GuardedRouter(tags=["things"])
    policy = {"Content-Security-Policy": "style-src 'self'", "Cache-Control": "max-age=60"}

    @router.get("/page", **declares(Operation.FRONTEND))
    def show() -> Response:
        return Response("<p>", headers=policy)

    app._app.include_router(router)
    answer = client.get("/page")

    assert {name: answer.headers.get_list(name) for name in policy} == {
        name: [value] for name, value in policy.items()
    }
    assert answer.headers["x-frame-options"] == "DENY"


def test_without_settings_no_other_site_reads_an_answer(client):
    answer = client.get("/api/channels", headers={"Origin": SITE})

    assert not any(name.startswith("access-control-") for name in answer.headers)


ONE_SITE = f'[cors]\nallow_origins = ["{SITE}"]\nallow_methods = ["GET", "POST"]\n'
ALL_SITES = '[cors]\nallow_origins = ["*"]\nallow_credentials = false\n'


@pytest.mark.parametrize("config", [ONE_SITE])
@pytest.mark.parametrize(
    "path", ["/api/channels", "/get/none/noarch/repodata.json", "/api/channels/none"]
)
def test_a_site_in_the_settings_reads_answers_and_errors(client, path):
    answer = client.get(path, headers={"Origin": SITE})

    assert answer.headers["access-control-allow-origin"] == SITE
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert "origin" in answer.headers["vary"].lower()
    assert answer.headers["x-content-type-options"] == "nosniff"
    exposed = {name.lower() for name in answer.headers["access-control-expose-headers"].split(", ")}
    assert exposed >= {"etag", "quetz-change", "quetz-index", "quetz-yanked"}
    assert exposed >= {"retry-after", "www-authenticate"}


@pytest.mark.parametrize("config", [ONE_SITE])
def test_no_other_site_does(client):
    answer = client.get("/api/channels", headers={"Origin": "https://evil.example"})

    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("config", [ALL_SITES])
def test_all_sites_may_read_without_credentials(client):
    answer = client.get("/api/channels", headers={"Origin": "https://any.example"})

    assert answer.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize("config", [ONE_SITE])
@pytest.mark.parametrize(
    ("origin", "method", "status"),
    [(SITE, "POST", 200), (SITE, "DELETE", 400), ("https://evil.example", "POST", 400)],
)
def test_a_browser_that_asks_first_is_told_what_a_site_may_do(client, origin, method, status):
    asked = {"Origin": origin, "Access-Control-Request-Method": method}

    answer = client.options("/api/channels", headers=asked)

    assert answer.status_code == status
    assert {name: answer.headers[name] for name in ALWAYS} == ALWAYS
