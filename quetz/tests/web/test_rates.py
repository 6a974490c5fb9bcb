"""How often callers may ask for what takes much of the server, or guess at keys."""

import time

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from quetz.asgi import behind_proxies
from quetz.db.models import Event
from quetz.services.operations import Operation, Role
from quetz.testing.packages import build_package
from quetz.tests.web.conftest import make_key
from quetz.web import rates
from quetz.web.guard import GuardedRouter, declares

KEYS = "/api/api-keys"
INDEX = "noarch/repodata.json"
UNKNOWN = "qz-0123456789abcdef-" + "0" * 49
LOW = """\
[limits]
key_failures = "3/hour"
searches = "2/hour"
uploads = "2/hour"
leaked_keys = "2/hour"
"""
OFF = """\
[limits]
key_failures = 0
searches = ""
uploads = "0"
leaked_keys = 0
"""


@pytest.fixture
def config():
    return LOW


@pytest.fixture
def deployment_path(deployment_path, config):
    with (deployment_path / "config.toml").open("a") as file:
        file.write(config)
    return deployment_path


@pytest.fixture
def from_address(app):
    """Return a function that opens a client at an address."""

    def from_address(address):
        return TestClient(app, client=(address, 50_000))

    return from_address


def statuses(client, path, count, **options):
    method = options.pop("method", "GET")
    return [client.request(method, path, **options).status_code for _ in range(count)]


def with_key(key):
    return {"headers": {"X-API-Key": key}}


def test_who_guesses_at_keys_is_refused_after_a_while(client):
    answers = [client.get(KEYS, **with_key(UNKNOWN)) for _ in range(5)]

    assert [answer.status_code for answer in answers] == [401, 401, 401, 429, 429]
    assert "3 per hour" in answers[-1].json()["detail"]
    assert 3500 < int(answers[-1].headers["retry-after"]) <= 3600
    assert answers[-1].headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "request_with",
    [
        pytest.param(lambda key: (KEYS, {"X-API-Key": key}), id="header"),
        pytest.param(lambda key: (KEYS, {"Authorization": f"Bearer {key}"}), id="Bearer"),
        pytest.param(lambda key: (f"/t/{key}{KEYS}", {}), id="address"),
        pytest.param(lambda key: (f"/t/{key}/get/secret/{INDEX}", {}), id="private index"),
    ],
)
def test_every_way_to_send_a_key_counts(client, request_with):
    path, headers = request_with(UNKNOWN)

    assert statuses(client, path, 4, headers=headers)[-1] == 429


def test_a_good_key_is_never_refused_for_the_failures_of_others(client, owner_key):
    statuses(client, KEYS, 5, **with_key(UNKNOWN))

    assert statuses(client, KEYS, 5, **with_key(owner_key)) == [200] * 5
    assert statuses(client, "/api/channels", 5) == [200] * 5


def test_reading_what_is_public_goes_on_with_a_dead_key(client, channel):
    statuses(client, KEYS, 5, **with_key(UNKNOWN))

    assert statuses(client, f"/get/{channel}/{INDEX}", 5, **with_key(UNKNOWN)) == [200] * 5
    assert statuses(client, f"/t/{UNKNOWN}/get/{channel}/{INDEX}", 5) == [200] * 5
    for path in ("/api/channels", f"/api/channels/{channel}", f"/t/{UNKNOWN}/api/channels"):
        assert statuses(client, path, 5, **with_key(UNKNOWN)) == [200] * 5


def test_reading_what_is_public_with_a_dead_key_is_no_guess(client, channel):
    statuses(client, "/api/channels", 5, **with_key(UNKNOWN))
    statuses(client, f"/get/{channel}/{INDEX}", 5, **with_key(UNKNOWN))

    assert statuses(client, KEYS, 4, **with_key(UNKNOWN)) == [401, 401, 401, 429]


@pytest.mark.parametrize("path", ["/health/live", "/health/ready"])
def test_how_the_server_is_is_answered_to_everyone(client, owner_key, path):
    statuses(client, KEYS, 5, **with_key(UNKNOWN))

    assert statuses(client, path, 5, **with_key(owner_key)) == [200] * 5
    assert statuses(client, path, 5, **with_key(UNKNOWN)) == [200] * 5


@pytest.mark.parametrize(
    ("first", "second", "status"),
    [
        pytest.param("192.0.2.1", "192.0.2.2", 401, id="two addresses"),
        pytest.param("2001:db8::1", "2001:db8::2:1", 429, id="one network of IPv6"),
        pytest.param("2001:db8::1", "2001:db8:0:1::1", 401, id="two networks of IPv6"),
        pytest.param("::ffff:192.0.2.1", "192.0.2.1", 429, id="IPv4 in IPv6"),
        pytest.param("unix", "unix", 429, id="no address"),
    ],
)
def test_each_address_has_a_count_of_its_own(from_address, first, second, status):
    statuses(from_address(first), KEYS, 4, **with_key(UNKNOWN))

    assert statuses(from_address(second), KEYS, 1, **with_key(UNKNOWN)) == [status]


@pytest.fixture
def behind_proxy(app):
    """Return a function that opens a client whose requests a proxy forwards as of an address."""

    believing = behind_proxies(app, ["127.0.0.1"])

    async def server(scope, receive, send):
        await believing(scope, receive, send)

    def behind_proxy(forwarded):
        headers = {"X-Forwarded-For": forwarded}
        return TestClient(server, client=("127.0.0.1", 1), headers=headers)

    return behind_proxy


@pytest.mark.parametrize(
    ("first", "second", "status"),
    [
        pytest.param("192.0.2.1:5678", "192.0.2.1:9", 429, id="two ports"),
        pytest.param("192.0.2.1:5678", "192.0.2.1", 429, id="with and without a port"),
        pytest.param("192.0.2.1:5678", "192.0.2.2:5678", 401, id="two addresses"),
        pytest.param("[2001:db8::1]:5678", "2001:db8::2", 429, id="IPv6 in brackets"),
        pytest.param("[2001:db8::1]", "[2001:db8:1::1]", 401, id="two networks of IPv6"),
        pytest.param("unknown", "_hidden", 429, id="no address"),
        pytest.param("fe80::1%a", "fe80::1%b", 429, id="zones"),
        pytest.param("192.0.2.1:x", "127.0.0.1", 429, id="nothing but the proxy's own"),
    ],
)
def test_what_a_proxy_forwards_is_an_address_or_does_not_count(behind_proxy, first, second, status):
    statuses(behind_proxy(first), KEYS, 4, **with_key(UNKNOWN))

    assert statuses(behind_proxy(second), KEYS, 1, **with_key(UNKNOWN)) == [status]


@pytest.mark.parametrize(
    ("forwarded", "kept"),
    [
        pytest.param("192.0.2.1:5678", "192.0.2.1", id="port"),
        pytest.param("[2001:DB8::1]:5678", "2001:db8::1", id="brackets"),
        pytest.param("203.0.113.9, 192.0.2.1", "192.0.2.1", id="the last one"),
        pytest.param("x" * 60_000, "127.0.0.1", id="long"),
        pytest.param("fe80::1%" + "x" * 60_000, "127.0.0.1", id="long zone"),
    ],
)
def test_events_keep_addresses_alone(deployment, behind_proxy, owner_key, forwarded, kept):
    made = behind_proxy(forwarded).post(
        "/api/channels", json={"name": "new"}, **with_key(owner_key)
    )

    assert made.status_code == 201
    with deployment.transaction() as session:
        last = select(Event.address).order_by(Event.id.desc())
        assert session.scalars(last).first() == kept


def test_revoking_leaked_keys_has_its_limit(client):
    path = f"{KEYS}/revoke-leaked"

    sent = statuses(client, path, 3, method="POST", json={"key": UNKNOWN})

    assert sent == [200, 200, 429]


@pytest.fixture
def searching(app):
    """Give the application a search."""
    router = GuardedRouter(tags=["things"])

    @router.get("/find-things", **declares(Operation.SEARCH_PACKAGES))
    def search() -> None: ...

    app._app.include_router(router)


def test_searches_are_counted_by_user_or_by_address(deployment, from_address, searching):
    bob = {"headers": {"X-API-Key": make_key(deployment, "bob")}}
    carol = {"headers": {"X-API-Key": make_key(deployment, "carol")}}
    here, there = from_address("192.0.2.1"), from_address("192.0.2.2")

    sent = [
        statuses(here, "/find-things", 2, **bob) + statuses(there, "/find-things", 1, **bob),
        statuses(here, "/find-things", 2, **carol),
        statuses(here, "/find-things", 3),
        statuses(there, "/find-things", 2),
    ]

    assert sent == [[200, 200, 429], [200, 200], [200, 200, 429], [200, 200]]


def test_uploads_have_their_limit_and_reading_has_none(client, key, channel, tmp_path):
    package = build_package(tmp_path)
    path = f"/api/channels/{channel}/upload/{package.name}"

    sent = statuses(client, path, 3, method="POST", content=package.read_bytes(), headers=key)

    assert sent == [201, 200, 429]
    assert statuses(client, f"/get/{channel}/noarch/{package.name}", 5) == [200] * 5


def test_who_may_not_upload_is_told_that(client, deployment, key, channel):
    nobody = {"X-API-Key": make_key(deployment, "nora", Role.MEMBER)}
    path = f"/api/channels/{channel}/upload/a-1-0.conda"

    assert statuses(client, path, 4, method="POST", headers=nobody) == [403] * 4


@pytest.mark.parametrize("config", [pytest.param(OFF, id="off")])
def test_limits_may_be_off(client, searching):
    assert statuses(client, KEYS, 120, **with_key(UNKNOWN))[-1] == 401
    assert statuses(client, "/find-things", 320)[-1] == 200


@pytest.mark.parametrize("config", [pytest.param("", id="default")])
def test_by_default_a_hundred_failures_a_minute_are_answered(client):
    sent = statuses(client, KEYS, 101, **with_key("x"))

    assert sent == [401] * 100 + [429]


def test_after_its_window_a_caller_may_come_again(client, monkeypatch):
    statuses(client, KEYS, 4, **with_key(UNKNOWN))
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 3601)

    assert statuses(client, KEYS, 1, **with_key(UNKNOWN)) == [401]


def test_what_is_kept_of_callers_is_bounded(app, from_address, monkeypatch):
    monkeypatch.setattr(rates, "MOST_CALLERS", 10)

    for number in range(30):
        statuses(from_address(f"192.0.2.{number}"), KEYS, 1, **with_key(UNKNOWN))

    assert len(app._rates._limiter.storage._windows) == 10
    last = from_address("192.0.2.29")
    assert statuses(last, KEYS, 3, **with_key(UNKNOWN)) == [401, 401, 429]
