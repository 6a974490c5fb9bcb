import shutil

from sqlalchemy import text

OK = {"component": "http-server", "status": "ok"}


def test_a_whole_server_lives_and_is_ready(anonymous):
    live, ready = anonymous.get("/health/live"), anonymous.get("/health/ready")

    assert (live.status_code, live.json()) == (200, OK)
    assert (ready.status_code, ready.json()) == (200, OK)


def refused(client):
    answer = client.get("/health/ready")
    assert answer.headers["content-type"] == "application/problem+json"
    assert int(answer.headers["retry-after"]) > 0
    return answer.status_code, answer.json()["detail"]


def test_a_server_without_its_store_lives_and_is_not_ready(anonymous, deployment):
    shutil.rmtree(deployment.path / "store")

    status, detail = refused(anonymous)

    assert status == 503
    assert "store" in detail
    assert anonymous.get("/health/live").status_code == 200


def test_a_server_whose_schema_was_changed_by_another_version_is_not_ready(anonymous, deployment):
    with deployment.transaction(write=True) as session:
        before = session.scalar(text("SELECT version_num FROM alembic_version"))
        session.execute(text("UPDATE alembic_version SET version_num = 'unknown'"))

    status, _ = refused(anonymous)

    with deployment.transaction(write=True) as session:
        session.execute(
            text("UPDATE alembic_version SET version_num = :before"), {"before": before}
        )
    assert status == 503
