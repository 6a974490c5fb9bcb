"""No request keeps the others waiting: what a server computes between two turns of its loop."""

import io
import json
import os
import zipfile
from contextlib import closing
from itertools import product

import pytest
import requests

from quetz.db.models import File, Package
from quetz.deployment import Deployment
from quetz.services.api_keys import create_api_key
from quetz.services.descriptions import describe_by_upload
from quetz.services.permissions import OPERATOR
from quetz.testing.factories import make_channel, make_file, make_user
from quetz.testing.loop_watch import watched_server
from quetz.testing.packages import build_package

STALL_SECONDS = 0.05
PACKAGES = 2_000
FORMS = (
    "repodata.json",
    "repodata.json.zst",
    "repodata.json.gz",
    "repodata_from_packages.json",
    "repodata_shards.msgpack.zst",
    "run_exports.json",
)


@pytest.fixture
def key(deployment_path):
    """The key of the owner of two channels, one of which has many packages."""
    with (
        closing(Deployment.open(deployment_path)) as deployment,
        deployment.transaction(write=True) as session,
    ):
        owner = make_user(session, "olga", role="owner")
        make_channel(session, "small", owner=owner)
        large = make_channel(session, "large", owner=owner)
        add_packages(session, large)
        made = create_api_key(
            session, OPERATOR, owner, description="", expires_at=None, scopes=None
        )
    return made.key


def add_packages(session, channel):
    packages = [Package(channel_id=channel.id, name=f"many{n}") for n in range(PACKAGES)]
    session.add_all(packages)
    session.flush()
    one = make_file(session, channel)
    columns = {"sha256": one.sha256, "md5": one.md5, "size": one.size, "build_number": 0}
    parts = {"version": "1.0", "build": "0", "subdir": "noarch"}
    for package in packages:
        name = package.name
        record = json.loads(one.record) | {"name": name}
        session.add(
            File(
                channel_id=channel.id,
                package_id=package.id,
                filename=f"{name}-1.0-0.conda",
                name=name,
                record=json.dumps(record, sort_keys=True, separators=(",", ":")),
                **parts,
                **columns,
            )
        )
        package.files_count = 1
        describe_by_upload(package, "noarch", "1.0", {})
    channel.packages_count += PACKAGES
    channel.size += PACKAGES * one.size


@pytest.fixture
def watched(deployment_path, key):
    """Give what asks the server, and the notes of its turns since it is ready."""
    with watched_server(deployment_path) as (server, notes), requests.Session() as session:
        session.trust_env = False
        session.headers["X-API-Key"] = key

        def ask(method, path, *, status=200, **options):
            answer = session.request(method, server.url + path, **options)
            assert answer.status_code == status, answer.text
            return answer

        ask("POST", "/api/channels/small/files/", status=422, data=b"")  # routes are made once
        notes.forget()
        yield ask, notes


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)
def test_no_request_keeps_the_others_waiting(watched, tmp_path):
    ask, notes = watched

    upload_all_kinds(ask, tmp_path)
    ask("DELETE", "/api/channels/large/packages/many0?wait_for_index=20")
    for form, encoding in product(FORMS, ("identity", "gzip", "zstd")):
        ask("GET", f"/get/large/noarch/{form}", headers={"Accept-Encoding": encoding})
    for path in (
        "/get/large/channeldata.json",
        "/get/large/noarch/",
        "/api/packages/search/?q=many",
        "/api/channels/large/packages",
        "/api/paginated/channels/large/packages?limit=1000",
        "/api/channels/large/packages/many1/versions",
        "/openapi.json",
        "/metricsp",
    ):
        ask("GET", path)
    ask("DELETE", "/api/channels/large")

    turns = notes.turns()
    assert not turns or turns[0].seconds < STALL_SECONDS, turns[0]


def upload_all_kinds(ask, folder):
    large = build_package(folder, "large", files={"share/large": os.urandom(20_000_000)})
    many = build_package(folder, "many", files={f"share/{n}": b"content" for n in range(12_000)})
    for package in (large, many):
        path = f"/api/channels/small/upload/{package.name}?wait_for_index=20"
        ask("POST", path, status=201, data=package.read_bytes())
    parts = [build_package(folder, "part", str(number)) for number in range(50)]
    form = [("files", (part.name, part.read_bytes())) for part in parts]
    ask("POST", "/api/channels/small/files/", status=201, files=form)
    for content in (os.urandom(20_000_000), an_archive_of_too_many_members()):
        ask("POST", "/api/channels/small/upload/bad-1.0-0.conda", status=422, data=content)


def an_archive_of_too_many_members() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("metadata.json", b'{"conda_pkg_format_version": 2}')
        for number in range(10_000):
            archive.writestr(f"member{number}", b"")
    return buffer.getvalue()
