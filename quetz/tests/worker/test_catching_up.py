import threading
import time

import pytest

from quetz.plugins import PluginFailed
from quetz.services.publishing import SHARDS, Switch, has_marks, list_published, mark_dirty
from quetz.testing.factories import make_channel, make_file
from quetz.worker import catching_up, publisher
from quetz.worker.catching_up import publish_channel
from quetz.worker.publisher import lease, publish


@pytest.fixture
def forge(deployment):
    """A channel with a file that is marked."""
    with deployment.transaction(write=True) as session:
        forge = make_channel(session, "forge")
        make_file(session, forge, "pkg-1.0-0.conda")
        mark_dirty(session, forge.id, "noarch", "pkg")
    return forge


def test_all_that_is_marked_of_the_channel_is_published(deployment, forge):
    with deployment.transaction(write=True) as session:
        other = make_channel(session, "other")
        mark_dirty(session, other.id, "noarch", "pkg")

    published = publish_channel(deployment, forge.id)

    with deployment.transaction() as session:
        assert set(list_published(session)) == set(published)
        assert len(published) == 3
        assert has_marks(session, other.id)


def test_what_another_process_publishes_is_left_to_it_and_waited_for(deployment, forge):
    switch = Switch(forge.id, "noarch", SHARDS)
    held, may_publish = threading.Event(), threading.Event()

    def publish_slowly():
        with lease(deployment, switch) as mine:
            assert mine
            held.set()
            may_publish.wait(30)
            publish(deployment, switch)

    other = threading.Thread(target=publish_slowly)
    other.start()
    held.wait(30)
    threading.Timer(0.3, may_publish.set).start()
    began = time.monotonic()

    published = publish_channel(deployment, forge.id)

    other.join()
    assert time.monotonic() - began >= 0.3
    assert switch not in published
    assert len(published) == 2
    with deployment.transaction() as session:
        assert not has_marks(session, forge.id)


def test_what_is_marked_meanwhile_is_not_waited_for(deployment, forge, monkeypatch):
    tries = []

    def publish_while_uploads_go_on(deployment, switch):
        tries.append(switch)
        assert len(tries) < 30
        done = publish(deployment, switch)
        with deployment.transaction(write=True) as session:
            mark_dirty(session, forge.id, "noarch", "pkg")
        return done

    monkeypatch.setattr(catching_up, "publish", publish_while_uploads_go_on)

    published = publish_channel(deployment, forge.id)

    assert len(set(published)) == 3
    with deployment.transaction() as session:
        assert has_marks(session, forge.id)


def test_an_index_that_cannot_be_built_ends_it(deployment, forge, monkeypatch):
    def fail(*_arguments):
        raise PluginFailed("quetz-foo", "records_published")

    monkeypatch.setattr(publisher, "build", fail)

    with pytest.raises(PluginFailed):
        publish_channel(deployment, forge.id)
