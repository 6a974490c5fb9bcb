"""Uploads as a client makes them, on SQLite and on PostgreSQL."""

import pytest
from quetz_licenses.db_models import License, LicensedFile

from quetz.testing.packages import build_package


@pytest.fixture
def upload(owner_client, tmp_path):
    owner_client.post("/api/channels", json={"name": "forge", "private": False})

    def send(name, **index_fields):
        package = build_package(tmp_path, name, **index_fields)
        files = {"files": (package.name, package.read_bytes())}
        return owner_client.post("/api/channels/forge/files/", files=files)

    return send


def licenses_in(deployment):
    with deployment.transaction() as session:
        pairs = session.query(LicensedFile.file_id, License.name, License.is_free).join(License)
        return [tuple(pair) for pair in pairs.order_by(LicensedFile.file_id)]


def test_the_license_of_an_upload_is_noted(upload, deployment):
    answers = [upload("a", license="MIT"), upload("b", license="MIT"), upload("c")]

    assert [answer.status_code for answer in answers] == [201, 201, 201]
    assert licenses_in(deployment) == [(1, "MIT", True), (2, "MIT", True), (3, "unknown", True)]
