"""Answers that wait until the index shows the change."""

import asyncio
import threading
from concurrent.futures import wait

import pytest
from starlette.testclient import TestClient

from quetz.cli.server import STOP_SECONDS
from quetz.db.queries.channels import get_channel
from quetz.deployment import Deployment
from quetz.services.publishing import (
    CHANNEL_WIDE,
    CHANNELDATA,
    PATCHES,
    REPODATA,
    SHARDS,
    Switch,
    list_marked,
    mark_for_rebuild,
)
from quetz.testing.packages import build_package
from quetz.testing.publishing import publish_all
from quetz.tests.web.api.uploading import upload
from quetz.worker import publisher as publisher_module
from quetz.worker.index_watch import IndexWatch
from quetz.worker.publisher import Publisher, publish

SECONDS = 20
VERSION = "/api/channels/forge/packages/pkg/versions/noarch/pkg-1.0-0.conda"


@pytest.fixture
def watch(deployment):
    """Tell requests what is published, which a test does itself."""
    watch = IndexWatch(deployment)
    watch.start()
    yield watch
    watch.stop()


@pytest.fixture
def publishing(deployment, watch):
    """Publish beside the requests, as a server does."""
    publisher = Publisher(deployment)
    publisher.start()
    yield
    publisher.stop()


def listed(client):
    """Return the file names in repodata.json."""
    repodata = client.get("/get/forge/noarch/repodata.json").json()
    return sorted(repodata["packages"] | repodata["packages.conda"])


def test_an_upload_that_waits_is_in_the_index_when_it_is_answered(
    client, key, channel, tmp_path, publishing, deployment
):
    answer = upload(client, key, build_package(tmp_path), wait_for_index=SECONDS)

    assert (answer.status_code, answer.headers["quetz-index"]) == (201, "published")
    assert answer.headers["quetz-change"]
    assert listed(client) == ["pkg-1.0-0.conda"]
    with deployment.transaction() as session:
        assert list_marked(session) == []


def test_no_index_waits_for_hotfixes_that_take_long(
    client, key, channel, tmp_path, watch, deployment, monkeypatch
):
    begun, ended = threading.Event(), threading.Event()

    def take_long(*_):
        begun.set()
        ended.wait(SECONDS * 2)

    monkeypatch.setattr(publisher_module, "apply_patches", take_long)
    with deployment.transaction(write=True) as session:
        channel_id = get_channel(session, channel).id
        mark_for_rebuild(session, Switch(channel_id, CHANNEL_WIDE, PATCHES))
    publisher = Publisher(deployment)
    publisher.start()
    try:
        assert begun.wait(SECONDS)
        answer = upload(client, key, build_package(tmp_path), wait_for_index=SECONDS)
        assert answer.headers["quetz-index"] == "published"
    finally:
        ended.set()
        publisher.stop()


def test_a_form_of_files_waits_for_all_of_them(client, key, channel, tmp_path, publishing):
    packages = [build_package(tmp_path, name=name) for name in ("one", "two")]
    files = [("files", (package.name, package.read_bytes())) for package in packages]

    answer = client.post(
        "/api/channels/forge/files/",
        files=files,
        params={"wait_for_index": SECONDS},
        headers=key,
    )

    assert (answer.status_code, answer.headers["quetz-index"]) == (201, "published")
    assert listed(client) == ["one-1.0-0.conda", "two-1.0-0.conda"]


@pytest.mark.parametrize("path", [VERSION, "/api/channels/forge/packages/pkg"])
def test_a_deletion_that_waits_is_out_of_the_index_when_it_is_answered(
    client, key, channel, tmp_path, publishing, path
):
    upload(client, key, build_package(tmp_path), wait_for_index=SECONDS)

    answer = client.delete(path, params={"wait_for_index": SECONDS}, headers=key)

    assert (answer.status_code, answer.json()) == (200, None)
    assert answer.headers["quetz-index"] == "published"
    assert listed(client) == []


def test_what_is_not_published_in_time_is_pending_and_kept(client, key, channel, tmp_path, watch):
    answer = upload(client, key, build_package(tmp_path), wait_for_index=0.05)

    assert (answer.status_code, answer.headers["quetz-index"]) == (201, "pending")
    assert client.get("/get/forge/noarch/pkg-1.0-0.conda").status_code == 200


@pytest.mark.parametrize("missing", [SHARDS, REPODATA, CHANNELDATA])
def test_every_form_of_the_index_has_to_show_the_change(
    client, key, channel, tmp_path, watch, deployment, missing
):
    package = build_package(tmp_path)
    upload(client, key, package)
    with deployment.transaction() as session:
        marked = list_marked(session)
    for switch in marked:
        if switch.family != missing:
            publish(deployment, switch)

    answer = upload(client, key, package, wait_for_index=0.05)

    assert answer.headers["quetz-index"] == "pending"


def test_a_publisher_of_another_process_is_noticed(
    client, key, channel, tmp_path, watch, deployment_path
):
    other = Deployment.open(deployment_path)
    stop = threading.Event()

    def publish_elsewhere():
        while not stop.wait(0.05):
            publish_all(other)

    publisher = threading.Thread(target=publish_elsewhere)
    publisher.start()
    answer = upload(client, key, build_package(tmp_path), wait_for_index=SECONDS)
    names = listed(client)
    stop.set()
    publisher.join()
    other.close()

    assert answer.headers["quetz-index"] == "published"
    assert names == ["pkg-1.0-0.conda"]


def test_the_same_bytes_again_wait_for_the_upload_before(
    client, key, channel, tmp_path, watch, deployment
):
    package = build_package(tmp_path)
    upload(client, key, package)

    early = upload(client, key, package, wait_for_index=0)
    publish_all(deployment)
    late = upload(client, key, package, wait_for_index=0)

    assert (early.status_code, early.headers["quetz-index"]) == (200, "pending")
    assert (late.status_code, late.headers["quetz-index"]) == (200, "published")


@pytest.mark.parametrize(
    ("deed", "body"),
    [
        pytest.param("yank", None, id="yank"),
        pytest.param("yank", {"reason": "another"}, id="another reason"),
        pytest.param("restore", None, id="restore"),
    ],
)
def test_a_yank_or_restore_again_waits_for_the_one_before(
    client, key, channel, tmp_path, watch, deployment, deed, body
):
    upload(client, key, build_package(tmp_path))
    client.post(f"{VERSION}/yank", headers=key)
    publish_all(deployment)
    former = "restore" if deed == "yank" else "yank"
    client.post(f"{VERSION}/{former}", headers=key)
    client.post(f"{VERSION}/{deed}", headers=key)

    def again(body):
        params = {"wait_for_index": 0}
        return client.post(f"{VERSION}/{deed}", json=body, params=params, headers=key)

    early = again(body)
    publish_all(deployment)
    late = again(body)

    assert (early.status_code, early.headers["quetz-index"]) == (200, "pending")
    assert (late.status_code, late.headers["quetz-index"]) == (200, "published")


def test_who_does_not_ask_does_not_wait(client, key, channel, tmp_path, watch):
    answer = upload(client, key, build_package(tmp_path))

    assert answer.status_code == 201
    assert "quetz-index" not in answer.headers


def test_a_refused_upload_does_not_wait(client, key, channel, tmp_path, watch):
    path = tmp_path / "pkg-1.0-0.conda"
    path.write_bytes(b"no archive")

    answer = upload(client, key, path, wait_for_index=SECONDS)

    assert answer.status_code == 422
    assert "quetz-index" not in answer.headers


@pytest.mark.parametrize("value", ["", "soon", "-1", "20.5", "nan"])
@pytest.mark.parametrize("path", ["upload/pkg-1.0-0.conda", "files/"])
def test_a_malformed_wait_is_refused_before_a_byte_of_the_body_is_taken(
    app, owner_key, channel, path, value
):
    answers = []

    async def receive():
        raise AssertionError("the body was read")

    async def send(message):
        answers.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": f"/api/channels/forge/{path}",
        "raw_path": f"/api/channels/forge/{path}".encode(),
        "query_string": f"wait_for_index={value}".encode(),
        "headers": [(b"x-api-key", owner_key.encode()), (b"host", b"localhost")],
        "client": ("127.0.0.1", 1),
    }
    asyncio.run(app(scope, receive, send))

    assert answers[0]["status"] == 422
    assert b"wait_for_index" in answers[1]["body"]


def test_a_stop_outlasts_every_wait(client):
    [wait] = [
        parameter["schema"]["anyOf"][0]
        for parameter in client.get("/openapi.json").json()["paths"][
            "/api/channels/{channel}/upload/{filename}"
        ]["post"]["parameters"]
        if parameter["name"] == "wait_for_index"
    ]

    assert wait["maximum"] <= STOP_SECONDS - 10


def test_a_malformed_wait_deletes_nothing(client, key, channel, tmp_path):
    upload(client, key, build_package(tmp_path))

    answer = client.delete(VERSION, params={"wait_for_index": "soon"}, headers=key)

    assert answer.status_code == 422
    assert client.get(VERSION).status_code == 200


def test_a_thousand_waits_hold_no_thread_and_are_all_told(
    client, key, channel, tmp_path, watch, deployment
):
    change = int(upload(client, key, build_package(tmp_path)).headers["quetz-change"])
    threads = threading.active_count()

    waits = [deployment.waits.add([change, change + 1, change + 2]) for _ in range(1000)]
    while_waiting = threading.active_count()
    publish_all(deployment)
    done, left = wait(waits, SECONDS)

    assert while_waiting <= threads  # those of earlier tests may end
    assert (len(done), len(left)) == (1000, 0)
    assert not deployment.waits


def test_many_requests_wait_at_once(app, owner_key, channel, tmp_path, publishing):
    """More than there are threads and connections."""
    packages = [build_package(tmp_path, name=f"name{number}") for number in range(60)]
    answers = []

    def send(package):
        client = TestClient(app, headers={"X-API-Key": owner_key})
        answers.append(upload(client, None, package, wait_for_index=SECONDS))

    senders = [threading.Thread(target=send, args=(package,)) for package in packages]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()

    assert {answer.headers["quetz-index"] for answer in answers} == {"published"}


def test_a_watch_that_cannot_look_tries_again_now_and_then(deployment, watch, monkeypatch):
    looks = []

    def fail(_session):
        looks.append(1)
        raise OSError("the database is away")

    numbers = iter(range(10**9))
    monkeypatch.setattr(deployment.waits, "list_published", fail)
    monkeypatch.setattr(deployment.changes, "number", lambda: next(numbers))
    future = deployment.waits.add([1])
    threading.Event().wait(1.2)
    deployment.waits.drop(future)

    assert 1 <= len(looks) <= 4
