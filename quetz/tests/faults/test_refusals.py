"""Faults in work beside the requests: what it makes of them."""

import pytest

from quetz.errors import DatabaseUnavailable
from quetz.services.objects import DAY_MS
from quetz.testing.faults import DatabaseFault, FaultyDatabase, FaultyStore, StoreFault
from quetz.testing.stores import put_bytes
from quetz.worker.checks.databases import check_schema
from quetz.worker.checks.findings import Ground
from quetz.worker.collecting import Collection, collect


def test_a_check_of_the_schema_says_when_the_database_is_away(deployment):
    ground = Ground(deployment)
    assert list(check_schema(ground)) == []  # it connects, too, which it does not do again
    with FaultyDatabase(deployment.engine) as database:
        assert list(check_schema(ground)) == []

        for at in range(1, len(database.trigger.calls) + 1):
            database.fail(DatabaseFault.LOCKED, at=at)
            with pytest.raises(DatabaseUnavailable):
                list(check_schema(ground))


def test_what_only_a_stale_listing_names_is_not_adopted(deployment):
    gone = put_bytes(deployment.store, b"stray")
    deployment.store = store = FaultyStore(deployment.store)
    store.delete(gone)
    store.fail(StoreFault.STALE_LIST, method="list_objects")

    done = collect(deployment, grace_ms=DAY_MS)

    assert store.trigger.met == "list_objects"
    assert done == Collection()
