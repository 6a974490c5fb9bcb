import json
from concurrent.futures import ThreadPoolExecutor, wait

import pytest
from sqlalchemy import select

from quetz.db.models import Channel, Event, File, IndexDirty
from quetz.db.queries.channels import get_channel, lock_channel
from quetz.services.accounts import set_role
from quetz.services.files import delete_file, get_file
from quetz.services.members import remove_member
from quetz.services.permissions import OPERATOR, Role
from quetz.services.yanks import yank_file
from quetz.testing.packages import build_package
from quetz.testing.publishing import publish_all
from quetz.tests.web.api.uploading import count, left_behind, other_bytes, upload

COPY = "/api/channels/stable/packages/copy"
NAME = "pkg-1.0-0.conda"
SOURCE = {
    "source_channel": "forge",
    "source_package": "pkg",
    "subdir": "noarch",
    "filename": NAME,
}


@pytest.fixture
def package(alice, tmp_path):
    """Two channels, in the first of which a package is."""
    for name in ("forge", "stable"):
        alice.post("/api/channels", json={"name": name, "private": False})
    package = build_package(
        tmp_path, run_exports=["pkg >=1"], about={"summary": "Copied"}, unknown={"a": [1]}
    )
    assert upload(alice, None, package).status_code == 201
    return package


def rows(deployment):
    with deployment.transaction() as session:
        query = select(Channel.name, File).join(File, File.channel_id == Channel.id)
        return {row[0]: row[1] for row in session.execute(query)}


def test_a_copy_is_the_file_by_reference(alice, deployment, package):
    objects = list(deployment.store.list_objects())

    copied = alice.post(COPY, params=SOURCE)

    source, copy = rows(deployment)["forge"], rows(deployment)["stable"]
    assert (copied.status_code, copied.json()) == (201, None)
    assert copied.headers["ETag"] == f'"{source.sha256}"'
    assert int(copied.headers["Quetz-Change"]) > 0
    assert list(deployment.store.list_objects()) == objects
    for column in ("subdir", "name", "filename", "version", "build", "build_number", "size"):
        assert getattr(copy, column) == getattr(source, column)
    for column in ("sha256", "md5", "run_exports", "about"):
        assert getattr(copy, column) == getattr(source, column)
    before, after = json.loads(source.record), json.loads(copy.record)
    assert after.pop("indexed_timestamp") > before.pop("indexed_timestamp")
    assert after == before


def test_a_copy_is_described_counted_published_and_downloaded(
    alice, anonymous, deployment, package
):
    alice.post(COPY, params=SOURCE)
    publish_all(deployment)

    described = anonymous.get("/api/channels/stable/packages/pkg").json()
    assert (described["summary"], described["current_version"]) == ("Copied", "1.0")
    assert anonymous.get("/api/channels/stable").json()["packages_count"] == 1
    assert anonymous.get(f"/get/stable/noarch/{NAME}").content == package.read_bytes()
    repodata = anonymous.get("/get/stable/noarch/repodata.json").json()
    assert list(repodata["packages.conda"]) == [NAME]
    with deployment.transaction() as session:
        last = session.scalars(select(Event).order_by(Event.id.desc()).limit(1)).one()
        channel = session.scalars(select(Channel).where(Channel.name == "stable")).one()
        assert (last.action, last.channel, last.subject) == (
            "package.copy",
            "stable",
            f"noarch/{NAME}",
        )
        assert channel.size == package.stat().st_size


@pytest.mark.usefixtures("package")
def test_the_same_bytes_again_change_nothing(alice, deployment):
    alice.post(COPY, params=SOURCE)
    before = left_behind(deployment)

    again = alice.post(COPY, params=SOURCE)
    itself = alice.post("/api/channels/forge/packages/copy", params=SOURCE)

    assert (again.status_code, itself.status_code) == (200, 200)
    assert "Quetz-Change" not in again.headers
    assert left_behind(deployment) == before


@pytest.mark.usefixtures("package")
def test_a_name_of_other_bytes_is_kept_for_them(alice, deployment, tmp_path):
    other = other_bytes(tmp_path)
    upload(alice, None, other, channel="stable")

    taken = alice.post(COPY, params=SOURCE)
    alice.delete(f"/api/channels/stable/packages/pkg/versions/noarch/{NAME}")
    reserved = alice.post(COPY, params=SOURCE)

    assert (taken.status_code, reserved.status_code) == (409, 409)
    assert "stable" not in rows(deployment)


@pytest.mark.usefixtures("package")
def test_an_owner_replaces_other_bytes_by_a_copy(alice, make_client, deployment, tmp_path):
    bob = make_client("bob")
    for name, role in {"stable": "maintainer", "forge": "member"}.items():
        path = f"/api/channels/{name}/members"
        alice.post(path, json={"username": "bob", "role": role})
    upload(alice, None, other_bytes(tmp_path), channel="stable")
    forced = SOURCE | {"force": "true"}

    assert bob.post(COPY, params=forced).status_code == 403
    assert alice.post(COPY, params=forced).status_code == 201
    assert rows(deployment)["stable"].sha256 == rows(deployment)["forge"].sha256
    with deployment.transaction() as session:
        last = session.scalars(select(Event).order_by(Event.id.desc()).limit(1)).one()
        assert (last.action, last.channel) == ("file.overwrite", "stable")


@pytest.mark.usefixtures("package")
def test_a_deleted_copy_is_made_again_of_the_same_bytes(alice, deployment):
    alice.post(COPY, params=SOURCE)
    alice.delete(f"/api/channels/stable/packages/pkg/versions/noarch/{NAME}")

    assert alice.post(COPY, params=SOURCE).status_code == 201
    assert "stable" in rows(deployment)


def test_a_copy_outlives_its_source(alice, anonymous, package):
    alice.post(COPY, params=SOURCE)
    alice.delete("/api/channels/forge")

    assert anonymous.get(f"/get/stable/noarch/{NAME}").content == package.read_bytes()


def test_a_copy_needs_room_in_its_channel(alice, make_client, deployment, package):
    with deployment.transaction(write=True) as session:
        channel = session.scalars(select(Channel).where(Channel.name == "stable")).one()
        channel.size_limit = package.stat().st_size - 1

    refused = alice.post(COPY, params=SOURCE)

    assert (refused.status_code, "size_limit" in refused.json()["message"]) == (422, True)
    assert "stable" not in rows(deployment)


@pytest.mark.usefixtures("package")
def test_a_yanked_file_is_not_copied(alice, deployment):
    alice.post(f"/api/channels/forge/packages/pkg/versions/noarch/{NAME}/yank")

    refused = alice.post(COPY, params=SOURCE)

    assert (refused.status_code, "restore it" in refused.json()["message"]) == (409, True)
    assert "stable" not in rows(deployment)


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(
    "changed",
    [
        {"source_channel": "none"},
        {"source_channel": "no/ne"},
        {"source_package": "none"},
        {"subdir": "linux-64"},
        {"filename": "pkg-2.0-0.conda"},
        {"filename": "x"},
    ],
)
def test_a_source_that_is_missing_is_not_found(alice, deployment, changed):
    before = left_behind(deployment)

    assert alice.post(COPY, params=SOURCE | changed).status_code == 404
    assert left_behind(deployment) == before


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize("changed", [{"filename": None}, {"subdir": "\0"}])
def test_a_malformed_source_is_refused(alice, changed):
    params = {key: value for key, value in (SOURCE | changed).items() if value is not None}

    assert alice.post(COPY, params=params).status_code == 422


@pytest.mark.usefixtures("package")
def test_a_source_that_is_hidden_is_as_one_that_is_missing(alice, make_client, deployment):
    bob = make_client("bob")
    alice.post("/api/channels/stable/members", json={"username": "bob", "role": "maintainer"})
    alice.patch("/api/channels/forge", json={"private": True})
    marks = count(deployment, IndexDirty)

    hidden = bob.post(COPY, params=SOURCE)
    missing = bob.post(COPY, params=SOURCE | {"source_channel": "none"})

    assert (hidden.status_code, hidden.content) == (404, missing.content)
    assert count(deployment, IndexDirty) == marks
    alice.post("/api/channels/forge/members", json={"username": "bob", "role": "member"})
    assert bob.post(COPY, params=SOURCE).status_code == 201


@pytest.mark.usefixtures("package")
def test_who_may_not_change_the_channel_copies_nothing_into_it(alice, anonymous, make_client):
    bob = make_client("bob")
    alice.post("/api/channels/stable/members", json={"username": "bob", "role": "member"})
    alice.post("/api/channels/stable/packages", json={"name": "pkg"})
    carol = make_client("carol")
    path = "/api/channels/stable/packages/pkg/members"
    alice.post(path, json={"username": "carol", "role": "owner"})

    assert anonymous.post(COPY, params=SOURCE).status_code == 401
    assert bob.post(COPY, params=SOURCE).status_code == 403
    assert carol.post(COPY, params=SOURCE).status_code == 403


def lose_membership(session, forge):
    remove_member(session, OPERATOR, forge, "bob")


def lose_role_on_the_server(session, _forge):
    set_role(session, OPERATOR, "mia", None)


def yank_source(session, forge):
    source = get_file(session, forge, "pkg", "noarch", NAME)
    yank_file(session, OPERATOR, forge, source, reason=None)


def delete_source(session, forge):
    delete_file(session, OPERATOR, forge, get_file(session, forge, "pkg", "noarch", NAME))


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(
    ("who", "change", "status"),
    [
        pytest.param("bob", lose_membership, 404, id="no member any more"),
        pytest.param("mia", lose_role_on_the_server, 404, id="demoted"),
        pytest.param("bob", yank_source, 409, id="yanked"),
        pytest.param("bob", delete_source, 404, id="deleted"),
    ],
)
def test_a_copy_that_waited_sees_what_became_of_its_source(
    alice, make_client, deployment, who, change, status
):
    alice.patch("/api/channels/forge", json={"private": True})
    clients = {"bob": make_client("bob"), "mia": make_client("mia", role=Role.MAINTAINER)}
    for name, role in {"stable": "maintainer", "forge": "member"}.items():
        alice.post(f"/api/channels/{name}/members", json={"username": "bob", "role": role})
    alice.post("/api/channels/stable/members", json={"username": "mia", "role": "maintainer"})

    with ThreadPoolExecutor() as pool, deployment.transaction(write=True) as session:
        for name in ("forge", "stable"):
            lock_channel(session, get_channel(session, name))
        copying = pool.submit(clients[who].post, COPY, params=SOURCE)
        wait([copying], timeout=0.5)  # let it come as far as it can
        change(session, get_channel(session, "forge"))

    assert copying.result().status_code == status
    assert "stable" not in rows(deployment)
