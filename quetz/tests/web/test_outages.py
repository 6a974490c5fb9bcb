"""Each route while the database, or the store, is away: an answer that says so, and no 500."""

import shutil
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import pytest

from quetz.deployment import STORE_FOLDER
from quetz.testing.databases import SqliteDatabases, chosen_dbinit
from quetz.tests.web.permission_requests import REQUESTS
from quetz.tests.web.permission_world import matrix_on

CHANNEL = "open"
UNAVAILABLE = 503


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """The world of the permission matrix, and the folder of its deployment."""
    folder = tmp_path_factory.mktemp("outages")
    url = SqliteDatabases(folder, chosen_dbinit()).ready()
    with matrix_on(url, folder) as matrix:
        yield matrix, folder / "deployment", Path(str(url.database))


@contextmanager
def away(deployment, *paths, forget=True):
    """Move files away for a while, and put folders in their places, as of an unmounted disk."""
    elsewhere = deployment.path.with_name("away")
    elsewhere.mkdir()
    moved = [(path, elsewhere / path.name) for path in paths]
    deployment.engine.dispose()
    for path, kept in moved:
        path.rename(kept)
        path.mkdir()
    if forget:
        deployment.changes.committed()  # what was read before is believed no longer
    try:
        yield
    finally:
        deployment.engine.dispose()
        for path, kept in moved:
            shutil.rmtree(path)
            kept.rename(path)
        elsewhere.rmdir()


def answers(matrix, *, undo):
    """Ask each route as an owner; return the answers, by what was asked."""
    caller = matrix.callers["key.full(of server owner)"]
    caller.carry("X-API-Key")
    found = {}
    for ask in chain.from_iterable(REQUESTS.values()):
        found[f"{ask.method} {ask.path}"] = matrix.send(caller, ask, CHANNEL)
        if undo and ask.changes:
            matrix.restore()
    return found


def faults(found):
    """Return the answers that are faults of the server, or that name no time to come again."""
    return {
        asked: (answer.status_code, answer.text[:200])
        for asked, answer in found.items()
        if answer.status_code >= 500
        and not (answer.status_code == UNAVAILABLE and int(answer.headers.get("retry-after", 0)))
    }


def test_each_route_says_when_the_database_is_away(world):
    matrix, _, database = world

    with away(matrix.deployment, database):
        found = answers(matrix, undo=False)

    assert faults(found) == {}
    reached = {asked for asked, answer in found.items() if answer.status_code < UNAVAILABLE}
    assert reached == {"GET /health/live"}


def test_each_route_says_when_the_store_is_away(world):
    matrix, folder, _ = world

    with away(matrix.deployment, *(folder / STORE_FOLDER).iterdir()):
        found = answers(matrix, undo=True)

    assert faults(found) == {}
    download = found["GET /get/{channel}/noarch/pkg-1.0-0.conda"]
    upload = next(one for asked, one in found.items() if "/upload/" in asked)
    assert (download.status_code, upload.status_code) == (UNAVAILABLE, UNAVAILABLE)


def test_a_download_that_was_found_a_moment_ago_says_when_its_bytes_are_gone(world):
    matrix, folder, _ = world
    path = f"/get/{CHANNEL}/noarch/pkg-1.0-0.conda"
    found = matrix.client.get(path)

    with away(matrix.deployment, folder / STORE_FOLDER / "objects", forget=False):
        gone = matrix.client.get(path)

    assert (found.status_code, gone.status_code) == (200, UNAVAILABLE)
