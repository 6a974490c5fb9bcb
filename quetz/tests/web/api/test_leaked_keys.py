"""Revoking keys that were found where they should not be."""

from concurrent.futures import ThreadPoolExecutor, wait

import pytest
from sqlalchemy import event, select
from starlette.testclient import TestClient

from quetz.db.models import ApiKey, Event, User
from quetz.services.api_keys import create_api_key
from quetz.services.authentication import authenticate_key
from quetz.services.key_texts import key_text
from quetz.services.operations import Role
from quetz.tests.web.conftest import make_key

LEAKED = "/api/api-keys/revoke-leaked"
UNKNOWN = "qz-0123456789abcdef-" + "0" * 49


@pytest.fixture
def leaked(deployment):
    return make_key(deployment, "lena", Role.MEMBER)


def works(client, key):
    return client.get("/api/api-keys", headers={"X-API-Key": key}).status_code == 200


def events(deployment):
    with deployment.transaction() as session:
        action = Event.action == "apikey.revoke_leaked"
        return list(session.scalars(select(Event).where(action).order_by(Event.id)))


@pytest.mark.parametrize("name", ["key", "token"])
def test_whoever_has_a_key_revokes_it_at_once(anonymous, deployment, leaked, name):
    assert works(anonymous, leaked)

    answer = anonymous.post(LEAKED, json={name: leaked})

    assert (answer.status_code, answer.json()) == (200, None)
    assert not works(anonymous, leaked)
    [told] = events(deployment)
    assert (told.subject, told.after) == (leaked.split("-")[1], "leaked")
    assert (told.actor, told.address) == ("anonymous", "testclient")


def test_a_scanner_sends_all_that_it_found(anonymous, deployment, leaked):
    other = make_key(deployment, "otto")
    found = [
        {"token": key, "type": "quetz_api_key", "url": "https://a.example/x", "source": "content"}
        for key in (leaked, UNKNOWN, other, leaked, "not a key")
    ]

    answer = anonymous.post(LEAKED, json=found)

    assert answer.status_code == 200
    assert not works(anonymous, leaked)
    assert not works(anonymous, other)
    ids = {leaked.split("-")[1], other.split("-")[1]}
    assert len(events(deployment)) == 2
    assert {told.subject for told in events(deployment)} == ids


def make_another(client, key):
    body = {"description": "made by a key"}
    made = client.post("/api/api-keys", json=body, headers={"X-API-Key": key})
    assert made.status_code == 201
    return made.json()["key"]


def test_what_was_made_with_a_leaked_key_is_revoked_with_it(anonymous, deployment, leaked):
    child = make_another(anonymous, leaked)
    family = [leaked, child, make_another(anonymous, child), make_another(anonymous, child)]
    other = make_key(deployment, "otto")

    anonymous.post(LEAKED, json={"key": leaked})

    assert not any(works(anonymous, key) for key in family)
    assert works(anonymous, other)
    told = [(event.subject, event.after) for event in events(deployment)]
    assert sorted(told) == sorted((key.split("-")[1], "leaked") for key in family)


def test_the_keys_of_a_service_account_that_a_leaked_key_made_are_revoked_too(
    anonymous, deployment
):
    leaked = {"X-API-Key": make_key(deployment, "lena", Role.MAINTAINER)}
    accounts = "/api/service-accounts"
    anonymous.post(accounts, json={"username": "robot"}, headers=leaked)
    body = {"description": "", "roles": []}
    made = anonymous.post(f"{accounts}/robot/api-keys", json=body, headers=leaked).json()["key"]
    assert works(anonymous, made)

    anonymous.post(LEAKED, json={"key": leaked["X-API-Key"]})

    assert not works(anonymous, made)


def test_the_key_that_made_a_leaked_one_stays(anonymous, leaked):
    child = make_another(anonymous, leaked)

    anonymous.post(LEAKED, json={"key": child})

    assert works(anonymous, leaked)


def test_what_a_key_made_is_revoked_when_it_is_found_after_its_own_revocation(anonymous, leaked):
    between = make_another(anonymous, leaked)
    child = make_another(anonymous, between)
    for key in (between, leaked):
        anonymous.delete(f"/api/api-keys/{key}", headers={"X-API-Key": key})
    assert works(anonymous, child)

    anonymous.post(LEAKED, json={"key": leaked})

    assert not works(anonymous, child)


def test_a_key_that_a_leaked_one_is_just_making_is_revoked_too(anonymous, deployment, leaked):
    with deployment.transaction() as session:
        caller = authenticate_key(session, leaked)
        assert caller is not None
        owner = session.get_one(User, caller.user_id)
    with ThreadPoolExecutor() as pool:
        with deployment.transaction(write=True) as session:
            made = create_api_key(
                session, caller, owner, description="", expires_at=None, scopes=None
            )
            answer = pool.submit(anonymous.post, LEAKED, json={"key": leaked})
            wait([answer], timeout=0.3)  # let it come as far as it can

        assert answer.result().status_code == 200

    assert not works(anonymous, leaked)
    assert not works(anonymous, made.key)


def test_the_answer_does_not_tell_whether_there_is_such_a_key(anonymous, deployment, leaked):
    wrong_secret = leaked[:20] + UNKNOWN[20:]

    answers = [
        anonymous.post(LEAKED, json={"key": key})
        for key in (UNKNOWN, wrong_secret, "nonsense", leaked, leaked)
    ]

    assert len({(answer.status_code, answer.content) for answer in answers}) == 1
    assert len({str(answer.headers.raw) for answer in answers}) == 1
    assert len(events(deployment)) == 1


def test_the_id_alone_revokes_nothing(anonymous, leaked):
    anonymous.post(LEAKED, json={"key": leaked.split("-")[1]})

    assert works(anonymous, leaked)


def test_an_expired_key_is_revoked_too(anonymous, deployment, leaked):
    with deployment.transaction(write=True) as session:
        session.query(ApiKey).update({"expires_at": 1})

    anonymous.post(LEAKED, json={"key": leaked})

    with deployment.transaction() as session:
        assert session.query(ApiKey).one().revoked_at is not None


@pytest.mark.parametrize(
    "body",
    [
        pytest.param([], id="empty list"),
        pytest.param([{"key": UNKNOWN}] * 101, id="long list"),
        pytest.param({"secret": "s3cret-s3cret"}, id="another name"),
        pytest.param({"key": ["s3cret-s3cret"]}, id="no text"),
        pytest.param("s3cret-s3cret", id="no object"),
        pytest.param({"key": "s3cret" * 200}, id="long"),
    ],
)
def test_a_malformed_body_is_refused_and_not_repeated(anonymous, body):
    answer = anonymous.post(LEAKED, json=body)

    assert answer.status_code == 422
    assert "s3cret" not in answer.text


def test_a_key_with_an_owner_who_is_gone_does_not_matter(anonymous, leaked):
    limited = TestClient(anonymous.app, headers={"X-API-Key": leaked})

    assert limited.post(LEAKED, json={"key": leaked}).status_code == 200
    assert not works(anonymous, leaked)


def statements(deployment, act):
    """Return the statements that the server sends to its database meanwhile."""
    sent = []

    def note(_connection, _cursor, statement, *_more):
        sent.append(statement)

    event.listen(deployment.engine, "before_cursor_execute", note)
    act()
    event.remove(deployment.engine, "before_cursor_execute", note)
    return sent


@pytest.mark.parametrize(
    "request_with",
    [
        pytest.param(
            lambda client, key: client.get("/api/api-keys", headers={"X-API-Key": key}),
            id="use",
        ),
        pytest.param(lambda client, key: client.post(LEAKED, json={"key": key}), id="revocation"),
    ],
)
def test_an_unknown_id_makes_the_same_work_as_a_wrong_secret(
    anonymous, deployment, leaked, request_with
):
    secret = make_key(deployment, "otto").split("-")[2][:43]
    wrong_secret = key_text(leaked.split("-")[1], secret)
    unknown_id = key_text("0" * 16, secret)

    made = [
        statements(deployment, lambda key=key: request_with(anonymous, key))
        for key in (wrong_secret, unknown_id)
    ]

    assert made[0] == made[1]
    assert any("api_keys" in statement for statement in made[0])
