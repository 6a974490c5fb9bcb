"""The quota of a channel in bytes, on each route by which it grows."""

from concurrent.futures import ThreadPoolExecutor
from itertools import combinations

import pytest

from quetz.db.models import File, Upload
from quetz.db.queries.channels import get_channel
from quetz.testing.faults import DatabaseFault, FaultyDatabase, FaultyStore, StoreFault
from quetz.testing.packages import build_package
from quetz.tests.web.api.uploading import count, other_bytes, upload

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


def test_a_form_of_a_package_needs_room(owner_client, deployment, package, limit_to):
    second = build_package(package.parent, version="2.0")
    size = package.stat().st_size + second.stat().st_size
    limit_to(size)
    upload(owner_client, None, package, channel="small")

    limit_to(size - 1)
    refused = post_form(owner_client, second, url="packages/pkg/files/")
    limit_to(size)
    taken = post_form(owner_client, second, url="packages/pkg/files/")

    assert (refused.status_code, taken.status_code) == (FULL, 201)
    assert size_of(deployment) == size


def post_form(client, package, url="files/"):
    files = [("files", (package.name, package.read_bytes()))]
    return client.post(f"/api/channels/small/{url}", files=files)


def post_whole(client, package):
    return upload(client, None, package, channel="small")


def post_in_chunks(client, package):
    url = f"/api/channels/small/upload/{package.name}"
    return client.post(url, content=iter([package.read_bytes()]))


@pytest.mark.parametrize("post", [post_whole, post_in_chunks, post_form])
def test_uploads_at_once_together_keep_the_quota(
    owner_client, deployment, tmp_path, limit_to, post
):
    packages = [build_package(tmp_path, name=f"pkg{number}") for number in range(9)]
    sizes = sorted(package.stat().st_size for package in packages)
    room = sum(sizes[-3:])
    assert sum(sizes[:4]) > room  # any three of them fit, and no four
    limit_to(room)

    with ThreadPoolExecutor(len(packages)) as threads:
        answers = list(threads.map(lambda package: post(owner_client, package), packages))

    assert sorted(answer.status_code for answer in answers) == [201] * 3 + [FULL] * 6
    assert any(size_of(deployment) == sum(three) for three in combinations(sizes, 3))
    assert count(deployment, Upload) == 0


def send_wrong_hash(client, deployment, package):
    return upload(client, None, package, channel="small", sha256="0" * 64)


def send_damaged(client, deployment, package):
    package.write_bytes(package.read_bytes()[::-1])
    return upload(client, None, package, channel="small")


def break_off(client, deployment, package):
    def body():
        yield package.read_bytes()[:100]
        raise ConnectionResetError

    headers = {"Content-Length": str(package.stat().st_size)}
    url = f"/api/channels/small/upload/{package.name}"
    with pytest.raises(ConnectionResetError):
        client.post(url, content=body(), headers=headers)


def lose_store(client, deployment, package):
    store = deployment.store
    deployment.store = faulty = FaultyStore(store)
    faulty.fail(StoreFault.BEFORE, method="put")
    answer = upload(client, None, package, channel="small")
    deployment.store = store
    return answer


def lose_database(client, deployment, package):
    with FaultyDatabase(deployment.engine) as faulty:
        faulty.fail(DatabaseFault.BEFORE, statement="COMMIT", at=2)  # after the reservation's
        return upload(client, None, package, channel="small")


@pytest.mark.parametrize(
    ("fail", "status"),
    [
        pytest.param(send_wrong_hash, 422, id="the hash is wrong"),
        pytest.param(send_damaged, 422, id="the bytes are damaged"),
        pytest.param(break_off, None, id="the client goes away"),
        pytest.param(lose_store, 503, id="the store is away"),
        pytest.param(lose_database, 503, id="the database is away for a moment"),
    ],
)
def test_an_upload_that_fails_gives_its_room_back(
    owner_client, deployment, package, limit_to, fail, status
):
    limit_to(package.stat().st_size)
    whole = package.read_bytes()

    answer = fail(owner_client, deployment, package)
    left = count(deployment, File), count(deployment, Upload)
    package.write_bytes(whole)
    again = upload(owner_client, None, package, channel="small")

    assert (answer and answer.status_code, left) == (status, (0, 0))
    assert again.status_code == 201
