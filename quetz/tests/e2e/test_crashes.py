"""A real server that is killed while clients upload; the long campaign is `make campaign-crash`."""

import pytest

from quetz.testing.crashes import Driver, create_deployment


@pytest.mark.parametrize(
    "point",
    [
        pytest.param("upload.stored", id="between object and commit"),
        pytest.param("upload.recorded", id="between commit and answer"),
        pytest.param("publish.flipping", id="while publishing"),
    ],
)
def test_a_killed_server_keeps_what_it_acknowledged(point, tmp_path):
    deployment = tmp_path / "deployment"
    (tmp_path / "packages").mkdir()
    driver = Driver(deployment, create_deployment(deployment), tmp_path / "packages")
    driver.create_channel()

    died = driver.crash(point)

    assert died
    driver.check()
