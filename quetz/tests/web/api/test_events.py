"""Every request that changes something leaves exactly one event, and no such route is left out."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
from starlette.testclient import TestClient

from quetz.db.models import Event
from quetz.db.queries.users import get_user
from quetz.services.sessions import start_session
from quetz.testing.packages import build_package
from quetz.tests.web.api.uploading import count, upload
from quetz.tests.web.conftest import make_key
from quetz.web.app import create_app
from quetz.web.cookies import cookie_name

SAFE = {"get", "head", "options"}
HOME = "http://localhost"
FORGE = "/api/channels/forge"
FILE = f"{FORGE}/packages/pkg/versions/noarch/pkg-1.0-0.conda"


@dataclass(frozen=True)
class World:
    """A channel ``forge`` of alice's with one package, and its member bob.

    ``client`` has alice's key, ``browser`` a login of hers; ``spare_key`` is the id of another key,
    ``new`` a package that is nowhere yet.
    """

    client: TestClient
    browser: TestClient
    spare_key: str
    new: Path

    @property
    def new_bytes(self) -> bytes:
        return self.new.read_bytes()


@pytest.fixture
def deployment_path(deployment_path):
    with (deployment_path / "config.toml").open("a") as file:
        file.write("[general]\ndev = true\n[session]\nhttps_only = false\n")
    return deployment_path


@pytest.fixture
def world(deployment, owner_key, tmp_path):
    app = create_app(deployment)
    client = TestClient(app, base_url=HOME, headers={"X-API-Key": owner_key})
    make_key(deployment, "bob")
    client.post("/api/channels", json={"name": "forge"})
    client.post(f"{FORGE}/members", json={"username": "bob", "role": "member"})
    upload(client, None, build_package(tmp_path))
    spare = client.post("/api/api-keys", json={"description": ""}).json()["key"]
    with deployment.transaction(write=True) as session:
        cookie = start_session(session, get_user(session, "alice"), "dummy")
    browser = TestClient(app, base_url=HOME, headers={"Origin": HOME}, follow_redirects=False)
    browser.cookies.set(cookie_name(deployment.settings), cookie)
    return World(client, browser, spare.split("-")[1], build_package(tmp_path, name="new"))


# By method and path, as in the description of the API. A new route that changes anything needs
# an entry; GET routes that do stand here, too.
REQUESTS: dict[tuple[str, str], Callable[[World], httpx2.Response]] = {
    ("post", "/api/channels"): lambda world: world.client.post(
        "/api/channels", json={"name": "other"}
    ),
    ("patch", "/api/channels/{channel}"): lambda world: world.client.patch(FORGE, json={"ttl": 5}),
    ("delete", "/api/channels/{channel}"): lambda world: world.client.delete(FORGE),
    ("post", "/api/channels/{channel}/members"): lambda world: world.client.post(
        f"{FORGE}/members", json={"username": "bob", "role": "owner"}
    ),
    ("delete", "/api/channels/{channel}/members"): lambda world: world.client.delete(
        f"{FORGE}/members", params={"username": "bob"}
    ),
    ("delete", "/api/channels/{channel}/packages/{package}"): lambda world: world.client.delete(
        f"{FORGE}/packages/pkg"
    ),
    (
        "delete",
        "/api/channels/{channel}/packages/{package}/versions/{platform}/{filename}",
    ): lambda world: world.client.delete(FILE),
    ("post", "/api/channels/{channel}/upload/{filename}"): lambda world: world.client.post(
        f"{FORGE}/upload/{world.new.name}", content=world.new_bytes
    ),
    ("post", "/api/channels/{channel}/files/"): lambda world: world.client.post(
        f"{FORGE}/files/", files={"files": (world.new.name, world.new_bytes)}
    ),
    ("post", "/api/api-keys"): lambda world: world.client.post(
        "/api/api-keys", json={"description": ""}
    ),
    ("delete", "/api/api-keys/{key}"): lambda world: world.client.delete(
        f"/api/api-keys/{world.spare_key}"
    ),
    ("get", "/api/dummylogin/{username}"): lambda world: world.browser.get("/api/dummylogin/bob"),
    ("post", "/auth/logout"): lambda world: world.browser.post("/auth/logout"),
}


@pytest.mark.parametrize("route", REQUESTS, ids=" ".join)
def test_a_change_leaves_one_event(world, deployment, route):
    before = count(deployment, Event)

    answer = REQUESTS[route](world)

    assert answer.status_code < 400, answer.text
    assert count(deployment, Event) == before + 1


def test_no_route_that_changes_anything_is_left_out(world):
    paths = world.client.get("/openapi.json").json()["paths"]

    described = {(method, path) for path, methods in paths.items() for method in methods}

    assert {(method, path) for method, path in described if method not in SAFE} <= set(REQUESTS)
    assert set(REQUESTS) <= described
