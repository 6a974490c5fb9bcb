"""Clients of the API, each with the key of a user."""

import pytest
from starlette.testclient import TestClient

from quetz.services.permissions import Role
from quetz.tests.web.conftest import make_key
from quetz.web.app import create_app


@pytest.fixture
def anonymous(deployment):
    return TestClient(create_app(deployment))


@pytest.fixture
def make_client(deployment, anonymous):
    """Return a function that adds a user and returns a client with a key of his."""

    def make_client(username, *, role=None):
        headers = {"X-API-Key": make_key(deployment, username, role)}
        return TestClient(anonymous.app, headers=headers)

    return make_client


@pytest.fixture
def alice(make_client):
    """A client of alice, who may create channels."""
    return make_client("alice", role=Role.MEMBER)
