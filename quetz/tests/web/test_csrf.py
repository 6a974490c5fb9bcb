"""What a cookie alone does not do (CSRF)."""

import re
from concurrent.futures import ThreadPoolExecutor, wait

import pytest
from fastapi.routing import iter_route_contexts
from starlette.testclient import TestClient

from quetz.db.models import Event, LoginSession, User
from quetz.db.queries.channels import get_channel, lock_channel
from quetz.services.permissions import OPERATOR
from quetz.services.sessions import end_session, start_session
from quetz.testing.factories import make_user
from quetz.tests.web.conftest import open_browser
from quetz.web.guard import GuardedRoute

HERE = "http://127.0.0.1:8000"


@pytest.fixture
def cookie(deployment):
    with deployment.transaction(write=True) as session:
        return start_session(session, make_user(session, "carol", role="owner"), "dummy")


@pytest.fixture
def browser(app, cookie):
    return open_browser(app, cookie)


def unsafe_routes(app):
    """Return (method, path) of each route that may change something, with names filled in."""
    return sorted(
        (method, re.sub(r"{[^}]*}", "x", str(context.path)))
        for context in iter_route_contexts(app._app.routes)
        if isinstance(context.original_route, GuardedRoute)
        for method in {*(context.original_route.methods or ())} - {"GET", "HEAD", "OPTIONS"}
    )


def send(browser, routes, **changes):
    headers = {"X-CSRF": browser.headers["X-CSRF"], "Origin": HERE} | changes
    sent = {name: value for name, value in headers.items() if value is not None}
    client = TestClient(browser.app, base_url=HERE, cookies=dict(browser.cookies))
    return {route: client.request(*route, headers=sent).status_code for route in routes}


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"X-CSRF": None}, id="no token"),
        pytest.param({"X-CSRF": ""}, id="empty token"),
        pytest.param({"X-CSRF": "qzc-" + "0" * 64}, id="another token"),
        pytest.param({"X-CSRF": b"\xff"}, id="no text"),
        pytest.param({"Origin": None}, id="no origin"),
        pytest.param({"Origin": "https://evil.example"}, id="foreign origin"),
        pytest.param({"Origin": "null"}, id="null origin"),
        pytest.param({"Sec-Fetch-Site": "cross-site"}, id="foreign site"),
        pytest.param({"Sec-Fetch-Site": "same-site"}, id="neighbouring site"),
    ],
)
def test_no_route_that_may_change_something_takes_a_forged_request(
    app, browser, deployment, changes
):
    with deployment.transaction() as session:
        before = session.query(Event).count()
    routes = unsafe_routes(app)

    answers = send(browser, routes, **changes)

    assert ("POST", "/auth/logout") in answers
    assert len(answers) > 10
    assert set(answers.values()) == {403}
    with deployment.transaction() as session:
        assert session.query(Event).count() == before


def test_a_page_of_ours_acts_with_the_token(browser):
    answer = browser.post(
        "/api/channels", json={"name": "own"}, headers={"Sec-Fetch-Site": "same-origin"}
    )

    assert answer.status_code == 201


def test_a_refusal_says_what_to_send(browser):
    del browser.headers["X-CSRF"]

    answer = browser.post("/api/channels", json={"name": "own"})

    assert answer.status_code == 403
    assert "X-CSRF" in answer.json()["detail"]
    assert "/api/csrf-token" in answer.json()["detail"]


def test_a_client_that_sends_no_origin_is_told_to(browser):
    del browser.headers["Origin"]

    answer = browser.post("/api/channels", json={"name": "own"})

    assert answer.status_code == 403
    assert "Origin" in answer.json()["detail"]
    assert "X-CSRF" in answer.json()["detail"]
    assert "API key" in answer.json()["detail"]
    assert "another site" not in answer.json()["detail"]


def test_the_token_of_another_login_does_not_count(app, browser, deployment):
    with deployment.transaction(write=True) as session:
        other = start_session(session, session.query(User).one(), "dummy")
    theirs = open_browser(app, other).headers["X-CSRF"]

    answer = browser.post("/api/channels", json={"name": "own"}, headers={"X-CSRF": theirs})

    assert theirs != browser.headers["X-CSRF"]
    assert answer.status_code == 403


def test_the_token_is_the_same_as_long_as_the_login_and_tells_nothing_of_it(browser, cookie):
    again = browser.get("/api/csrf-token").json()

    assert again == {"token": browser.headers["X-CSRF"]}
    assert cookie.removeprefix("qzs-")[:8] not in again["token"]


def test_an_api_key_needs_no_token_and_gets_none(client, key):
    made = client.post("/api/channels", json={"name": "own"}, headers=key)
    token = client.get("/api/csrf-token", headers=key)

    assert made.status_code == 201
    assert token.status_code == 401
    assert client.get("/api/csrf-token").status_code == 401


def test_reading_needs_no_token(browser):
    del browser.headers["X-CSRF"]

    assert browser.get("/api/me", headers={"Origin": "https://evil.example"}).status_code == 200


def test_a_key_beside_the_cookie_is_what_counts(browser, key):
    del browser.headers["X-CSRF"]

    answer = browser.post("/api/channels", json={"name": "own"}, headers=key)

    assert answer.status_code == 201


def test_a_cookie_that_ended_is_answered_as_none(browser, deployment):
    with deployment.transaction(write=True) as session:
        session.query(LoginSession).delete()

    assert browser.post("/api/channels", json={"name": "own"}).status_code == 401


class TestWithOtherSites:
    @pytest.fixture
    def deployment_path(self, deployment_path):
        with (deployment_path / "config.toml").open("a") as file:
            file.write('[cors]\nallow_origins = ["https://pages.example"]\n')
        return deployment_path

    def test_a_page_of_a_site_in_the_settings_acts_with_the_token(self, browser):
        sent = {"Origin": "https://pages.example", "Sec-Fetch-Site": "same-site"}

        answer = browser.post("/api/channels", json={"name": "own"}, headers=sent)

        assert answer.status_code == 201

    def test_it_needs_the_token_too(self, browser):
        sent = {"Origin": "https://pages.example", "X-CSRF": ""}

        answer = browser.post("/api/channels", json={"name": "own"}, headers=sent)

        assert answer.status_code == 403

    def test_no_other_site_does(self, browser):
        sent = {"Origin": "https://pages.example.evil.example"}

        answer = browser.post("/api/channels", json={"name": "own"}, headers=sent)

        assert answer.status_code == 403


def test_a_change_that_waited_while_its_login_ended_is_not_made(browser, cookie, deployment):
    browser.post("/api/channels", json={"name": "forge"})

    with ThreadPoolExecutor() as pool, deployment.transaction(write=True) as session:
        lock_channel(session, get_channel(session, "forge"))
        later = pool.submit(browser.delete, "/api/channels/forge")
        wait([later], timeout=0.3)  # let it come as far as it can
        end_session(session, OPERATOR, cookie)

    assert later.result().status_code == 401
    with deployment.transaction() as session:
        get_channel(session, "forge")
