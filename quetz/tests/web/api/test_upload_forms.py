import random
from pathlib import Path

import pytest

from quetz.db.models import Upload
from quetz.testing.packages import build_package
from quetz.tests.web.api.uploading import count, left_behind, other_bytes, upload


def post_form(client, key, *packages: Path, **fields):
    files = [("files", (package.name, package.read_bytes())) for package in packages]
    return client.post("/api/channels/forge/files/", files=files, data=fields, headers=key)


def post_to_package(client, key, *packages: Path):
    files = [("files", (package.name, package.read_bytes())) for package in packages]
    return client.post("/api/channels/forge/packages/pkg/files/", files=files, headers=key)


def test_a_form_adds_several_files(client, key, channel, tmp_path):
    packages = [build_package(tmp_path, name=name) for name in ("one", "two")]

    answer = post_form(client, key, *packages)

    assert answer.status_code == 201
    for package in packages:
        assert client.get(f"/get/forge/noarch/{package.name}").content == package.read_bytes()


def test_files_of_a_package_are_added_to_it(client, key, channel, tmp_path):
    upload(client, key, build_package(tmp_path))
    package = build_package(tmp_path, version="2.0")

    answer = post_to_package(client, key, package)

    assert answer.status_code == 201
    assert client.get(f"/get/forge/noarch/{package.name}").content == package.read_bytes()


def test_a_file_of_another_package_is_refused_with_all_of_its_form(
    client, key, channel, tmp_path, deployment
):
    upload(client, key, build_package(tmp_path))
    before = left_behind(deployment)

    answer = post_to_package(
        client, key, build_package(tmp_path, version="2.0"), build_package(tmp_path, name="other")
    )

    assert answer.status_code == 400
    assert "'other-1.0-0.conda' is no file of the package 'pkg'" in answer.json()["detail"]
    assert left_behind(deployment) == before


def test_files_of_a_package_that_is_not_there_are_answered_404(client, key, channel, tmp_path):
    answer = post_to_package(client, key, build_package(tmp_path))

    assert answer.status_code == 404
    assert "no package 'pkg'" in answer.json()["detail"]


def test_a_package_that_is_deleted_while_its_files_are_stored_does_not_come_back(
    client, key, channel, tmp_path, deployment, monkeypatch
):
    upload(client, key, build_package(tmp_path))
    put = deployment.store.put

    def put_late(stage, object_key):
        client.delete("/api/channels/forge/packages/pkg", headers=key)
        put(stage, object_key)

    monkeypatch.setattr(deployment.store, "put", put_late)
    answer = post_to_package(client, key, build_package(tmp_path, version="2.0"))

    assert answer.status_code == 404
    assert "no package 'pkg'" in answer.json()["detail"]
    assert client.get("/api/channels/forge/packages").json() == []


def test_a_form_with_one_bad_file_adds_none(client, key, channel, tmp_path, deployment):
    good = build_package(tmp_path, name="good")
    bad = tmp_path / "bad-1.0-0.conda"
    bad.write_bytes(b"no archive")
    before = left_behind(deployment)

    answer = post_form(client, key, good, bad)

    assert answer.status_code == 422
    assert "bad-1.0-0.conda" in answer.json()["detail"]
    assert left_behind(deployment) == before


def test_a_form_with_one_taken_name_adds_none(client, key, channel, tmp_path, deployment):
    upload(client, key, build_package(tmp_path, name="taken"))
    before = left_behind(deployment)

    answer = post_form(
        client, key, build_package(tmp_path, name="new"), other_bytes(tmp_path, name="taken")
    )

    assert answer.status_code == 409
    assert left_behind(deployment) == before


def test_a_nul_in_a_header_of_a_part_is_refused(client, key, channel, tmp_path):
    package = build_package(tmp_path)
    head = f'Content-Disposition: form-data; name="files"; filename="{package.name}"\r\nX-Nul: \0'
    body = b"--x\r\n%s\r\n\r\n%s\r\n--x--" % (head.encode(), package.read_bytes())
    headers = key | {"Content-Type": "multipart/form-data; boundary=x"}

    answer = client.post("/api/channels/forge/files/", content=body, headers=headers)

    assert answer.status_code == 422
    assert "NUL" in answer.json()["detail"]


def test_the_force_field_of_a_form_replaces_files(client, key, channel, tmp_path):
    upload(client, key, build_package(tmp_path))
    second = other_bytes(tmp_path)

    answer = post_form(client, key, second, force="true")

    assert answer.status_code == 201
    assert client.get(f"/get/forge/noarch/{second.name}").content == second.read_bytes()


@pytest.mark.parametrize(
    ("content_type", "content"),
    [
        pytest.param("application/json", b"{}", id="no form"),
        pytest.param("multipart/form-data", b"", id="no boundary"),
        pytest.param("multipart/form-data; boundary=x", b"", id="empty"),
        pytest.param("multipart/form-data; boundary=x", b"--y\r\n\r\n--y--", id="other boundary"),
        pytest.param(
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="files"; filename="pkg-1.0-0.conda"'
            b"\r\n\r\nabc",
            id="cut off",
        ),
        pytest.param(
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="force"\r\n\r\ntrue\r\n--x--\r\n',
            id="no file",
        ),
        pytest.param(
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="f"; filename="../x.conda"'
            b"\r\n\r\nabc\r\n--x--\r\n",
            id="a path for a name",
        ),
    ],
)
def test_a_malformed_form_is_refused_and_leaves_nothing(
    client, key, channel, deployment, content_type, content
):
    before = left_behind(deployment)

    answer = client.post(
        "/api/channels/forge/files/",
        content=content,
        headers={**key, "Content-Type": content_type},
    )

    assert answer.status_code == 422
    assert left_behind(deployment) == before


@pytest.fixture
def full(client, key, tmp_path):
    """A package that fills the channel ``forge``, which is still empty, to the last byte."""
    package = build_package(tmp_path)
    body = {"name": "forge", "private": False, "size_limit": package.stat().st_size}
    client.post("/api/channels", json=body, headers=key)
    return package


@pytest.mark.parametrize("post", [post_form, post_to_package])
def test_a_form_of_the_same_bytes_fits_into_a_full_channel(client, key, full, post):
    upload(client, key, full)

    assert post(client, key, full).status_code == 200


def test_a_form_fits_into_a_channel_that_its_files_fill(client, key, full, deployment):
    answer = post_form(client, key, full)

    assert answer.status_code == 201
    assert count(deployment, Upload) == 0


def test_a_form_that_brings_a_file_twice_counts_it_once(client, key, full):
    assert post_form(client, key, full, full).status_code == 201


@pytest.mark.parametrize("grows_first", [True, False])
def test_the_order_of_a_forms_files_decides_nothing_of_the_quota(
    client, key, full, tmp_path, grows_first
):
    large = other_bytes(tmp_path, files={"x": random.Random(0).randbytes(8000)})
    client.patch("/api/channels/forge", json={"size_limit": large.stat().st_size}, headers=key)
    assert upload(client, key, large).status_code == 201
    more = build_package(tmp_path, name="more", files={"x": random.Random(1).randbytes(4000)})
    assert full.stat().st_size + more.stat().st_size < large.stat().st_size
    form = [more, full] if grows_first else [full, more]

    answer = post_form(client, key, *form, force="true")

    assert answer.status_code == 201
    assert client.get(f"/get/forge/noarch/{more.name}").status_code == 200


def test_a_form_without_room_is_refused_and_leaves_nothing(client, key, full, tmp_path, deployment):
    upload(client, key, full)
    before = left_behind(deployment)

    answer = post_form(client, key, full, build_package(tmp_path, name="more"))

    assert answer.status_code == 422
    assert str(full.stat().st_size) in answer.json()["detail"]
    assert left_behind(deployment) == before


@pytest.mark.parametrize("chunks", [False, True])
def test_a_form_far_over_the_quota_is_refused_before_it_is_whole(client, key, full, chunks):
    part = b'--x\r\nContent-Disposition: form-data; name="f"; filename="pkg-1.0-0.conda"\r\n\r\n'
    pieces = [part, *[b"x" * (1 << 20)] * 2]

    answer = client.post(
        "/api/channels/forge/files/",
        content=iter(pieces) if chunks else b"".join(pieces),
        headers={**key, "Content-Type": "multipart/form-data; boundary=x"},
    )

    assert answer.status_code == (413 if chunks else 422)
    assert "bytes" in answer.json()["detail"]


def test_a_form_of_countless_fields_is_refused(client, key, channel):
    part = '--x\r\nContent-Disposition: form-data; name="f{}"\r\n\r\nvalue\r\n'
    content = "".join(part.format(number) for number in range(200)) + "--x--\r\n"

    answer = client.post(
        "/api/channels/forge/files/",
        content=content,
        headers={**key, "Content-Type": "multipart/form-data; boundary=x"},
    )

    assert answer.status_code == 422
    assert "fields" in answer.json()["detail"]


def test_a_form_of_files_that_say_more_than_memory_should_hold_is_refused(
    client, key, channel, tmp_path, deployment
):
    packages = [build_package(tmp_path, version=f"1.{n}", junk=[[]] * 19_000) for n in range(16)]
    before = left_behind(deployment)

    answer = post_form(client, key, *packages)

    assert answer.status_code == 413
    assert "about.json of the first 14 files" in answer.json()["message"]
    assert "upload fewer files at once" in answer.json()["message"]
    assert left_behind(deployment) == before
    assert post_form(client, key, *packages[:12]).status_code == 201
