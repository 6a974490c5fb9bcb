"""The publisher's threads: what a stop lets them finish."""

import threading

import pytest

from quetz.db.queries.channels import get_channel
from quetz.services.publishing import mark_dirty
from quetz.testing.factories import make_channel, make_file
from quetz.worker import publisher as module
from quetz.worker.publisher import Publisher

SECONDS = 20


@pytest.fixture
def marked(deployment):
    with deployment.transaction(write=True) as session:
        channel = make_channel(session)
        make_file(session, channel, "numpy-1-0.conda")
        mark_dirty(session, get_channel(session, channel.name).id, "noarch", "numpy")


class Builds:
    """Takes the place of building indexes, which takes as long as the test wants."""

    def __init__(self):
        self.begun = []
        self.first = threading.Event()
        self.go_on = threading.Event()

    def publish(self, _deployment, switch, _memory):
        self.begun.append(switch.family)
        self.first.set()
        self.go_on.wait(SECONDS)
        return True


@pytest.fixture
def builds(monkeypatch):
    builds = Builds()
    monkeypatch.setattr(module, "publish", builds.publish)
    yield builds
    builds.go_on.set()


@pytest.mark.usefixtures("marked")
def test_a_stop_begins_no_other_index(deployment, builds):
    publisher = Publisher(deployment)
    publisher.start()
    assert builds.first.wait(SECONDS)
    begun = len(builds.begun)  # the shards and, if it was as quick, one of the JSON forms

    stop = threading.Thread(target=publisher.stop)
    stop.start()
    while not all(loop._stopping for loop in publisher._loops):
        threading.Event().wait(0.01)
    builds.go_on.set()
    stop.join(SECONDS)

    assert not stop.is_alive()
    assert len(builds.begun) <= max(begun, 2)
    assert len(set(builds.begun)) < 3  # all three families are marked


@pytest.mark.usefixtures("marked")
def test_a_stop_does_not_wait_for_an_index_that_takes_too_long(
    deployment, builds, monkeypatch, caplog
):
    monkeypatch.setattr(module, "STOP_SECONDS", 0.1)
    publisher = Publisher(deployment)
    publisher.start()
    assert builds.first.wait(SECONDS)

    publisher.stop()

    assert "an index was given up" in caplog.text
