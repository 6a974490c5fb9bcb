"""A client that speaks to the whole application in-process, and an owner's key for it."""

import pytest
from starlette.testclient import TestClient

from quetz.deployment import Deployment
from quetz.services.accounts import create_user
from quetz.services.api_keys import create_api_key
from quetz.services.permissions import OPERATOR, Role, principal_of
from quetz.testing.packages import build_package
from quetz.testing.publishing import publish_all
from quetz.tests.web.described import DescribedClient
from quetz.web.app import create_app
from quetz.web.front import Front


@pytest.fixture
def app(deployment: Deployment) -> Front:
    """Build the application; nothing publishes until the test says so."""
    return create_app(deployment)


@pytest.fixture
def client(app: Front) -> TestClient:
    """Open a client that sends no credential of its own."""
    return DescribedClient(app)


@pytest.fixture
def owner_key(deployment: Deployment) -> str:
    """Return the API key of a server owner named alice."""
    return make_key(deployment, "alice", Role.OWNER)


@pytest.fixture
def key(owner_key: str) -> dict[str, str]:
    """Return the header that carries the owner's key."""
    return {"X-API-Key": owner_key}


@pytest.fixture
def channel(client: TestClient, key: dict[str, str]) -> str:
    """Create a public channel of the owner's, and return its name."""
    body = {"name": "forge", "private": False}
    assert client.post("/api/channels", json=body, headers=key).status_code == 201
    return "forge"


def make_key(deployment: Deployment, username: str, role: Role | None = None) -> str:
    """Make a user, and return a key with all his rights."""
    with deployment.transaction(write=True) as session:
        user = create_user(session, OPERATOR, username, role=role)
        made = create_api_key(
            session, principal_of(user), user, description="", expires_at=None, scopes=None
        )
    return made.key


def open_browser(app: Front, cookie: str, name: str = "__Host-session") -> TestClient:
    """Open a client with a login's cookie, which says and sends what a page of ours would."""
    here = "http://127.0.0.1:8000"
    browser = TestClient(app, base_url=here, headers={"Origin": here}, cookies={name: cookie})
    browser.headers["X-CSRF"] = browser.get("/api/csrf-token").json()["token"]
    return browser


@pytest.fixture
def package(client, key, channel, deployment, tmp_path):
    """Upload a package, and publish it."""
    package = build_package(
        tmp_path, name="numpy", version="2.1.0", subdir="linux-64", run_exports={"weak": ["numpy"]}
    )
    client.post(
        f"/api/channels/forge/upload/{package.name}", content=package.read_bytes(), headers=key
    )
    publish_all(deployment)
    return package
