from http import HTTPStatus
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from starlette.testclient import TestClient

from quetz.db.models import File
from quetz.services.permissions import Operation
from quetz.testing.factories import make_channel
from quetz.testing.packages import build_package
from quetz.web.app import create_app
from quetz.web.deps import ReadChannel, ReadSession
from quetz.web.guard import (
    GuardedRouter,
    OpenFolder,
    UndeclaredRoute,
    UnnamedChannel,
    check_declared,
    declares,
)


def test_a_route_without_an_operation_cannot_be_made():
    router = GuardedRouter(tags=["things"])

    with pytest.raises(UndeclaredRoute, match="/api/things"):

        @router.get("/api/things")
        def list_things() -> None: ...


def test_an_app_with_a_plain_route_is_refused():
    app, router = FastAPI(openapi_url=None), APIRouter()

    @router.get("/plain")
    def plain() -> None: ...

    app.include_router(router)

    with pytest.raises(UndeclaredRoute, match="/plain"):
        check_declared(app)


def test_a_route_added_to_a_router_after_its_inclusion_is_seen_too():
    app, router = FastAPI(openapi_url=None), APIRouter()
    app.include_router(router)

    @router.get("/late")
    def late() -> None: ...

    with pytest.raises(UndeclaredRoute, match="/late"):
        check_declared(app)


def test_a_route_done_to_a_channel_that_its_path_does_not_name_is_refused():
    app, router = FastAPI(openapi_url=None), GuardedRouter(tags=["things"])

    @router.get("/api/things/{name}", **declares(Operation.CHANNEL_READ))
    def read_thing(name: str) -> None: ...

    app.include_router(router)

    with pytest.raises(UnnamedChannel, match=r"'/api/things/\{name\}' .*'channel.read'"):
        check_declared(app)


@pytest.mark.parametrize("nested", [False, True])
def test_an_app_that_serves_a_folder_unguarded_is_refused(tmp_path, nested):
    app, router, outer = FastAPI(openapi_url=None), GuardedRouter(tags=["things"]), APIRouter()
    router.frontend("/things", directory=tmp_path)
    outer.include_router(router, prefix="/api")

    app.include_router(outer if nested else router)

    with pytest.raises(OpenFolder, match="on a GuardedRouter"):
        check_declared(app)


def test_a_channel_may_be_named_in_the_prefix_of_an_included_router():
    app, outer, inner = FastAPI(openapi_url=None), APIRouter(), GuardedRouter(tags=["things"])

    @inner.get("/things", **declares(Operation.CHANNEL_READ))
    def list_things(channel: str) -> None: ...

    outer.include_router(inner, prefix="/api/channels/{channel}")
    app.include_router(outer)

    check_declared(app)


def test_an_app_of_guarded_routes_is_accepted():
    app, router = FastAPI(openapi_url=None), GuardedRouter(tags=["things"])

    @router.get("/api/things", **declares(Operation.LIST_CHANNELS))
    def list_things() -> None: ...

    app.include_router(router)

    check_declared(app)


def test_a_malformed_body_of_nobody_is_answered_401(client):
    answer = client.post("/api/channels", content=b"{")

    assert answer.status_code == 401


def test_a_malformed_body_of_somebody_is_answered_422_without_repeating_it(client, owner_key):
    answer = client.post(
        "/api/channels", content=b'{"name": ["s3cret"]}', headers={"X-API-Key": owner_key}
    )

    assert answer.status_code == 422
    assert "s3cret" not in answer.text


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'{"name": "\xff"}', id="not-utf8"),
        pytest.param(b"\x17\x00\xfe", id="no-text"),
        pytest.param(b"[" * 100_000, id="too-deep"),
    ],
)
def test_a_body_that_cannot_be_read_is_answered_422_with_what_to_send(client, owner_key, body):
    answer = client.post("/api/channels", content=body, headers={"X-API-Key": owner_key})

    assert answer.status_code == 422
    assert "send JSON in UTF-8" in answer.json()["detail"]


def test_an_unknown_path_is_answered_with_a_problem(client):
    answer = client.get("/api/nothing")

    assert answer.status_code == 404
    assert answer.json()["message"] == "Not Found"


@pytest.mark.parametrize("in_chunks", [False, True])
@pytest.mark.parametrize("with_key", [False, True])
def test_a_body_beyond_the_limit_is_answered_413(client, owner_key, in_chunks, with_key):
    body = b'{"name": "' + b"x" * (1 << 20) + b'"}'

    answer = client.post(
        "/api/channels",
        content=iter([body]) if in_chunks else body,
        headers={"X-API-Key": owner_key} if with_key else {},
    )

    if in_chunks and not with_key:  # no more of it is read than the caller may send
        assert answer.status_code == 401
        return
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"
    title = HTTPStatus(413).phrase
    assert answer.json() == {
        "type": "about:blank",
        "title": title,
        "status": 413,
        "detail": "the body exceeds the limit of 1048576 bytes",
        "reason": title,
        "message": "the body exceeds the limit of 1048576 bytes",
    }


@pytest.mark.usefixtures("own_event_loops")
def test_a_key_revoked_while_a_body_arrives_does_nothing(app, client, owner_key, monkeypatch):
    monkeypatch.setattr("quetz.web.guard.TRUST_SECONDS", 0.0)  # every body arrives slowly
    key_id = owner_key.split("-")[1]

    def body():
        yield b'{"name": '
        other = TestClient(app, headers={"X-API-Key": owner_key})
        assert other.delete(f"/api/api-keys/{key_id}").status_code == 200
        yield b'"mine"}'

    answer = client.post("/api/channels", content=body(), headers={"X-API-Key": owner_key})

    assert answer.status_code == 401


@pytest.mark.usefixtures("own_event_loops")
def test_a_key_revoked_while_a_package_arrives_uploads_nothing(
    app, client, owner_key, deployment, tmp_path
):
    client.post("/api/channels", json={"name": "forge"}, headers={"X-API-Key": owner_key})
    package = build_package(tmp_path)

    def body():
        yield package.read_bytes()
        other = TestClient(app, headers={"X-API-Key": owner_key})
        assert other.delete(f"/api/api-keys/{owner_key.split('-')[1]}").status_code == 200
        yield b""

    answer = client.post(
        f"/api/channels/forge/upload/{package.name}",
        content=body(),
        headers={"X-API-Key": owner_key},
    )

    assert answer.status_code == 401
    with deployment.transaction() as session:
        assert session.query(File).count() == 0


def test_a_route_that_reads_by_a_body_holds_no_transaction_until_the_body_is_there(
    deployment, owner_key
):
    held = []
    router = GuardedRouter(tags=["things"])

    @router.post("/api/channels/{channel}/things", **declares(Operation.CHANNEL_READ))
    def read_things(channel: ReadChannel, session: ReadSession, body: list[str]) -> list[str]:
        held.append(session.in_transaction())
        return [channel.name, *body]

    with deployment.transaction(write=True) as session:
        make_channel(session, "forge")
    front: Any = create_app(deployment)
    front._app.include_router(router)

    def arriving():
        held.append(deployment.engine.pool.checkedout() > 0)
        yield b'["x"]'

    answer = TestClient(front).post("/api/channels/forge/things", content=arriving())

    assert (answer.status_code, answer.json()) == (200, ["forge", "x"])
    assert held == [False, True]
