import shutil
from pathlib import Path

import pytest
from sqlalchemy import text

from quetz.migrations.status import OwnerStatus, Status
from quetz.tests.migrations.databases import run_sql

LIVE = {"component": "http-server", "status": "ok"}
READY = {
    "component": "http-server",
    "status": "ok",
    "schema": {"state": "current", "pending": 0},
    "store": "ok",
    "plugins": {},
}


@pytest.fixture
def migrated(deployment):
    """A database that another version migrated; it is put back, for other tests use it."""
    with deployment.transaction() as session:
        before = session.scalar(text("SELECT version_num FROM alembic_version"))
    run_sql(deployment.engine, "UPDATE alembic_version SET version_num = 'unknown'")
    yield
    run_sql(deployment.engine, f"UPDATE alembic_version SET version_num = '{before}'")


def refused(client):
    answer = client.get("/health/ready")
    assert answer.status_code == 503
    assert answer.headers["cache-control"] == "no-store"
    assert int(answer.headers["retry-after"]) > 0
    return answer.json()


def test_a_whole_server_lives_and_is_ready(anonymous):
    live, ready = anonymous.get("/health/live"), anonymous.get("/health/ready")

    assert (live.status_code, live.json()) == (200, LIVE)
    assert (ready.status_code, ready.json()) == (200, READY)


def test_a_server_without_its_store_lives_and_is_not_ready(anonymous, deployment):
    shutil.rmtree(deployment.path / "store")

    answer = refused(anonymous)

    assert answer == READY | {"status": "unavailable", "store": "unreachable"}
    assert anonymous.get("/health/live").status_code == 200


@pytest.mark.usefixtures("migrated")
def test_a_server_whose_schema_was_changed_by_another_version_is_not_ready(anonymous):
    answer = refused(anonymous)

    assert answer == READY | {
        "status": "unavailable",
        "schema": {"state": "changed", "pending": 0},
    }


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)
def test_a_server_without_its_database_says_so_and_not_where_it_was(anonymous, deployment):
    Path(deployment.engine.url.database).unlink()

    answer = refused(anonymous)

    assert answer == READY | {
        "status": "unavailable",
        "schema": {"state": "unreachable", "pending": 0},
    }
    assert anonymous.get("/health/live").status_code == 200


def test_a_server_that_ignores_a_mismatch_is_ready_and_tells_it(anonymous, deployment):
    heads = deployment.schema.status.heads
    owners = (OwnerStatus("quetz", "1", "behind", pending=("a", "b")),)
    deployment.schema.status = Status("behind", owners, heads)

    answer = anonymous.get("/health/ready")

    assert answer.status_code == 200
    assert answer.json()["schema"] == {"state": "behind", "pending": 2}
