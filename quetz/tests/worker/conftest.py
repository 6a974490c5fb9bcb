import pytest

from quetz.tests.worker.soundness import fill


@pytest.fixture
def sound(deployment, tmp_path):
    """A deployment in which everything happened that may happen."""
    folder = tmp_path / "packages"
    folder.mkdir()
    fill(deployment, folder)
    return deployment
