import json

import pytest
from sqlalchemy import select

from quetz.db.models import Event

MIRRORS = "/api/channels/forge/mirrors"


@pytest.fixture
def forge(alice):
    alice.post("/api/channels", json={"name": "forge", "private": False})


def urls(client):
    return [mirror["url"] for mirror in client.get(MIRRORS).json()]


@pytest.mark.usefixtures("forge")
def test_a_mirror_is_listed_with_exactly_the_keys_that_clients_know(alice, anonymous):
    made = alice.post(MIRRORS, json={"url": "https://budget.example/conda/get/forge"})

    assert (made.status_code, made.json()) == (201, None)
    [mirror] = anonymous.get(MIRRORS).json()
    assert len(mirror.pop("id")) == 36
    assert mirror == {
        "url": "https://budget.example/conda/get/forge",
        "api_endpoint": "https://budget.example/conda/api/channels/forge",
        "metrics_endpoint": "https://budget.example/conda/metrics/channels/forge",
    }


@pytest.mark.usefixtures("forge")
def test_endpoints_may_be_given(alice):
    body = {
        "url": "http://mirror.example:8000/forge",
        "api_endpoint": "http://api.example/forge",
        "metrics_endpoint": "http://metrics.example/forge",
    }

    assert alice.post(MIRRORS, json=body).status_code == 201
    [mirror] = alice.get(MIRRORS).json()
    assert {key: mirror[key] for key in body} == body


@pytest.mark.usefixtures("forge")
@pytest.mark.parametrize(
    "url",
    [
        "",
        "forge",
        "ftp://mirror.example/get/forge",
        "javascript:alert(1)",
        "https:///get/forge",
        "https://mirror.example:port/get/forge",
        "https://mirror.example:99999/get/forge",
        "https://[::1/get/forge",
        "https://user:secret@mirror.example/get/forge",
        "https://secret@mirror.example/get/forge",
        "https://mirror.example/t/secret/get/forge",
        "https://mirror.example/conda/t/secret/get/forge",
        "https://mirror.example/get/forge/t/secret",
        "https://mirror.example/conda/t//secret/get/forge",
        "https://mirror.example/%74/secret/get/forge",
        "https://mirror.example/t%2Fsecret/get/forge",
        "https://mirror.example/get/forge?token=secret",
        "https://mirror.example/get/forge?",
        "https://mirror.example/get/forge#",
        "https://mirror.example/get/forge#secret",
        "https://mirror.example/get/for ge",
        "https://mirror.example/get/\0",
        "https://mirror.example/get/" + "x" * 2000,
        "https://mirror.example/forge",
    ],
)
def test_what_is_no_url_for_everyone_is_refused_and_not_repeated(alice, url):
    refused = alice.post(MIRRORS, content=json.dumps({"url": url}))
    endpoint = {"url": "https://mirror.example/get/forge", "api_endpoint": url}

    assert refused.status_code == 422
    assert "secret" not in refused.text
    if not url.endswith("/forge") or "secret" in url:
        assert alice.post(MIRRORS, content=json.dumps(endpoint)).status_code == 422
        assert urls(alice) == []


@pytest.mark.usefixtures("forge")
@pytest.mark.parametrize("end", ["get/t", "get/t/", "art/get/forge", "get/t-forge"])
def test_a_t_that_no_token_follows_is_no_credential(alice, end):
    url = f"https://mirror.example/{end}"

    assert alice.post(MIRRORS, json={"url": url}).status_code == 201
    assert urls(alice) == [url]


@pytest.mark.usefixtures("forge")
def test_a_mirror_is_registered_once_and_removed_once(alice, deployment):
    body = {"url": "https://mirror.example/get/forge"}
    alice.post(MIRRORS, json=body)
    again = alice.post(MIRRORS, json=body)
    [mirror] = alice.get(MIRRORS).json()

    removed = alice.delete(f"{MIRRORS}/{mirror['id']}")

    assert again.status_code == 409
    assert (removed.status_code, removed.json()) == (200, None)
    assert alice.delete(f"{MIRRORS}/{mirror['id']}").status_code == 404
    assert urls(alice) == []
    with deployment.transaction() as session:
        events = session.execute(select(Event.action, Event.subject).order_by(Event.id)).all()
    assert [tuple(event) for event in events][-2:] == [
        ("channel.mirrors.register", body["url"]),
        ("channel.mirrors.delete", body["url"]),
    ]


@pytest.mark.usefixtures("forge")
@pytest.mark.parametrize("mirror", ["1", "x", "%00", "x" * 36])
def test_a_mirror_is_removed_by_its_id_in_its_own_channel(alice, mirror):
    alice.post("/api/channels", json={"name": "other"})
    alice.post(MIRRORS, json={"url": "https://mirror.example/get/forge"})
    [kept] = alice.get(MIRRORS).json()

    assert alice.delete(f"{MIRRORS}/{mirror}").status_code == 404
    assert alice.delete(f"/api/channels/other/mirrors/{kept['id']}").status_code == 404
    assert alice.get(MIRRORS).json() == [kept]


@pytest.mark.usefixtures("forge")
def test_mirrors_are_registered_by_maintainers(alice, anonymous, make_client):
    bob, body = make_client("bob"), {"url": "https://mirror.example/get/forge"}
    alice.post("/api/channels/forge/members", json={"username": "bob", "role": "member"})

    assert bob.post(MIRRORS, json=body).status_code == 403
    assert anonymous.post(MIRRORS, json=body).status_code == 401
    assert bob.delete(f"{MIRRORS}/x").status_code == 403
    assert bob.get(MIRRORS).json() == []
