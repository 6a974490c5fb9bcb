"""Each route while the database, or the store, is away: an answer that says so, and no 500."""

import shutil
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import pytest
from sqlalchemy import NullPool, create_engine, update

from quetz.db.models import Channel
from quetz.deployment import STORE_FOLDER
from quetz.testing.fixtures import backends
from quetz.tests.web.permission_requests import REQUESTS
from quetz.tests.web.permission_world import matrix_on

CHANNEL = "open"
UNAVAILABLE = 503


@pytest.fixture(scope="module", params=backends())
def world(request, _all_databases, tmp_path_factory):
    """The world of the permission matrix, and the folder of its deployment."""
    folder = tmp_path_factory.mktemp("outages")
    with matrix_on(_all_databases(request.param).ready(), folder) as matrix:
        yield matrix, folder / "deployment"


@contextmanager
def database_away(deployment):
    """Take the database away for a while, with connections to it open."""
    url = deployment.engine.url
    if url.get_backend_name() == "sqlite":
        file = Path(url.database)
        elsewhere = file.rename(file.with_name("elsewhere"))
        try:
            yield
            assert not file.exists()  # nobody made another
        finally:
            elsewhere.rename(file)
        return
    engine = create_engine(
        url.set(database="postgres"), poolclass=NullPool, isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as server:
        allow = f'ALTER DATABASE "{url.database}" ALLOW_CONNECTIONS'
        server.exec_driver_sql(f"{allow} false")
        server.exec_driver_sql(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = %s",
            (url.database,),
        )
        try:
            yield
        finally:
            server.exec_driver_sql(f"{allow} true")


@contextmanager
def store_away(deployment, *folders):
    """Move folders of the store away for a while, and put empty ones there: an unmounted disk."""
    elsewhere = deployment.path.with_name("away")
    elsewhere.mkdir()
    moved = [(path, elsewhere / path.name) for path in folders]
    for path, kept in moved:
        path.rename(kept)
        path.mkdir()
    try:
        yield
    finally:
        for path, kept in moved:
            shutil.rmtree(path)
            kept.rename(path)
        elsewhere.rmdir()


def forget_what_was_read(deployment):
    """Commit a change: what was read before is believed no longer."""
    with deployment.transaction(write=True) as session:
        session.execute(update(Channel).values(size=Channel.size))


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
    matrix, _ = world
    forget_what_was_read(matrix.deployment)

    with database_away(matrix.deployment):
        found = answers(matrix, undo=False)
    after = matrix.client.get("/health/ready")

    assert faults(found) == {}
    reached = {asked for asked, answer in found.items() if answer.status_code < UNAVAILABLE}
    assert reached == {"GET /health/live"}
    assert after.status_code == 200


def test_each_route_says_when_the_store_is_away(world):
    matrix, path = world
    forget_what_was_read(matrix.deployment)

    with store_away(matrix.deployment, *(path / STORE_FOLDER).iterdir()):
        found = answers(matrix, undo=True)

    assert faults(found) == {}
    download = found["GET /get/{channel}/noarch/pkg-1.0-0.conda"]
    upload = next(one for asked, one in found.items() if "/upload/" in asked)
    assert (download.status_code, upload.status_code) == (UNAVAILABLE, UNAVAILABLE)


def test_a_download_that_was_found_a_moment_ago_says_when_its_bytes_are_gone(world):
    matrix, path = world
    package = f"/get/{CHANNEL}/noarch/pkg-1.0-0.conda"
    found = matrix.client.get(package)

    with store_away(matrix.deployment, path / STORE_FOLDER / "objects"):
        gone = matrix.client.get(package)

    assert (found.status_code, gone.status_code) == (200, UNAVAILABLE)
