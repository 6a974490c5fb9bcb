"""Who changed what, and following a channel."""

import pytest
from sqlalchemy import select

from quetz.db.models import Event
from quetz.services.events import record_event
from quetz.services.permissions import OPERATOR, Role
from quetz.testing.packages import build_package
from quetz.tests.web.api.uploading import other_bytes, upload
from quetz.tests.web.conftest import make_key
from quetz.worker.sealer import seal_waiting

CHANGES = "/api/channels/forge/changes"
AUDIT = "/api/channels/forge/audit"


def sha256(client, filename="pkg-1.0-0.conda"):
    return client.get(f"/get/forge/noarch/{filename}").headers["etag"].strip('"')


def follow(client, **query):
    """Ask from ``next`` until there is nothing new; return what was told, and the last answer."""
    told: list[dict[str, object]] = []
    while True:
        answer = client.get(CHANGES, params=query).json()
        if not answer["changes"]:
            return told, answer
        told += answer["changes"]
        query["since"] = answer["next"]


def test_what_happens_to_files_and_packages_is_told_in_order(
    client, key, channel, tmp_path, deployment
):
    upload(client, key, build_package(tmp_path))
    first = sha256(client)
    upload(client, key, other_bytes(tmp_path), force="true")
    second = sha256(client)
    upload(client, key, build_package(tmp_path, name="other"))
    third = sha256(client, "other-1.0-0.conda")
    client.delete("/api/channels/forge/packages/pkg/versions/noarch/pkg-1.0-0.conda", headers=key)
    client.delete("/api/channels/forge/packages/other", headers=key)
    seal_waiting(deployment)

    answer = client.get(CHANGES).json()

    told = [
        (change["action"], change["subject"], change["before"], change["after"])
        for change in answer["changes"]
    ]
    assert told == [
        ("file.upload", "noarch/pkg-1.0-0.conda", None, first),
        ("file.overwrite", "noarch/pkg-1.0-0.conda", first, second),
        ("file.upload", "noarch/other-1.0-0.conda", None, third),
        ("version.delete", "noarch/pkg-1.0-0.conda", second, None),
        ("package.delete", "other", None, None),
    ]
    assert answer["next"] == answer["changes"][-1]["position"]


def test_nothing_of_members_settings_and_actors_is_told(client, key, channel, tmp_path, deployment):
    make_key(deployment, "bob")
    client.post(
        "/api/channels/forge/members", json={"username": "bob", "role": "member"}, headers=key
    )
    client.patch("/api/channels/forge", json={"ttl": 5}, headers=key)
    upload(client, key, build_package(tmp_path))
    seal_waiting(deployment)

    [change] = client.get(CHANGES).json()["changes"]

    assert set(change) == {"position", "at", "action", "subject", "before", "after"}
    assert change["action"] == "file.upload"
    assert change["at"].startswith("20")


def test_a_follower_misses_nothing_and_is_told_of_nothing_twice(
    client, key, channel, tmp_path, deployment
):
    client.post("/api/channels", json={"name": "else", "private": False}, headers=key)
    since = 0
    told: list[dict[str, object]] = []
    for number in range(6):
        upload(client, key, build_package(tmp_path, name=f"name{number}"), channel)
        upload(client, key, tmp_path / f"name{number}-1.0-0.conda", "else")
        if number % 2:
            seal_waiting(deployment)
        more, last = follow(client, since=since, limit=2)
        told, since = told + more, last["next"]

    assert [change["subject"] for change in told] == [
        f"noarch/name{number}-1.0-0.conda" for number in range(6)
    ]


def test_beyond_the_end_there_is_nothing(client, key, channel):
    answer = client.get(CHANGES, params={"since": 2**63 - 1})

    assert (answer.status_code, answer.json()) == (200, {"changes": [], "next": 2**63 - 1})


def test_a_new_channel_tells_nothing_of_one_that_had_its_name(
    client, key, channel, tmp_path, deployment
):
    upload(client, key, build_package(tmp_path))
    client.delete("/api/channels/forge", headers=key)
    client.post("/api/channels", json={"name": "forge", "private": False}, headers=key)
    seal_waiting(deployment)

    answer = client.get(CHANGES).json()

    assert answer == {"changes": [], "next": 0}


def test_what_is_not_sealed_is_not_told(client, key, channel, tmp_path, deployment):
    upload(client, key, build_package(tmp_path))

    answer = client.get(CHANGES).json()

    assert answer["changes"] == []
    with deployment.transaction() as session:
        assert set(session.scalars(select(Event.position))) == {None}


@pytest.mark.parametrize("path", [CHANGES, AUDIT, "/api/audit"])
@pytest.mark.parametrize("query", ["since=-1", f"since={2**63}", "limit=0", "limit=1001", "since="])
def test_a_malformed_question_is_refused(client, key, channel, path, query):
    answer = client.get(f"{path}?{query}", headers=key)

    assert answer.status_code == 422


@pytest.mark.parametrize("query", ["since=1&before=5", "actor=%00", "action=%00", "before=-1"])
def test_a_malformed_question_to_the_audit_log_is_refused(client, key, channel, query):
    answer = client.get(f"/api/audit?{query}", headers=key)

    assert answer.status_code == 422


def test_who_may_not_see_a_channel_cannot_follow_it(client, key, deployment):
    client.post("/api/channels", json={"name": "hidden"}, headers=key)
    stranger = {"X-API-Key": make_key(deployment, "stranger")}

    assert client.get("/api/channels/hidden/changes").status_code == 401
    assert client.get("/api/channels/hidden/changes", headers=stranger).status_code == 404


def test_the_audit_log_says_who_did_what_by_what_key_from_where(
    client, owner_key, key, channel, tmp_path, deployment
):
    upload(client, key, build_package(tmp_path))
    seal_waiting(deployment)

    newest = client.get(AUDIT, headers=key).json()["events"][0]

    with deployment.transaction() as session:
        stored = session.scalars(select(Event).where(Event.position == newest["position"])).one()
    assert newest == {
        "position": stored.position,
        "id": stored.public_id,
        "at": newest["at"],
        "actor": "alice",
        "api_key": owner_key.split("-")[1],
        "address": "testclient",
        "action": "file.upload",
        "channel": "forge",
        "channel_id": stored.channel_id,
        "subject": "noarch/pkg-1.0-0.conda",
        "before": None,
        "after": sha256(client),
        "seal": stored.seal,
    }


def test_the_audit_log_of_a_channel_has_nothing_of_others(client, key, channel, deployment):
    client.post("/api/channels", json={"name": "else"}, headers=key)
    seal_waiting(deployment)

    events = client.get(AUDIT, headers=key).json()["events"]

    assert [(event["action"], event["channel"]) for event in events] == [
        ("channel.create", "forge")
    ]


def test_the_log_is_read_from_the_newest_back_and_from_a_position_on(client, key, deployment):
    for name in "abcde":
        client.post("/api/channels", json={"name": name}, headers=key)
    seal_waiting(deployment)

    def read(**query):
        params = {"action": "channel.create", "limit": 2} | query
        answer = client.get("/api/audit", params=params, headers=key).json()
        return [event["channel"] for event in answer["events"]], answer["next"]

    newest, before = read()
    older, before_them = read(before=before)
    oldest, end = read(before=before_them)
    first, since = read(since=0)
    second, since_then = read(since=since)
    third, last = read(since=since_then)

    assert (newest, older, oldest, end) == (["e", "d"], ["c", "b"], ["a"], None)
    assert (first, second, third) == (["a", "b"], ["c", "d"], ["e"])
    assert read(since=last) == ([], last)


def test_a_page_of_the_log_ends_where_its_settings_are_longer_than_4_mib(
    client, key, channel, deployment
):
    lengths = {"a": 3 << 20, "b": 3 << 20, "c": (1 << 20) - 1, "d": 1, "e": 9 << 20, "f": 1}
    for subject, length in lengths.items():
        with deployment.transaction(write=True) as session:
            record_event(session, OPERATOR, "deed", subject=subject, after="x" * length)
        seal_waiting(deployment)

    def read(**query):
        answer = client.get("/api/audit", params={"action": "deed"} | query, headers=key).json()
        return "".join(event["subject"] for event in answer["events"]), answer["next"]

    first, since = read(since=0)
    second, since = read(since=since)
    third, since = read(since=since)
    fourth, since = read(since=since)
    newest, before = read()
    older, before = read(before=before)
    oldest, before = read(before=before)
    last, end = read(before=before)

    assert [first, second, third, fourth, read(since=since)[0]] == ["a", "bcd", "e", "f", ""]
    assert [newest, older, oldest, last, end] == ["f", "e", "dcb", "a", None]


def test_the_log_can_be_asked_for_what_one_user_did(client, key, channel, deployment):
    other = make_key(deployment, "bob", Role.MEMBER)
    client.post("/api/channels", json={"name": "bobs"}, headers={"X-API-Key": other})
    seal_waiting(deployment)

    events = client.get("/api/audit", params={"actor": "bob"}, headers=key).json()["events"]

    assert [event["actor"] for event in events] == ["bob"] * len(events)
    assert "channel.create" in {event["action"] for event in events}


def test_the_log_of_a_channel_is_for_its_owners_and_the_whole_one_for_the_servers(
    client, key, channel, deployment
):
    maintainer = {"X-API-Key": make_key(deployment, "bob")}
    member = {"username": "bob", "role": "maintainer"}
    client.post("/api/channels/forge/members", json=member, headers=key)

    assert client.get(AUDIT).status_code == 401
    assert client.get(AUDIT, headers=maintainer).status_code == 403
    assert client.get("/api/audit", headers=maintainer).status_code == 403
    assert client.get("/api/audit").status_code == 401
