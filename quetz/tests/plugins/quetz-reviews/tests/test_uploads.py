"""Uploads as a client makes them, on SQLite and on PostgreSQL."""

from quetz_licenses.db_models import License
from quetz_reviews.db_models import Review

from quetz.testing.packages import build_package


def test_a_new_license_waits_for_a_review(owner_client, deployment, tmp_path):
    owner_client.post("/api/channels", json={"name": "forge", "private": False})
    packages = [build_package(tmp_path, name, license="MIT") for name in ("a", "b")]
    files = [("files", (package.name, package.read_bytes())) for package in packages]

    answer = owner_client.post("/api/channels/forge/files/", files=files)

    assert answer.status_code == 201
    with deployment.transaction() as session:
        reviews = session.query(License.name, Review.is_approved, Review.comment).join(Review)
        assert [tuple(review) for review in reviews] == [("MIT", None, "")]
