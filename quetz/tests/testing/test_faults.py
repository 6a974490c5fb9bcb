"""What the faulty store and the faulty database do to who uses them."""

import pytest
from sqlalchemy import text

from quetz.db.models import Channel
from quetz.errors import DatabaseUnavailable, ObjectMissing, StorageFull, StoreUnavailable
from quetz.storage.keys import index_key, object_key
from quetz.testing.factories import make_channel
from quetz.testing.faults import DatabaseFault, FaultyDatabase, FaultyStore, StoreFault
from quetz.testing.faults.databases import faults_on
from quetz.testing.stores import StoreConformance, leave_bytes, put_bytes, read_bytes

INDEX = index_key(7, "noarch", "repodata.json")


@pytest.fixture
def store(store):
    return FaultyStore(store)


class TestWithoutFaults(StoreConformance):
    """Where nothing fails, it is a store as any other."""


@pytest.mark.parametrize(
    ("fault", "error", "is_there"),
    [
        (StoreFault.BEFORE, StoreUnavailable, False),
        (StoreFault.AFTER, StoreUnavailable, True),
        (StoreFault.TIMED_OUT, StoreUnavailable, False),
        (StoreFault.FULL, StorageFull, False),
        (StoreFault.SHORT_WRITE, StorageFull, False),
    ],
)
def test_a_write_fails_before_or_after_its_effect_and_never_by_half(store, fault, error, is_there):
    store.fail(fault, method="write_index")

    with pytest.raises(error):
        store.write_index(INDEX, b"content")

    assert store.read_index(INDEX) == (b"content" if is_there else None)
    store.write_index(INDEX, b"content")
    assert store.read_index(INDEX) == b"content"


def test_the_call_that_fails_is_counted_of_all_methods_or_of_one(store):
    store.fail(StoreFault.BEFORE, at=2)
    store.size(INDEX)
    with pytest.raises(StoreUnavailable):
        store.read_index(INDEX)

    store.fail(StoreFault.BEFORE, at=2, method="read_index")
    store.read_index(INDEX)
    store.size(INDEX)
    with pytest.raises(StoreUnavailable):
        store.read_index(INDEX)

    assert store.trigger.calls == ["read_index", "size", "read_index"]
    assert store.trigger.met == "read_index"


@pytest.mark.parametrize("method", ["write", "finish"])
def test_a_stage_that_failed_takes_no_more(store, method):
    store.fail(StoreFault.FULL, method=method)

    with store.stage() as stage, pytest.raises(StorageFull):  # noqa: PT012  whichever fails
        stage.write(b"content")
        stage.finish()

    assert not stage.path.exists()
    assert list(store.list_objects()) == []


def test_of_many_files_a_part_may_be_put(store):
    files = [leave_bytes(store, content) for content in (b"one", b"two")]
    store.fail(StoreFault.SHORT_WRITE, method="put_many")

    with pytest.raises(StorageFull):
        store.put_many(files)

    assert [size for _, size in store.list_objects()] == [3]


def test_what_is_read_may_be_wrong_once(store):
    key = put_bytes(store, b"content")
    store.write_index(INDEX, b"content")

    store.fail(StoreFault.WRONG_BYTES)
    first = read_bytes(store, key)
    store.fail(StoreFault.WRONG_BYTES)
    second = store.read_index(INDEX)

    assert first == second != b"content"
    assert (read_bytes(store, key), store.read_index(INDEX)) == (b"content", b"content")


def test_a_stale_listing_is_of_before(store):
    old = put_bytes(store, b"old")
    fresh = FaultyStore(store)
    put_bytes(fresh, b"new")
    fresh.delete(old)
    fresh.write_index(INDEX, b"{}")

    fresh.fail(StoreFault.STALE_LIST, method="list_objects")
    stale = {object_key(sha256) for sha256, _ in fresh.list_objects()}
    fresh.fail(StoreFault.STALE_LIST, method="list_index")

    assert stale == {old}
    assert list(fresh.list_index()) == []
    assert (len(list(fresh.list_objects())), len(list(fresh.list_index()))) == (1, 1)


def test_a_fault_that_cannot_happen_to_a_method_is_refused(store):
    with pytest.raises(ValueError, match="SHORT_WRITE"):
        store.fail(StoreFault.SHORT_WRITE, method="delete")


def test_what_is_not_there_is_missing_and_no_fault(store):
    with pytest.raises(ObjectMissing):
        store.open_file(INDEX)


def add_channel(deployment):
    with deployment.transaction(write=True) as session:
        make_channel(session, "forge")


def channels(deployment):
    with deployment.transaction() as session:
        return session.query(Channel).count()


@pytest.mark.parametrize("statement", ["INSERT", "COMMIT"])
@pytest.mark.parametrize("fault", DatabaseFault, ids=lambda fault: fault.name.lower())
def test_a_database_that_failed_once_is_used_on(deployment, fault, statement):
    if fault not in faults_on(deployment.engine):
        pytest.skip("another database's")
    with FaultyDatabase(deployment.engine) as database:
        database.fail(fault, statement=statement)

        with pytest.raises(StorageFull if fault is DatabaseFault.FULL else DatabaseUnavailable):
            add_channel(deployment)

        committed = (fault, statement) == (DatabaseFault.AFTER, "COMMIT")
        assert channels(deployment) == (1 if committed else 0)
        if not committed:
            add_channel(deployment)
        assert database.trigger.met == statement
    assert channels(deployment) == 1


def test_an_engine_is_as_before_once_the_faults_are_over(deployment):
    with FaultyDatabase(deployment.engine) as database:
        database.fail(DatabaseFault.BEFORE)

    with deployment.transaction() as session:
        assert session.scalar(text("SELECT 1")) == 1
    assert database.trigger.calls == []


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)
def test_what_cannot_happen_to_sqlite_is_refused(deployment):
    database = FaultyDatabase(deployment.engine)

    with pytest.raises(ValueError, match="TERMINATED"):
        database.fail(DatabaseFault.TERMINATED)
