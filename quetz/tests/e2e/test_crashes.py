"""A real server that is killed while clients upload; the long campaign is `make campaign-crash`."""

from contextlib import closing

import pytest

from quetz.deployment import Deployment
from quetz.services.api_keys import create_api_key
from quetz.services.permissions import OPERATOR
from quetz.testing.crashes import CHANNEL, Driver
from quetz.testing.factories import make_channel, make_user


@pytest.fixture
def key(deployment_path):
    """The key of the owner of a server with one channel."""
    with (
        closing(Deployment.open(deployment_path)) as deployment,
        deployment.transaction(write=True) as session,
    ):
        owner = make_user(session, "olga", role="owner")
        make_channel(session, CHANNEL, owner=owner)
        made = create_api_key(
            session, OPERATOR, owner, description="", expires_at=None, scopes=None
        )
    return made.key


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "point",
    [
        pytest.param("upload.stored", id="between object and commit"),
        pytest.param("upload.recorded", id="between commit and answer"),
        pytest.param("publish.flipping", id="while publishing"),
    ],
)
def test_a_killed_server_keeps_what_it_acknowledged(deployment_path, key, point, tmp_path):
    (tmp_path / "packages").mkdir()
    driver = Driver(deployment_path, key, tmp_path / "packages")

    died = driver.crash(point)

    assert died
    driver.check()
