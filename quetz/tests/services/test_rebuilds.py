"""Indexes that have to be built anew, and shards that several names have together."""

import random

import pytest

from quetz.conda import shard_indexes
from quetz.conda.shards import decode_shard_index
from quetz.conda.zstd import decompress
from quetz.db.base import now_ms
from quetz.db.models import Channel, File
from quetz.deployment import Deployment
from quetz.services.collecting import SHARD_GRACE_MS, collect_superseded
from quetz.services.index_builds import ShardMemory, build
from quetz.services.publishing import (
    SHARD_INDEX,
    SHARDS,
    Switch,
    flip,
    list_marked,
    list_published,
    mark_channel_for_rebuild,
    mark_dirty,
    mark_for_rebuild,
    read_batch,
    read_file,
    shard_key,
)
from quetz.storage.keys import parse_index_key
from quetz.testing.factories import make_channel, make_file
from quetz.testing.publishing import publish_all
from quetz.worker.publisher import publish


@pytest.fixture
def channel(deployment: Deployment) -> Channel:
    with deployment.transaction(write=True) as session:
        return make_channel(session)


@pytest.fixture
def switch(channel):
    return Switch(channel.id, "noarch", SHARDS)


def add(deployment, channel, *names, version="1"):
    with deployment.transaction(write=True) as session:
        for name in names:
            make_file(session, session.merge(channel), f"{name}-{version}-0.conda")
            mark_dirty(session, channel.id, "noarch", name)


def remove(deployment, channel, *names):
    with deployment.transaction(write=True) as session:
        for name in names:
            session.query(File).filter(File.name == name).delete()
            mark_dirty(session, channel.id, "noarch", name)


def content(deployment, built):
    data = read_file(deployment.store, built.files[SHARD_INDEX])
    assert data is not None
    return decompress(data, 1 << 20)


def index_file(deployment, switch):
    with deployment.transaction() as session:
        return list_published(session)[switch].files[SHARD_INDEX]


def digests(deployment, switch):
    data = read_file(deployment.store, index_file(deployment, switch))
    assert data is not None
    return decode_shard_index(decompress(data, 1 << 20))


def test_a_lost_shard_index_is_built_anew_by_a_publisher_that_remembers_it(
    deployment, channel, switch
):
    memory = ShardMemory()
    add(deployment, channel, "numpy")
    assert publish(deployment, switch, memory)
    deployment.store.delete_index(parse_index_key(index_file(deployment, switch).key))
    with deployment.transaction(write=True) as session:
        mark_dirty(session, channel.id, "noarch", "numpy")

    assert publish(deployment, switch, memory)

    assert digests(deployment, switch).keys() == {"numpy"}


def test_a_torn_shard_index_is_built_anew_by_a_publisher_that_remembers_it(
    deployment, channel, switch
):
    memory = ShardMemory()
    add(deployment, channel, "numpy")
    assert publish(deployment, switch, memory)
    torn = index_file(deployment, switch)
    deployment.store.write_index(parse_index_key(torn.key), bytes(torn.size))
    with deployment.transaction(write=True) as session:
        mark_for_rebuild(session, switch)

    assert publish(deployment, switch, memory)

    assert digests(deployment, switch).keys() == {"numpy"}


@pytest.fixture
def few_names(monkeypatch):
    """Cut shard indexes into pieces of few names."""
    for name, size in {"TARGET": 4, "LARGEST": 8, "SMALLEST": 1}.items():
        monkeypatch.setattr(shard_indexes, name, size)


@pytest.mark.usefixtures("few_names")
def test_a_publisher_that_remembers_the_index_makes_the_same_as_one_that_reads_it(
    deployment, channel, switch, monkeypatch
):
    monkeypatch.setattr("quetz.services.index_builds.now_ms", lambda: 1_700_000_000_000)
    memory = ShardMemory()
    names = [f"pkg-{number}" for number in range(30)]
    random.Random(1).shuffle(names)
    for some in (names[:20], names[20:29], names[5:12]):
        add(deployment, channel, *some, version=str(len(some)))
        publish(deployment, switch, memory)
    remembered = memory.find(index_file(deployment, switch))
    add(deployment, channel, names[0], names[29], version="9")
    remove(deployment, channel, *names[1:15:3])

    with deployment.transaction() as session:
        batch = read_batch(session, switch)
        assert batch is not None
        parts = session, deployment.store, deployment.plugins, batch
        knowing, reading = build(*parts, memory), build(*parts)

    assert remembered is not None
    assert knowing.replaced == reading.replaced
    assert content(deployment, knowing) == content(deployment, reading)
    assert decode_shard_index(content(deployment, knowing)).keys() == set(names) - set(
        names[1:15:3]
    )


@pytest.mark.usefixtures("few_names")
def test_a_piece_that_is_kept_uncompressed_is_told_of_once(deployment, channel, switch, caplog):
    memory = ShardMemory()
    add(deployment, channel, *(letter * 60 for letter in "abcdefghijkl"))
    publish(deployment, switch, memory)
    [warning] = caplog.messages
    caplog.clear()

    add(deployment, channel, "l" * 60, version="2")
    publish(deployment, switch, memory)

    assert warning.startswith(f"3 pieces of the shard index of {switch} are kept uncompressed")
    assert [message[:8] for message in caplog.messages] == ["1 pieces"]
    assert digests(deployment, switch).keys() == {letter * 60 for letter in "abcdefghijkl"}


class Emptied:
    """Plugins that leave nothing of the records of some names."""

    def __init__(self, names):
        self.names = names

    def implements(self, hook):
        return hook == "records_published"

    def call(self, _hook, *, name, records, **_):
        if name in self.names:
            records.clear()

    def tell(self, _hook, **_): ...


def test_a_shard_of_two_names_is_kept_for_the_one_that_still_has_it(deployment, channel, switch):
    deployment.plugins = plugins = Emptied({"numpy", "scipy"})
    add(deployment, channel, "numpy", "scipy")
    publish_all(deployment)
    assert len(set(digests(deployment, switch).values())) == 1
    plugins.names.remove("numpy")
    add(deployment, channel, "numpy", version="2")
    publish_all(deployment)

    with deployment.transaction(write=True) as session:
        while collect_superseded(session, deployment.store, now=now_ms() + SHARD_GRACE_MS + 60_000):
            pass

    key = shard_key(switch, digests(deployment, switch)["scipy"].hex())
    assert deployment.store.size(key) is not None


def test_a_rebuild_that_is_asked_for_during_another_is_made_after_it(deployment, channel, switch):
    add(deployment, channel, "numpy")
    publish_all(deployment)
    with deployment.transaction(write=True) as session:
        mark_channel_for_rebuild(session, channel.id)
    with deployment.transaction() as session:
        batch = read_batch(session, switch)
        assert batch is not None
        built = build(session, deployment.store, deployment.plugins, batch)
    with deployment.transaction(write=True) as session:
        mark_channel_for_rebuild(session, channel.id)
        assert flip(session, deployment.store, batch, built)

    with deployment.transaction() as session:
        assert switch in list_marked(session)
