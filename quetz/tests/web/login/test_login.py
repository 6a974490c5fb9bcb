"""Logging in as a dummy user, and out."""

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from quetz.db.models import LoginSession
from quetz.testing.factories import make_user
from quetz.tests.web.conftest import make_key
from quetz.web.app import create_app

DEVELOPMENT = "[general]\ndev = true\n"
PLAIN_HTTP = "[session]\nhttps_only = false\n"


@pytest.fixture
def config():
    """What the deployment is configured with; a test may choose another."""
    return DEVELOPMENT + PLAIN_HTTP


@pytest.fixture
def deployment_path(deployment_path, config):
    with (deployment_path / "config.toml").open("a") as file:
        file.write(config)
    return deployment_path


@pytest.fixture
def browser(deployment):
    with deployment.transaction(write=True) as session:
        make_user(session, "alice")
    return open_browser(create_app(deployment))


def open_browser(app):
    """Open a client that says where its requests come from, as browsers do."""
    here = "http://localhost:8000"
    return TestClient(app, base_url=here, headers={"Origin": here}, follow_redirects=False)


def log_in(browser, username="alice"):
    answer = browser.get(f"/api/dummylogin/{username}")
    if "session" in browser.cookies:
        browser.headers["X-CSRF"] = browser.get("/api/csrf-token").json()["token"]
    return answer


def test_a_login_leads_home_with_a_cookie(browser):
    answer = log_in(browser)

    assert (answer.status_code, answer.headers["location"]) == (307, "/")
    assert browser.get("/api/me").json()["user"]["username"] == "alice"


def test_a_script_of_a_page_cannot_read_the_cookie_and_other_sites_do_not_send_it(browser):
    [cookie] = log_in(browser).headers.get_list("set-cookie")

    name, *attributes = cookie.split("; ")
    assert name.startswith("session=")
    assert {*map(str.lower, attributes)} == {
        "httponly",
        "samesite=lax",
        "path=/",
        "max-age=604800",
    }


@pytest.mark.parametrize("config", [pytest.param(DEVELOPMENT, id="https only")])
def test_over_https_the_cookie_is_bound_to_this_host(browser):
    [cookie] = log_in(browser).headers.get_list("set-cookie")

    assert cookie.startswith("__Host-session=")
    assert "; secure" in cookie.lower()
    assert "domain" not in cookie.lower()


@pytest.mark.parametrize("name", ["bob", "%00", "a%2Fb", "%FF"])
def test_an_unknown_user_cannot_log_in(browser, name):
    answer = log_in(browser, name)

    assert answer.status_code == 404
    assert "set-cookie" not in answer.headers


def test_nobody_logs_in_as_a_service_account_or_a_deleted_user(browser, deployment):
    with deployment.transaction(write=True) as session:
        make_user(session, "robot", service=True)
        make_user(session, "gone", disabled_at=1)

    answers = [log_in(browser, name) for name in ("robot", "gone")]

    assert [answer.status_code for answer in answers] == [403, 404]
    assert not any("set-cookie" in answer.headers for answer in answers)


@pytest.mark.parametrize("config", [pytest.param(PLAIN_HTTP, id="in production")])
def test_outside_of_development_there_is_no_dummy_login(browser):
    answer = log_in(browser)

    assert answer.status_code == 404
    assert "set-cookie" not in answer.headers


def test_a_second_login_gets_a_new_cookie(browser):
    first = log_in(browser).cookies["session"]

    second = log_in(browser).cookies["session"]

    assert first != second


@pytest.mark.parametrize(("method", "status"), [("GET", 307), ("POST", 303)])
def test_after_logging_out_the_cookie_is_worthless(browser, deployment, method, status):
    stolen = log_in(browser).cookies["session"]

    answer = browser.request(method, "/auth/logout")

    assert (answer.status_code, answer.headers["location"]) == (status, "/")
    assert "session" not in browser.cookies
    browser.cookies.set("session", stolen)
    assert browser.get("/api/me").status_code == 401
    with deployment.transaction() as session:
        assert list(session.scalars(select(LoginSession))) == []


def test_a_visitor_may_log_out(browser):
    answer = browser.get("/auth/logout")

    assert (answer.status_code, answer.headers["location"]) == (307, "/")


def test_a_page_of_another_site_logs_nobody_out_by_a_form(browser):
    log_in(browser)

    answer = browser.post("/auth/logout", headers={"Sec-Fetch-Site": "cross-site"})

    assert answer.status_code == 403
    assert browser.get("/api/me").status_code == 200


@pytest.mark.parametrize(
    "told",
    [
        pytest.param({"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}, id="both"),
        pytest.param({"Sec-Fetch-Site": "same-site"}, id="neighbouring site"),
        pytest.param({"Origin": "https://evil.example"}, id="origin alone"),
    ],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        pytest.param("GET", "/auth/logout", id="link"),
        pytest.param("GET", "/t/zz/auth/logout", id="link with a dead token"),
        pytest.param("POST", "/t/zz/auth/logout", id="form with a dead token"),
    ],
)
def test_a_page_of_another_site_logs_nobody_out(browser, method, path, told):
    log_in(browser)
    del browser.headers["X-CSRF"]

    answer = browser.request(method, path, headers=told)

    assert answer.headers["location"] == "/"
    assert "set-cookie" not in answer.headers
    assert browser.get("/api/me").status_code == 200


@pytest.mark.parametrize(
    "told", [{}, {"Sec-Fetch-Site": "none"}, {"Sec-Fetch-Site": "same-origin"}]
)
def test_a_link_of_ours_or_a_typed_address_logs_out(browser, told):
    log_in(browser)
    del browser.headers["Origin"]

    browser.get("/auth/logout", headers=told)

    assert "session" not in browser.cookies
    assert browser.get("/api/me").status_code == 401


def test_an_api_key_beside_the_cookie_ends_no_login(browser, deployment):
    log_in(browser)
    key = make_key(deployment, "bob")

    browser.post("/auth/logout", headers={"X-API-Key": key})

    assert browser.get("/api/me").json()["user"]["username"] == "alice"


def test_under_a_sub_path_home_is_below_it(deployment):
    browser = open_browser(create_app(deployment, root_path="/conda"))

    answer = browser.get("/conda/auth/logout")

    assert answer.headers["location"] == "/conda/"
