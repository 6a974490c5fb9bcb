"""A real server that is killed while clients upload; the long campaign is `make campaign-crash`."""

import sqlite3
import time
from contextlib import closing
from typing import Any

import pytest
import requests

from quetz.deployment import Deployment
from quetz.services.api_keys import create_api_key
from quetz.services.permissions import OPERATOR
from quetz.testing.crashes import Driver, crash_at_each, create_deployment, points_of
from quetz.testing.crashes.driver import database_of
from quetz.testing.factories import make_user
from quetz.testing.packages import build_package
from quetz.testing.servers import doomed_server
from quetz.worker.tally_writer import TALLY_SECONDS

# Between object and commit, between commit and answer, while publishing.
SAMPLE = {"upload.stored", "transaction.committed", "publish.flipping"}


@pytest.fixture
def key(deployment_path):
    """The key of the owner of a server."""
    with (
        closing(Deployment.open(deployment_path)) as deployment,
        deployment.transaction(write=True) as session,
    ):
        owner = make_user(session, "olga", role="owner")
        made = create_api_key(
            session, OPERATOR, owner, description="", expires_at=None, scopes=None
        )
    return made.key


def test_what_is_killed_keeps_what_it_acknowledged(deployment_path, key, tmp_path):
    driver = Driver(deployment_path, key, tmp_path / "packages")
    backend = database_of(deployment_path).get_backend_name()
    sample = [(scenario, point) for scenario, point in points_of(backend) if point in SAMPLE]

    outcomes = list(crash_at_each(driver, sample))

    assert sorted(outcomes) == [(point, True, "") for point in sorted(SAMPLE)]


def test_a_killed_server_loses_only_the_downloads_of_the_last_seconds(tmp_path):
    deployment, package = tmp_path / "deployment", build_package(tmp_path)
    session = requests.Session()
    session.trust_env = False
    session.headers["X-API-Key"] = create_deployment(deployment)
    with doomed_server(deployment) as server:
        channel: dict[str, Any] = {"name": "forge", "private": False}
        session.post(f"{server.url}/api/channels", json=channel).raise_for_status()
        upload = f"{server.url}/api/channels/forge/upload/{package.name}"
        session.post(upload, data=package.read_bytes()).raise_for_status()
        address = f"{server.url}/get/forge/noarch/{package.name}"

        for _ in range(5):
            session.get(address).raise_for_status()
        time.sleep(2 * TALLY_SECONDS)
        for _ in range(3):
            session.get(address).raise_for_status()

    assert 5 <= downloads(deployment) <= 8


def downloads(deployment) -> int:
    with closing(sqlite3.connect(deployment / "quetz.sqlite")) as database:
        [count] = database.execute("SELECT sum(count) FROM file_downloads").fetchone()
    return count or 0
