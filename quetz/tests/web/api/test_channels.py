import json

import pytest
from sqlalchemy import select

from quetz.db.models import Channel, Event
from quetz.testing.factories import add_member, make_channel, make_user

CHANNEL = {
    "name": "forge",
    "description": None,
    "private": True,
    "size_limit": None,
    "ttl": 36000,
    "mirror_channel_url": None,
    "mirror_mode": None,
    "members_count": 1,
    "packages_count": 0,
}


@pytest.fixture
def private_channel(deployment):
    with deployment.transaction(write=True) as session:
        owner = make_user(session, "owner")
        make_channel(session, "forge", private=True, owner=owner)


def test_a_created_channel_is_read_back_with_exactly_the_keys_that_clients_know(alice):
    created = alice.post("/api/channels", json={"name": "forge"})
    read = alice.get("/api/channels/forge")

    assert (created.status_code, created.json()) == (201, None)
    assert (read.status_code, read.json()) == (200, CHANNEL)


def test_a_channel_keeps_what_it_was_created_with(alice):
    alice.post(
        "/api/channels?mirror_api_key=&register_mirror=False",
        json={
            "name": "Forge",
            "description": "büild",
            "private": False,
            "ttl": 60,
            "metadata": {"includelist": ["numpy"]},
            "actions": [],
        },
    )

    assert alice.get("/api/channels/FORGE").json() == CHANNEL | {
        "description": "büild",
        "private": False,
        "ttl": 60,
    }


def test_the_default_quota_applies_to_new_channels(deployment_path, request):
    with (deployment_path / "config.toml").open("a") as config:
        config.write("[quotas]\nchannel_quota = 1000\n")
    alice = request.getfixturevalue("alice")

    alice.post("/api/channels", json={"name": "forge"})

    assert alice.get("/api/channels/forge").json()["size_limit"] == 1000


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({}, id="no-name"),
        pytest.param({"name": "a_b"}, id="bad-name"),
        pytest.param({"name": "a\0b"}, id="nul-in-name"),
        pytest.param({"name": 1}, id="number-as-name"),
        pytest.param({"name": "forge", "description": "x" * 301}, id="long-description"),
        pytest.param({"name": "forge", "description": "a\0b"}, id="nul-in-description"),
        pytest.param({"name": "forge", "description": "\ud800"}, id="lone-surrogate"),
        pytest.param({"name": "forge", "size_limit": -1}, id="negative-size"),
        pytest.param({"name": "forge", "size_limit": 2**63}, id="huge-size"),
        pytest.param({"name": "forge", "ttl": 2**31}, id="huge-ttl"),
        pytest.param({"name": "forge", "ttl": -1}, id="negative-ttl"),
        pytest.param({"name": "forge", "private": None}, id="null-as-private"),
        pytest.param({"name": "forge", "privat": False}, id="misspelt-key"),
        pytest.param({"name": "forge", "metadata": {"other": []}}, id="unknown-metadata"),
        pytest.param(
            {"name": "forge", "metadata": {"includelist": ["a"], "excludelist": ["b"]}},
            id="both-lists",
        ),
        pytest.param(
            {"name": "forge", "metadata": {"includelist": ["a"] * 1001}}, id="long-metadata"
        ),
        pytest.param(
            {"name": "forge", "metadata": {"proxylist": ["a" * 101]}}, id="long-text-in-metadata"
        ),
        pytest.param([], id="no-object"),
    ],
)
def test_a_malformed_channel_is_refused(alice, body):
    answer = alice.post("/api/channels", content=json.dumps(body))

    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert alice.get("/api/channels").json() == []


@pytest.mark.parametrize(
    "wish",
    [
        {"mirror_channel_url": "https://example.org/forge", "mirror_mode": "mirror"},
        {"mirror_mode": "proxy"},
        {"actions": ["synchronize"]},
    ],
)
def test_what_the_server_cannot_do_for_a_channel_is_refused_rather_than_forgotten(alice, wish):
    answer = alice.post("/api/channels", json={"name": "forge"} | wish)

    assert answer.status_code == 422
    assert "channels of its own packages" in answer.text
    assert alice.get("/api/channels").json() == []


def test_a_mirror_is_not_registered_by_a_server_that_does_not_mirror(alice):
    answer = alice.post("/api/channels?register_mirror=true", json={"name": "forge"})

    assert answer.status_code == 422
    assert alice.get("/api/channels").json() == []


def test_a_taken_name_is_a_conflict(alice):
    alice.post("/api/channels", json={"name": "forge"})

    again = alice.post("/api/channels", json={"name": "FORGE", "private": False})

    assert again.status_code == 409
    assert alice.get("/api/channels").json() == [CHANNEL]


def test_a_refused_size_limit_leaves_no_channel_behind(deployment, alice):
    answer = alice.post("/api/channels", json={"name": "forge", "size_limit": 5000})

    assert answer.status_code == 403
    with deployment.transaction() as session:
        assert session.scalars(select(Channel)).all() == []
        assert "channel.create" not in session.scalars(select(Event.action)).all()


def test_only_a_member_of_the_server_creates_channels(anonymous, make_client):
    guest = make_client("guest")

    assert anonymous.post("/api/channels", json={"name": "forge"}).status_code == 401
    assert guest.post("/api/channels", json={"name": "forge"}).status_code == 403
    assert guest.post("/api/channels", content=b"no json").status_code == 403


@pytest.mark.usefixtures("private_channel")
def test_a_hidden_channel_is_answered_as_one_that_does_not_exist(anonymous, make_client):
    stranger = make_client("stranger")

    def answer(client, method, name):
        answer = client.request(method, f"/api/channels/{name}")
        return answer.status_code, answer.content, answer.headers.get("www-authenticate")

    for method in ("GET", "PATCH", "DELETE"):
        assert answer(stranger, method, "forge") == answer(stranger, method, "missing")
        assert answer(anonymous, method, "forge") == answer(anonymous, method, "missing")
        assert answer(stranger, method, "forge")[0] == 404
        assert answer(anonymous, method, "forge")[0] == 401
    assert stranger.get("/api/channels").json() == []
    page = stranger.get("/api/paginated/channels").json()
    assert page["pagination"]["all_records_count"] == 0


def test_pages_hold_a_part_of_the_list_and_the_count_of_all(anonymous, deployment):
    with deployment.transaction(write=True) as session:
        for name in ("a1", "a2", "a3", "b1"):
            make_channel(session, name)

    page = anonymous.get("/api/paginated/channels?q=a&skip=1&limit=1").json()

    assert page["pagination"] == {"skip": 1, "limit": 1, "all_records_count": 3}
    assert [channel["name"] for channel in page["result"]] == ["a2"]
    assert set(page["result"][0]) == set(CHANNEL)


def test_a_page_has_twenty_rows_unless_told_and_minus_one_is_all(anonymous, deployment):
    with deployment.transaction(write=True) as session:
        for number in range(21):
            make_channel(session, f"c{number}")

    usual = anonymous.get("/api/paginated/channels").json()
    everything = anonymous.get("/api/paginated/channels?limit=-1").json()

    assert usual["pagination"] == {"skip": 0, "limit": 20, "all_records_count": 21}
    assert len(usual["result"]) == 20
    assert everything["pagination"]["limit"] == -1
    assert len(everything["result"]) == 21


def test_a_malformed_body_is_told_in_a_sentence_that_conda_prints(alice):
    answer = alice.post("/api/channels", json={"private": False}).json()

    assert answer["message"] == "body.name: Field required"
    assert answer["detail"][0]["loc"] == ["body", "name"]


@pytest.mark.parametrize("key", ["\ud800", "\0", "qzk-" + "x" * 50])
def test_a_key_that_no_encoding_carries_is_refused(alice, key):
    body = json.dumps({"name": "forge", "metadata": {key: {key: 1}}, key: 1})

    assert alice.post("/api/channels", content=body).status_code == 422


@pytest.mark.parametrize(
    "query",
    [
        "skip=-1",
        "skip=2147483648",
        f"skip={10**30}",
        "skip=x",
        "limit=-2",
        "limit=2147483648",
        "limit=1.5",
        "q=%00",
        "public=maybe",
        "q=" + "x" * 301,
    ],
)
def test_a_parameter_out_of_range_is_refused(anonymous, query):
    assert anonymous.get(f"/api/paginated/channels?{query}").status_code == 422


def test_a_private_channel_is_listed_only_on_request_for_own_channels(alice, deployment):
    alice.post("/api/channels", json={"name": "mine"})
    with deployment.transaction(write=True) as session:
        make_channel(session, "public")

    listed = [channel["name"] for channel in alice.get("/api/channels").json()]
    own = [channel["name"] for channel in alice.get("/api/channels?public=false").json()]

    assert (listed, own) == (["mine", "public"], ["mine"])


def test_a_patch_answers_with_the_settings(alice):
    alice.post("/api/channels", json={"name": "forge"})

    answer = alice.patch("/api/channels/forge", json={"private": False, "ttl": 60})

    assert answer.status_code == 200
    base = {key: CHANNEL[key] for key in CHANNEL if not key.endswith("_count")}
    assert answer.json() == base | {"private": False, "ttl": 60}
    assert alice.get("/api/channels/forge").json()["ttl"] == 60


@pytest.mark.parametrize(
    "body",
    [
        {"name": "other"},
        {"description": "new"},
        {"mirror_channel_url": "https://example.org"},
        {"private": None},
        {"ttl": None},
        {"metadata": None},
        {"metadata": {"includelist": ["a"] * 1001}},
        {"metadata": {"excludelist": ["a" * 101]}},
        {"members_count": 3},
    ],
)
def test_nothing_else_of_a_channel_is_patched(alice, body):
    alice.post("/api/channels", json={"name": "forge"})

    assert alice.patch("/api/channels/forge", json=body).status_code == 422
    assert alice.get("/api/channels/forge").json() == CHANNEL


def test_a_channel_is_made_public_by_its_owner_only(alice, make_client, deployment):
    alice.post("/api/channels", json={"name": "forge"})
    bob = make_client("bob")
    alice.post("/api/channels/forge/members", json={"username": "bob", "role": "maintainer"})

    refused = bob.patch("/api/channels/forge", json={"private": False})

    assert refused.status_code == 403
    assert "owner" in refused.json()["detail"]
    assert bob.patch("/api/channels/forge", json={"ttl": 5}).status_code == 200
    assert alice.patch("/api/channels/forge", json={"private": False}).status_code == 200


def test_a_deleted_channel_is_gone_and_its_name_free(alice, anonymous):
    alice.post("/api/channels", json={"name": "forge"})

    deleted = alice.delete("/api/channels/forge")

    assert (deleted.status_code, deleted.json()) == (200, None)
    assert alice.get("/api/channels/forge").status_code == 404
    assert alice.delete("/api/channels/forge").status_code == 404
    assert alice.post("/api/channels", json={"name": "forge"}).status_code == 201


def test_a_member_of_a_channel_neither_patches_nor_deletes_it(alice, make_client, deployment):
    alice.post("/api/channels", json={"name": "forge"})
    bob = make_client("bob")
    with deployment.transaction(write=True) as session:
        channel = session.scalars(select(Channel)).one()
        add_member(session, channel, make_user(session, "carol"), "member")
    alice.post("/api/channels/forge/members", json={"username": "bob", "role": "member"})

    assert bob.get("/api/channels/forge").json()["members_count"] == 3
    assert bob.patch("/api/channels/forge", json={"ttl": 5}).status_code == 403
    assert bob.delete("/api/channels/forge").status_code == 403
