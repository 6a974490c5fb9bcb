"""Revoking keys that were found where they should not be."""

import pytest
from sqlalchemy import event, select
from starlette.testclient import TestClient

from quetz.db.models import ApiKey, Event
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
