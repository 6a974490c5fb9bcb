"""The order of effects, seen where one of them fails or comes late."""

import pytest

from quetz.db.models import File
from quetz.errors import DatabaseUnavailable
from quetz.services.index_builds import build
from quetz.services.publishing import SHARDS, Switch, flip, list_published, mark_dirty, read_batch
from quetz.storage.keys import parse_index_key
from quetz.testing.factories import make_channel, make_file
from quetz.testing.faults import DatabaseFault, FaultyDatabase, FaultyStore, StoreFault
from quetz.testing.packages import build_package
from quetz.tests.web.api.uploading import count, upload
from quetz.worker.publisher import publish

SUBDIR = "linux-64"


@pytest.fixture
def channel(deployment):
    with deployment.transaction(write=True) as session:
        return make_channel(session, "forge")


def add_file(session, channel, name):
    make_file(session, channel, f"{name}-1.0-0.conda", subdir=SUBDIR)
    mark_dirty(session, channel.id, SUBDIR, name)


def read_marked(session, switch):
    batch = read_batch(session, switch)
    assert batch is not None
    return batch


@pytest.mark.parametrize("fault", [StoreFault.BEFORE, StoreFault.AFTER])
def test_a_file_whose_bytes_may_not_be_stored_is_not_recorded(
    owner_client, deployment, channel, tmp_path, fault
):
    package = build_package(tmp_path)
    deployment.store = store = FaultyStore(deployment.store)
    store.fail(fault, method="put")

    refused = upload(owner_client, None, package)

    assert (refused.status_code, refused.headers.get("Retry-After")) == (503, "5")
    assert count(deployment, File) == 0
    assert upload(owner_client, None, package).status_code == 201


class InterruptedStore(FaultyStore):
    """A store that lets something happen once the bytes are in it."""

    def __init__(self, store, then):
        super().__init__(store)
        self.then = then

    def put(self, stage, key):
        super().put(stage, key)
        self.then()


def test_a_quota_that_was_lowered_meanwhile_holds(owner_client, deployment, channel, tmp_path):
    def patch(limit):
        return owner_client.patch("/api/channels/forge", json={"size_limit": limit})

    patch(1_000_000)
    deployment.store = InterruptedStore(deployment.store, lambda: patch(1))

    refused = upload(owner_client, None, build_package(tmp_path))

    assert (refused.status_code, count(deployment, File)) == (422, 0)


@pytest.mark.parametrize("databases", ["postgresql"], indirect=True)
def test_a_mark_that_is_committed_after_one_with_a_larger_id_is_published_next(deployment, channel):
    switch = Switch(channel.id, SUBDIR, SHARDS)
    with deployment.transaction(write=True) as slow:
        add_file(slow, channel, "numpy")
        with deployment.transaction(write=True) as quick:
            add_file(quick, channel, "scipy")
        with deployment.transaction() as session:
            batch = read_marked(session, switch)
            built = build(session, deployment.store, deployment.plugins, batch)

    with deployment.transaction(write=True) as session:
        flip(session, deployment.store, batch, built)

    with deployment.transaction() as session:
        assert read_marked(session, switch).names == ["numpy"]


def test_files_stay_whose_flip_was_committed_though_its_answer_was_lost(deployment, channel):
    with deployment.transaction(write=True) as session:
        add_file(session, channel, "numpy")
    switch = Switch(channel.id, SUBDIR, SHARDS)

    with FaultyDatabase(deployment.engine) as database:
        database.fail(DatabaseFault.AFTER, statement="COMMIT")
        with pytest.raises(DatabaseUnavailable):
            publish(deployment, switch)

    with deployment.transaction() as session:
        files = list_published(session)[switch].files
    assert deployment.store.has_all(parse_index_key(file.key) for file in files.values())
