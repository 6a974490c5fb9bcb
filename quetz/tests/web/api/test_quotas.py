"""The quota of a channel in bytes, on each route by which it grows."""

import pytest

from quetz.db.queries.channels import get_channel
from quetz.testing.packages import build_package
from quetz.tests.web.api.uploading import other_bytes, upload

FILE = "/api/channels/small/packages/pkg/versions/noarch/pkg-1.0-0.conda"
FULL = 422


@pytest.fixture
def package(tmp_path):
    return build_package(tmp_path)


@pytest.fixture
def limit_to(owner_client):
    """Make the channel ``small``, or give it another quota."""

    def limit(size):
        answer = owner_client.post("/api/channels", json={"name": "small", "private": False})
        assert answer.status_code in {201, 409}
        answer = owner_client.patch("/api/channels/small", json={"size_limit": size})
        assert answer.is_success

    return limit


def copy(client, package):
    source = {
        "source_channel": "forge",
        "source_package": "pkg",
        "subdir": "noarch",
        "filename": package.name,
    }
    return client.post("/api/channels/small/packages/copy", params=source)


def size_of(deployment):
    with deployment.transaction() as session:
        return get_channel(session, "small").size


def test_a_copy_takes_room_and_needs_it(owner_client, deployment, package, limit_to):
    owner_client.post("/api/channels", json={"name": "forge", "private": False})
    upload(owner_client, None, package)
    size = package.stat().st_size

    limit_to(size - 1)
    refused = copy(owner_client, package)
    limit_to(size)
    taken = copy(owner_client, package)

    assert (refused.status_code, taken.status_code) == (FULL, 201)
    assert size_of(deployment) == size


def test_a_deleted_file_that_comes_again_needs_room(owner_client, deployment, package, limit_to):
    size = package.stat().st_size
    limit_to(size)
    upload(owner_client, None, package, channel="small")
    owner_client.delete(FILE)

    limit_to(size - 1)
    refused = upload(owner_client, None, package, channel="small")
    limit_to(size)
    restored = upload(owner_client, None, package, channel="small")

    assert (refused.status_code, restored.status_code) == (FULL, 201)
    assert size_of(deployment) == size


def test_a_forced_upload_needs_room_for_what_it_adds(owner_client, deployment, package, limit_to):
    size = package.stat().st_size
    other = other_bytes(package.parent)
    more = other.stat().st_size
    limit_to(max(size, more))
    upload(owner_client, None, package, channel="small")

    limit_to(more - 1)
    refused = upload(owner_client, None, other, channel="small", force=True)
    limit_to(more)
    replaced = upload(owner_client, None, other, channel="small", force=True)

    assert (refused.status_code, replaced.status_code) == (FULL, 201)
    assert size_of(deployment) == more
