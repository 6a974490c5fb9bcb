"""Authorisation: what it adds to the routes that ask for it, in one process without a network."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import patch

from sqlalchemy.orm import Session
from starlette.types import Message, Scope

from benchmarks.figures import Figure, ratio
from benchmarks.records import insert_channel
from benchmarks.servers import create_deployment
from quetz.db.models import Channel
from quetz.db.queries.channels import get_channel
from quetz.deployment import Deployment
from quetz.services.accounts import create_user
from quetz.services.api_keys import create_api_key
from quetz.services.members import set_member
from quetz.services.permissions import OPERATOR, Operation, Principal, Role, principal_of
from quetz.web import guard
from quetz.web.app import create_app
from quetz.web.front import Front

RECORDS = 100_000
REQUESTS = 200
GOAL = 1.15
ROUTES = {
    "20 packages": "/api/paginated/channels/{channel}/packages",
    "a channel": "/api/channels/{channel}",
}


def measure(folder: Path, rounds: int) -> list[Figure]:
    create_deployment(folder / "deployment")
    deployment = Deployment.open(folder / "deployment")
    key = _fill(deployment)
    app = create_app(deployment)
    figures = [
        figure
        for channel, who, headers in (
            ("forge", "anonymous", []),
            ("closed", "a member's key", [(b"x-api-key", key.encode())]),
        )
        for name, path in ROUTES.items()
        for figure in _figures(app, f"{name}, {who}", path.format(channel=channel), headers, rounds)
    ]
    deployment.close()
    return figures


def _fill(deployment: Deployment) -> str:
    """Add a public and a private channel; return the key of a member of the private one."""
    with deployment.transaction(write=True) as session:
        insert_channel(session, "forge", RECORDS)
        number, _ = insert_channel(session, "closed", RECORDS)
        channel = session.get_one(Channel, number)
        channel.private = True
        user = create_user(session, OPERATOR, "erin", role=None)
        set_member(session, OPERATOR, channel, "erin", Role.MEMBER)
        made = create_api_key(
            session, principal_of(user), user, description="", expires_at=None, scopes=None
        )
    return made.key


def _figures(
    app: Front, name: str, path: str, headers: list[tuple[bytes, bytes]], rounds: int
) -> Sequence[Figure]:
    _cost(app, path, headers)
    ours, bare = [], []
    for _ in range(rounds):
        ours.append(_cost(app, path, headers))
        with patch.object(guard, "authorize_path", _find_channel):
            bare.append(_cost(app, path, headers))
    return [ratio(name, ours, bare, goal=GOAL, unit="ms", against="the route unauthorised")]


def _find_channel(
    session: Session, _principal: Principal, _operation: Operation, name: str, _package: str | None
) -> Channel:
    """Look the channel up, which the route needs, and allow everything."""
    return get_channel(session, name)


def _cost(app: Front, path: str, headers: list[tuple[bytes, bytes]]) -> float:
    """Return the milliseconds of processor time that an answer takes."""
    before = time.process_time()
    asyncio.run(_ask(app, path, headers))
    return (time.process_time() - before) / REQUESTS * 1e3


async def _ask(app: Front, path: str, headers: list[tuple[bytes, bytes]]) -> None:
    status = 0

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        nonlocal status
        status = message.get("status", status)

    for _ in range(REQUESTS):
        scope: Scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(b"host", b"localhost"), *headers],
            "client": ("127.0.0.1", 1),
            "server": ("localhost", 1),
            "state": {},
        }
        await app(scope, receive, send)
        if status != 200:
            raise RuntimeError(f"{path} was answered with {status}")
