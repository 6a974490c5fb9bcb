import hashlib

import pytest

from quetz.db.models import Event, Tombstone, Upload
from quetz.testing.packages import build_package
from quetz.tests.web.api.uploading import count, left_behind, other_bytes, upload
from quetz.tests.web.conftest import make_key


@pytest.mark.parametrize("suffix", [".conda", ".tar.bz2"])
def test_an_upload_is_answered_201_with_its_hash_and_its_change(
    client, key, channel, tmp_path, suffix
):
    package = build_package(tmp_path, suffix=suffix)

    answer = upload(client, key, package)

    digest = hashlib.sha256(package.read_bytes()).hexdigest()
    assert (answer.status_code, answer.json()) == (201, None)
    assert answer.headers["etag"] == f'"{digest}"'
    assert int(answer.headers["quetz-change"]) > 0


def test_an_uploaded_file_can_be_downloaded_at_once(client, key, channel, tmp_path):
    package = build_package(tmp_path)

    upload(client, key, package)

    answer = client.get(f"/get/forge/noarch/{package.name}")
    assert answer.content == package.read_bytes()


def test_a_chunked_body_without_length_is_taken(client, key, channel, tmp_path):
    package = build_package(tmp_path)
    data = package.read_bytes()

    answer = client.post(
        f"/api/channels/forge/upload/{package.name}",
        content=iter([data[:100], data[100:]]),
        headers=key,
    )

    assert answer.status_code == 201


def test_the_record_keeps_unknown_fields_and_gains_hashes_and_its_time(
    client, key, channel, tmp_path, deployment
):
    package = build_package(tmp_path, purls=["pkg:pypi/pkg"], license="BSD-3-Clause")

    upload(client, key, package)

    info = client.get("/api/channels/forge/packages/pkg/versions").json()[0]["info"]
    assert info["purls"] == ["pkg:pypi/pkg"]
    assert info["license"] == "BSD-3-Clause"
    assert info["sha256"] == hashlib.sha256(package.read_bytes()).hexdigest()
    assert info["size"] == package.stat().st_size
    assert info["indexed_timestamp"] > 1_600_000_000_000


def test_the_same_bytes_again_are_answered_200_and_change_nothing(
    client, key, channel, tmp_path, deployment
):
    package = build_package(tmp_path)
    upload(client, key, package)
    before = left_behind(deployment)

    answer = upload(client, key, package)

    assert answer.status_code == 200
    assert left_behind(deployment) == before


def test_other_bytes_under_a_taken_name_are_refused_naming_both_hashes(
    client, key, channel, tmp_path, deployment
):
    first, second = build_package(tmp_path), other_bytes(tmp_path)
    upload(client, key, first)
    before = left_behind(deployment)

    answer = upload(client, key, second)

    assert answer.status_code == 409
    assert left_behind(deployment) == before
    for package in (first, second):
        assert hashlib.sha256(package.read_bytes()).hexdigest() in answer.json()["detail"]
    assert client.get(f"/get/forge/noarch/{first.name}").content == first.read_bytes()


def test_force_replaces_a_file_and_keeps_the_old_object(client, key, channel, tmp_path, deployment):
    first, second = build_package(tmp_path), other_bytes(tmp_path)
    upload(client, key, first)

    answer = upload(client, key, second, force="true")

    assert answer.status_code == 201
    assert client.get(f"/get/forge/noarch/{second.name}").content == second.read_bytes()
    assert len(list(deployment.store.list_objects())) == 2
    assert client.get("/api/channels/forge").json()["packages_count"] == 1


def test_force_takes_the_role_of_an_owner(client, key, channel, tmp_path, deployment):
    maintainer = {"X-API-Key": make_key(deployment, "bob")}
    body = {"username": "bob", "role": "maintainer"}
    client.post("/api/channels/forge/members", json=body, headers=key)
    upload(client, maintainer, build_package(tmp_path))
    before = left_behind(deployment)

    answer = upload(client, maintainer, other_bytes(tmp_path), force="true")

    assert answer.status_code == 403
    assert "owner" in answer.json()["detail"]
    assert left_behind(deployment) == before


def test_a_deleted_name_stays_reserved_for_its_bytes(client, key, channel, tmp_path, deployment):
    first, second = build_package(tmp_path), other_bytes(tmp_path)
    upload(client, key, first)
    client.delete(f"/api/channels/forge/packages/pkg/versions/noarch/{first.name}", headers=key)

    refused = upload(client, key, second)
    restored = upload(client, key, first)

    assert refused.status_code == 409
    assert "deleted" in refused.json()["detail"]
    assert restored.status_code == 201
    assert count(deployment, Tombstone) == 0


def test_a_wrong_checksum_is_refused_and_leaves_nothing(client, key, channel, tmp_path, deployment):
    before = left_behind(deployment)

    answer = upload(client, key, build_package(tmp_path), sha256="0" * 64)

    assert answer.status_code == 422
    assert "sha256" in answer.json()["detail"]
    assert left_behind(deployment) == before


def test_a_file_whose_name_differs_from_its_metadata_is_refused(
    client, key, channel, tmp_path, deployment
):
    package = build_package(tmp_path)
    before = left_behind(deployment)

    answer = client.post(
        "/api/channels/forge/upload/pkg-2.0-0.tar.bz2",
        content=build_package(tmp_path, suffix=".tar.bz2").read_bytes(),
        headers=key,
    )

    assert package.name == "pkg-1.0-0.conda"
    assert answer.status_code == 422
    assert "version" in answer.json()["detail"]
    assert left_behind(deployment) == before


def test_each_upload_leaves_one_event(client, key, channel, tmp_path, deployment):
    before = count(deployment, Event)

    upload(client, key, build_package(tmp_path))

    with deployment.transaction() as session:
        event = session.query(Event).order_by(Event.id.desc()).first()
    assert count(deployment, Event) == before + 1
    assert (event.actor, event.action, event.subject) == (
        "alice",
        "file.upload",
        "noarch/pkg-1.0-0.conda",
    )


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param({}, 401, id="nobody"),
        pytest.param({"X-API-Key": "qz-unknown"}, 401, id="a key that is none"),
    ],
)
def test_who_may_not_upload_is_refused_before_the_body_is_read(client, channel, headers, status):
    def body():
        raise AssertionError("the body was read")
        yield b""

    answer = client.post(
        "/api/channels/forge/upload/pkg-1.0-0.conda", content=body(), headers=headers
    )

    assert answer.status_code == status


def test_a_private_channel_and_a_missing_one_are_refused_alike(client, key):
    client.post("/api/channels", json={"name": "secret", "private": True}, headers=key)

    answers = [
        client.post(f"/api/channels/{name}/upload/pkg-1.0-0.conda", content=b"")
        for name in ("secret", "missing")
    ]

    assert answers[0].status_code == answers[1].status_code == 401
    assert answers[0].content == answers[1].content
    assert "Bearer" in answers[0].headers["www-authenticate"]


def test_a_body_over_the_quota_is_refused_before_it_is_read(client, key, tmp_path, deployment):
    package = build_package(tmp_path)
    limit = package.stat().st_size - 1
    body = {"name": "small", "private": False, "size_limit": limit}
    client.post("/api/channels", json=body, headers=key)

    answer = upload(client, key, package, channel="small")

    assert answer.status_code == 422
    assert str(limit) in answer.json()["detail"]


def test_a_length_beyond_all_numbers_is_answered_413_with_the_limit(client, key, channel):
    headers = key | {"Content-Length": "9" * 20}

    answer = client.post("/api/channels/forge/upload/pkg-1.0-0.conda", content=b"", headers=headers)

    assert answer.status_code == 413
    assert "the upload exceeds the limit of 8589934592 bytes" in answer.json()["message"]


def test_a_reservation_ends_with_its_upload(client, key, tmp_path, deployment):
    package = build_package(tmp_path)
    body = {"name": "small", "private": False, "size_limit": package.stat().st_size}
    client.post("/api/channels", json=body, headers=key)

    broken = client.post(
        f"/api/channels/small/upload/{package.name}", content=b"broken", headers=key
    )
    whole = upload(client, key, package, channel="small")

    assert (broken.status_code, whole.status_code) == (422, 201)
    assert count(deployment, Upload) == 0


def test_the_same_bytes_again_fit_into_a_full_channel(client, key, tmp_path):
    package = build_package(tmp_path)
    body = {"name": "full", "private": False, "size_limit": package.stat().st_size}
    client.post("/api/channels", json=body, headers=key)

    answers = [upload(client, key, package, channel="full") for _ in range(2)]

    assert [answer.status_code for answer in answers] == [201, 200]


@pytest.mark.usefixtures("own_event_loops")
def test_a_body_of_unknown_length_locks_nobody_out_of_a_quota(client, key, tmp_path):
    first, second = (build_package(tmp_path, name=name) for name in ("one", "two"))
    size = first.stat().st_size + second.stat().st_size
    body = {"name": "small", "private": False, "size_limit": size}
    client.post("/api/channels", json=body, headers=key)
    meanwhile = []

    def slow_body():
        meanwhile.append(upload(client, key, second, channel="small").status_code)
        yield first.read_bytes()

    answer = client.post(
        f"/api/channels/small/upload/{first.name}", content=slow_body(), headers=key
    )

    assert (meanwhile, answer.status_code) == ([201], 201)


HOTFIXES = {
    "a text": b"no instructions",
    "version 3": b'{"patch_instructions_version": 3}',
    "a wrong field": b'{"packages":{"a-1-0.tar.bz2":{"depends":1}},"patch_instructions_version":1}',
}


@pytest.mark.parametrize("suffix", [".conda", ".tar.bz2"])
@pytest.mark.parametrize("document", [*HOTFIXES.values(), None], ids=[*HOTFIXES, "nothing"])
def test_hotfixes_that_cannot_be_applied_are_refused(
    client, key, channel, tmp_path, deployment, suffix, document
):
    files = {} if document is None else {"noarch/patch_instructions.json": document}
    hotfixes = build_package(tmp_path, "forge-repodata-patches", suffix=suffix, files=files)
    before = left_behind(deployment)

    answer = upload(client, key, hotfixes)

    assert answer.status_code == 422
    assert f"'{hotfixes.name}'" in answer.json()["detail"]
    assert "/patch_instructions.json" in answer.json()["detail"]
    assert left_behind(deployment) == before


def test_a_package_that_only_looks_like_hotfixes_is_taken(client, key, channel, tmp_path):
    package = build_package(tmp_path, "other-repodata-patches")

    assert upload(client, key, package).status_code == 201
