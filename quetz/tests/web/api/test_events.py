"""Every request that changes something leaves exactly one event, and no such route is left out.

What changes nothing leaves none. Whoever loses his rights while his request waits for the database
changes nothing.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
from starlette.testclient import TestClient

from quetz.db.models import Event
from quetz.db.queries.channels import get_channel, lock_channel
from quetz.db.queries.users import get_user
from quetz.services.accounts import delete_user, set_role
from quetz.services.permissions import OPERATOR, Role
from quetz.services.sessions import start_session
from quetz.testing.packages import build_package
from quetz.tests.web.api.uploading import count, upload
from quetz.tests.web.conftest import make_key, open_browser
from quetz.web.app import create_app
from quetz.web.cookies import cookie_name

SAFE = {"get", "head", "options"}
HOME = "http://localhost"
FORGE = "/api/channels/forge"
ELSEWHERE = "/api/channels/elsewhere"
FILE = f"{FORGE}/packages/pkg/versions/noarch/pkg-1.0-0.conda"
YANKED = f"{FORGE}/packages/pkg/versions/noarch/pkg-0.9-0.conda"
A_FILE = "/api/channels/{channel}/packages/{package}/versions/{platform}/{filename}"


@dataclass(frozen=True)
class World:
    """A channel ``forge`` of alice's with a package of two files, one yanked; its member bob.

    ``client`` has alice's key, ``browser`` a login of hers; ``spare_key`` is another key, ``new``
    a package that is nowhere yet, ``newer`` another file of the one that is.
    """

    client: TestClient
    browser: TestClient
    spare_key: str
    new: Path
    newer: Path

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
    for name in ("forge", "elsewhere"):
        client.post("/api/channels", json={"name": name})
    client.post(f"{FORGE}/members", json={"username": "bob", "role": "member"})
    upload(client, None, build_package(tmp_path))
    upload(client, None, build_package(tmp_path, version="0.9"))
    client.post(f"{YANKED}/yank")
    client.post(f"{FORGE}/packages/pkg/members", json={"username": "bob", "role": "member"})
    client.post(f"{FORGE}/mirrors", json={"url": "https://mirror.example/get/forge"})
    client.post("/api/service-accounts", json={"username": "robot"})
    spare = client.post("/api/api-keys", json={"description": ""}).json()["key"]
    with deployment.transaction(write=True) as session:
        cookie = start_session(session, get_user(session, "alice"), "dummy")
    browser = open_browser(app, cookie, cookie_name(deployment.settings))
    browser.follow_redirects = False
    new, newer = build_package(tmp_path, name="new"), build_package(tmp_path, version="1.1")
    return World(client, browser, spare, new, newer)


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
    (
        "post",
        "/api/channels/{channel}/packages/{package}/files/",
    ): lambda world: world.client.post(
        f"{FORGE}/packages/pkg/files/",
        files={"files": (world.newer.name, world.newer.read_bytes())},
    ),
    ("post", "/api/channels/{channel}/packages"): lambda world: world.client.post(
        f"{FORGE}/packages", json={"name": "fresh"}
    ),
    ("post", "/api/channels/{channel}/packages/copy"): lambda world: world.client.post(
        f"{ELSEWHERE}/packages/copy?source_channel=forge&source_package=pkg&subdir=noarch"
        "&filename=pkg-1.0-0.conda"
    ),
    ("post", f"{A_FILE}/yank"): lambda world: world.client.post(f"{FILE}/yank"),
    ("post", f"{A_FILE}/restore"): lambda world: world.client.post(f"{YANKED}/restore"),
    ("post", "/api/channels/{channel}/packages/{package}/members"): lambda world: world.client.post(
        f"{FORGE}/packages/pkg/members", json={"username": "alice", "role": "owner"}
    ),
    ("delete", "/api/channels/{channel}/packages/{package}/members"): lambda world: (
        world.client.delete(f"{FORGE}/packages/pkg/members", params={"username": "bob"})
    ),
    ("post", "/api/channels/{channel}/mirrors"): lambda world: world.client.post(
        f"{FORGE}/mirrors", json={"url": "https://mirror.example/get/other"}
    ),
    ("delete", "/api/channels/{channel}/mirrors/{mirror_id}"): lambda world: world.client.delete(
        f"{FORGE}/mirrors/{world.client.get(f'{FORGE}/mirrors').json()[0]['id']}"
    ),
    ("delete", "/api/users/{username}"): lambda world: world.client.delete("/api/users/bob"),
    ("put", "/api/users/{username}/role"): lambda world: world.client.put(
        "/api/users/bob/role", json={"role": "member"}
    ),
    ("post", "/api/service-accounts"): lambda world: world.client.post(
        "/api/service-accounts", json={"username": "builder"}
    ),
    ("delete", "/api/service-accounts/{username}"): lambda world: world.client.delete(
        "/api/service-accounts/robot"
    ),
    ("post", "/api/service-accounts/{username}/api-keys"): lambda world: world.client.post(
        "/api/service-accounts/robot/api-keys", json={"description": ""}
    ),
    ("post", "/api/keys"): lambda world: world.client.post("/api/keys", json={"description": ""}),
    ("delete", "/api/keys/{id}"): lambda world: world.client.delete(
        f"/api/keys/{world.spare_key.split('-')[1]}"
    ),
    ("post", "/api/api-keys/revoke-leaked"): lambda world: world.client.post(
        "/api/api-keys/revoke-leaked", json={"key": world.spare_key}
    ),
    ("post", "/api/api-keys"): lambda world: world.client.post(
        "/api/api-keys", json={"description": ""}
    ),
    ("delete", "/api/api-keys/{key}"): lambda world: world.client.delete(
        f"/api/api-keys/{world.spare_key.split('-')[1]}"
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


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        pytest.param("PATCH", FORGE, {}, id="no setting"),
        pytest.param("PATCH", FORGE, {"private": True, "size_limit": None}, id="same settings"),
        pytest.param("PATCH", FORGE, {"metadata": {"includelist": None}}, id="same metadata"),
        pytest.param(
            "POST", f"{FORGE}/members", {"username": "bob", "role": "member"}, id="same member"
        ),
        pytest.param(
            "POST", f"{FORGE}/members", {"username": "alice", "role": "owner"}, id="same owner"
        ),
        pytest.param("PUT", "/api/users/bob/role", {"role": None}, id="no role as before"),
        pytest.param("PUT", "/api/users/alice/role", {"role": "owner"}, id="same role"),
        pytest.param("POST", f"{YANKED}/yank", None, id="yanked before"),
        pytest.param("POST", f"{FILE}/restore", None, id="not yanked"),
    ],
)
def test_what_changes_nothing_is_answered_as_a_change_and_leaves_no_event(
    world, deployment, method, path, body
):
    before = count(deployment, Event)

    answer = world.client.request(method, path, json=body)

    assert answer.status_code in {200, 201}, answer.text
    assert count(deployment, Event) == before


def test_no_route_that_changes_anything_is_left_out(world):
    paths = world.client.get("/openapi.json").json()["paths"]

    described = {(method, path) for path, methods in paths.items() for method in methods}

    assert {(method, path) for method, path in described if method not in SAFE} <= set(REQUESTS)
    assert set(REQUESTS) <= described


# They take no right of a user.
FREE = {"/api/dummylogin/{username}", "/auth/logout", "/api/api-keys/revoke-leaked"}


def test_a_request_of_a_user_deleted_while_it_waits_changes_nothing(world, deployment):
    make_key(deployment, "zoe", Role.OWNER)  # or alice would be the last one
    asks = [ask for (_, path), ask in REQUESTS.items() if path not in FREE]

    with ThreadPoolExecutor(len(asks)) as pool:
        with deployment.transaction(write=True) as session:
            for name in ("forge", "elsewhere"):
                lock_channel(session, get_channel(session, name))
            delete_user(session, OPERATOR, "alice")
            sent = [pool.submit(ask, world) for ask in asks]
            time.sleep(1)
            waiting = [one for one in sent if not one.done()]
            before = count(deployment, Event)  # PostgreSQL let some pass
        answers = {one.result().status_code for one in waiting}

    assert len(waiting) > len(asks) / 2
    assert answers <= {401, 404}
    assert count(deployment, Event) == before + 1  # the deletion


def test_a_request_of_a_user_whose_rights_change_while_it_waits_is_to_be_sent_again(
    world, deployment
):
    make_key(deployment, "zoe", Role.OWNER)

    with ThreadPoolExecutor(1) as pool:
        with deployment.transaction(write=True) as session:
            lock_channel(session, get_channel(session, "forge"))
            set_role(session, OPERATOR, "alice", Role.MEMBER)
            sent = pool.submit(world.client.patch, FORGE, json={"ttl": 5})
            time.sleep(0.3)
        answer = sent.result()

    assert answer.status_code == 409
    assert "send it again" in answer.json()["detail"]
    assert world.client.patch(FORGE, json={"ttl": 5}).status_code == 200
