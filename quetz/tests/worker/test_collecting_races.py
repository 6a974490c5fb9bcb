"""The collector beside uploads of the bytes that it removes, and through a crash."""

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from sqlalchemy import select, update

from quetz.db.base import now_ms
from quetz.db.models import File, StoredObject
from quetz.db.queries.objects import list_unreferenced, touch_objects
from quetz.deployment import Deployment
from quetz.services.objects import DAY_MS, collect_objects
from quetz.testing.packages import build_package
from quetz.tests.web.api.uploading import count, upload
from quetz.worker.collecting import collect

SECONDS = 30
FILE = "/api/channels/forge/packages/pkg/versions/noarch/pkg-1.0-0.conda"


class PausedStore:
    """A store that says when a method is at a point, and waits there until it may go on."""

    def __init__(self, store, method, *, after):
        self._store = store
        self._method = method
        self._after = after
        self.reached = threading.Event()
        self.may_go_on = threading.Event()

    def __getattr__(self, name):
        method = getattr(self._store, name)
        return self._paused(method) if name == self._method else method

    def _paused(self, method):
        def paused(*arguments):
            if self._after:
                method(*arguments)
            self.reached.set()
            assert self.may_go_on.wait(SECONDS)
            if not self._after:
                method(*arguments)

        return paused


@pytest.fixture
def package(owner_client, tmp_path):
    """A package that was uploaded and deleted."""
    owner_client.post("/api/channels", json={"name": "forge", "private": False})
    package = build_package(tmp_path)
    upload(owner_client, None, package)
    assert owner_client.delete(FILE).is_success
    return package


@pytest.fixture
def collector(deployment_path, deployment):
    with closing(Deployment.open(deployment_path)) as collector:
        yield collector


def let_pass(deployment, milliseconds):
    with deployment.transaction(write=True) as session:
        earlier = StoredObject.touched_at - milliseconds
        session.execute(update(StoredObject).values(touched_at=earlier))


def pause(deployment, method, *, after):
    deployment.store = PausedStore(deployment.store, method, after=after)
    return deployment.store


def assert_whole(deployment):
    """Check that each file's object is in the store and has a row."""
    with deployment.transaction() as session:
        named = set(session.scalars(select(File.sha256)))
        assert named <= set(session.scalars(select(StoredObject.sha256)))
    assert named <= {sha256 for sha256, _ in deployment.store.list_objects()}


@pytest.mark.parametrize(
    ("after", "status"),
    [
        pytest.param(False, 503, id="before the bytes go"),
        pytest.param(True, 201, id="collect.removing"),
    ],
)
def test_an_upload_that_puts_while_the_collector_holds_the_row_ends_whole(
    owner_client, deployment, collector, package, after, status
):
    let_pass(deployment, 1000)  # so little that the upload does not touch before it puts
    removing = pause(collector, "delete", after=after)
    putting = pause(deployment, "put", after=True)
    with ThreadPoolExecutor() as pool:
        collection = pool.submit(collect, collector, grace_ms=0)
        assert removing.reached.wait(SECONDS)
        uploaded = pool.submit(upload, owner_client, None, package)
        assert putting.reached.wait(SECONDS)

        putting.may_go_on.set()
        removing.may_go_on.set()

    answer = uploaded.result()
    assert collection.result().objects == 1
    assert answer.status_code == status
    assert ("Retry-After" in answer.headers) == (status == 503)
    assert count(deployment, File) == (1 if status == 201 else 0)
    assert_whole(deployment)
    assert upload(owner_client, None, package).is_success
    assert_whole(deployment)


def test_an_upload_that_is_recorded_after_its_bytes_went_is_told_to_come_again(
    owner_client, deployment, collector, package
):
    let_pass(deployment, 1000)
    putting = pause(deployment, "put", after=True)
    with ThreadPoolExecutor() as pool:
        uploaded = pool.submit(upload, owner_client, None, package)
        assert putting.reached.wait(SECONDS)

        collected = collect(collector, grace_ms=0)
        putting.may_go_on.set()

    assert collected.objects == 1
    assert uploaded.result().status_code == 503
    assert count(deployment, File) == 0
    assert upload(owner_client, None, package).status_code == 201
    assert_whole(deployment)


def test_an_upload_of_bytes_whose_grace_is_over_keeps_the_collector_off(
    owner_client, deployment, collector, package
):
    let_pass(deployment, 31 * DAY_MS)
    putting = pause(deployment, "put", after=True)
    with ThreadPoolExecutor() as pool:
        uploaded = pool.submit(upload, owner_client, None, package)
        assert putting.reached.wait(SECONDS)

        collected = collect(collector, grace_ms=30 * DAY_MS)
        putting.may_go_on.set()

    assert collected.objects == 0
    assert uploaded.result().status_code == 201
    assert_whole(deployment)


def test_an_upload_that_comes_while_the_collector_removes_old_bytes_ends_whole(
    owner_client, deployment, collector, package
):
    let_pass(deployment, 31 * DAY_MS)
    removing = pause(collector, "delete", after=False)
    with ThreadPoolExecutor() as pool:
        collection = pool.submit(collect, collector, grace_ms=30 * DAY_MS)
        assert removing.reached.wait(SECONDS)
        uploaded = pool.submit(upload, owner_client, None, package)
        removing.may_go_on.set()

    assert collection.result().objects == 1
    assert uploaded.result().status_code in {201, 503}
    assert_whole(deployment)


@pytest.mark.parametrize("databases", ["postgresql"], indirect=True)
def test_what_is_being_recorded_is_left_alone_without_waiting(deployment, collector, package):
    let_pass(deployment, 31 * DAY_MS)

    with deployment.transaction(write=True) as session:
        session.execute(update(StoredObject).values(touched_at=now_ms()))
        collected = collect(collector, grace_ms=30 * DAY_MS)

    assert collected.objects == 0


def test_what_was_touched_since_it_was_found_is_left_alone(deployment, package):
    let_pass(deployment, 1000)
    with deployment.transaction() as session:
        found = list_unreferenced(session, before=now_ms(), limit=10)
    with deployment.transaction(write=True) as session:
        touch_objects(session, [(one.sha256, one.size) for one in found])

    with deployment.transaction(write=True) as session:
        gone = collect_objects(session, deployment.store, found)

    assert (len(found), gone) == (1, [])
    assert len(list(deployment.store.list_objects())) == 1


_COLLECT = """\
import sys
from pathlib import Path
from quetz.deployment import Deployment
from quetz.worker.collecting import collect
collect(Deployment.open(Path(sys.argv[1])), grace_ms=0)
"""


@pytest.mark.parametrize(
    ("point", "rows"),
    [
        pytest.param("collect.removing", 1, id="before the commit"),
        pytest.param("collect.removed", 0, id="after the commit"),
    ],
)
@pytest.mark.parametrize("comes_again", [True, False])
def test_a_collector_that_is_killed_leaves_what_the_next_one_removes(
    owner_client, deployment, deployment_path, package, point, rows, comes_again
):
    let_pass(deployment, 1000)
    command = [sys.executable, "-c", _COLLECT, str(deployment_path)]

    killed = subprocess.run(command, env=os.environ | {"QUETZ_CRASHPOINT": point}, check=False)

    assert killed.returncode == -9
    assert list(deployment.store.list_objects()) == []
    assert count(deployment, StoredObject) == rows
    if comes_again:
        assert upload(owner_client, None, package).status_code == 201
    removed, deadline = 0, time.monotonic() + SECONDS
    expected = 0 if comes_again else rows
    # PostgreSQL may take a moment to notice that a client is gone that held the row.
    while removed < expected and time.monotonic() < deadline:
        removed += collect(deployment, grace_ms=0).objects
    assert removed == expected
    assert count(deployment, StoredObject) == (1 if comes_again else 0)
    assert_whole(deployment)
