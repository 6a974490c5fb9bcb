"""What is collected of objects, and what never is; see test_collecting_races.py, too."""

import json
from contextlib import closing

import pytest
from sqlalchemy import select, update

from quetz.db.base import now_ms
from quetz.db.models import Event, StoredObject, Upload
from quetz.db.queries.channels import get_channel
from quetz.deployment import Deployment
from quetz.services.objects import DAY_MS
from quetz.testing.packages import build_package
from quetz.testing.stores import put_bytes
from quetz.tests.web.api.uploading import other_bytes, upload
from quetz.worker.collecting import Collection, collect, collecting

GRACE = 30 * DAY_MS
FILE = "/api/channels/forge/packages/pkg/versions/noarch/pkg-1.0-0.conda"


@pytest.fixture
def package(owner_client, tmp_path):
    """Two channels, in the first of which a package is."""
    for name in ("forge", "stable"):
        owner_client.post("/api/channels", json={"name": name, "private": False})
    package = build_package(tmp_path)
    assert upload(owner_client, None, package).status_code == 201
    return package


def pass_days(deployment, days):
    """Let everything have happened so long ago."""
    with deployment.transaction(write=True) as session:
        earlier = StoredObject.touched_at - days * DAY_MS
        session.execute(update(StoredObject).values(touched_at=earlier))


def stored(deployment):
    """Return the number of objects in the store, after a look that rows say the same."""
    with deployment.transaction() as session:
        rows = set(session.scalars(select(StoredObject.sha256)))
    objects = {sha256 for sha256, _ in deployment.store.list_objects()}
    assert rows == objects
    return len(objects)


def test_the_bytes_of_a_deleted_file_go_after_the_grace(owner_client, deployment, package):
    size = package.stat().st_size
    pass_days(deployment, 1000)
    owner_client.delete(FILE)

    at_once = collect(deployment, grace_ms=GRACE)
    pass_days(deployment, 29)
    in_time = collect(deployment, grace_ms=GRACE)
    pass_days(deployment, 2)
    late = collect(deployment, grace_ms=GRACE)

    assert at_once == in_time == Collection()
    assert late == Collection(objects=1, bytes=size)
    assert stored(deployment) == 0


@pytest.mark.parametrize(
    "delete",
    [
        pytest.param(FILE, id="file"),
        pytest.param("/api/channels/forge/packages/pkg", id="package"),
        pytest.param("/api/channels/forge", id="channel"),
    ],
)
def test_the_grace_counts_from_the_delete(owner_client, deployment, package, delete):
    pass_days(deployment, 1000)
    before = now_ms()

    assert owner_client.delete(delete).is_success

    with deployment.transaction() as session:
        assert session.scalars(select(StoredObject.touched_at)).one() >= before
    assert collect(deployment, grace_ms=GRACE).objects == 0
    pass_days(deployment, 31)
    assert collect(deployment, grace_ms=GRACE).objects == 1
    assert stored(deployment) == 0


def test_what_a_file_names_is_never_removed(owner_client, client, deployment, package):
    pass_days(deployment, 1000)

    done = collect(deployment, grace_ms=0)

    assert done == Collection()
    path = f"/get/forge/noarch/{package.name}"
    assert client.get(path).content == package.read_bytes()


def test_a_copy_in_another_channel_keeps_the_bytes(owner_client, client, deployment, package):
    source = {
        "source_channel": "forge",
        "source_package": "pkg",
        "subdir": "noarch",
        "filename": package.name,
    }
    owner_client.post("/api/channels/stable/packages/copy", params=source)
    owner_client.delete("/api/channels/forge")
    pass_days(deployment, 1000)

    done = collect(deployment, grace_ms=GRACE)

    assert done.objects == 0
    path = f"/get/stable/noarch/{package.name}"
    assert client.get(path).content == package.read_bytes()


def test_what_is_uploaded_again_after_a_delete_stays(owner_client, client, deployment, package):
    owner_client.delete(FILE)
    pass_days(deployment, 1000)
    assert upload(owner_client, None, package).status_code == 201
    pass_days(deployment, 1000)

    done = collect(deployment, grace_ms=GRACE)

    assert done.objects == 0
    path = f"/get/forge/noarch/{package.name}"
    assert client.get(path).content == package.read_bytes()


def test_the_grace_of_what_was_replaced_counts_from_then(owner_client, deployment, package):
    other = other_bytes(package.parent)
    pass_days(deployment, 1000)
    assert upload(owner_client, None, other, force=True).status_code == 201

    assert collect(deployment, grace_ms=GRACE).objects == 0
    pass_days(deployment, 31)
    assert collect(deployment, grace_ms=GRACE).objects == 1
    assert stored(deployment) == 1


def test_what_is_replaced_and_put_back_stays(owner_client, client, deployment, package):
    other = other_bytes(package.parent)
    upload(owner_client, None, other, force=True)
    pass_days(deployment, 1000)
    assert upload(owner_client, None, package, force=True).status_code == 201
    pass_days(deployment, 1000)

    done = collect(deployment, grace_ms=GRACE)

    assert done.objects == 1  # of the other bytes
    path = f"/get/forge/noarch/{package.name}"
    assert client.get(path).content == package.read_bytes()


@pytest.mark.parametrize(
    ("setting", "delete"),
    [
        ("soft_delete_channel", "/api/channels/forge"),
        ("soft_delete_package", "/api/channels/forge/packages/pkg"),
    ],
)
@pytest.mark.parametrize("is_soft", [True, False])
def test_what_was_deleted_softly_is_kept(
    deployment_path, setting, delete, is_soft, request, tmp_path
):
    with (deployment_path / "config.toml").open("a") as file:
        file.write(f"[storage]\n{setting} = {str(is_soft).lower()}\n")
    request.getfixturevalue("package")
    deployment = request.getfixturevalue("deployment")
    assert request.getfixturevalue("owner_client").delete(delete).is_success
    pass_days(deployment, 1000)

    done = collect(deployment, grace_ms=0)

    assert done.objects == (0 if is_soft else 1)
    assert stored(deployment) == (1 if is_soft else 0)


def test_a_dry_run_says_the_same_and_changes_nothing(owner_client, deployment, package):
    owner_client.delete(FILE)
    pass_days(deployment, 31)
    stray = put_bytes(deployment.store, b"stray")
    with deployment.transaction(write=True) as session:
        channel = get_channel(session, "forge")
        session.add(Upload(channel_id=channel.id, size=1, expires_at=1))

    said = collect(deployment, grace_ms=GRACE, dry_run=True)
    twice = collect(deployment, grace_ms=GRACE, dry_run=True)
    done = collect(deployment, grace_ms=GRACE)

    assert said == twice == done
    assert done == Collection(objects=1, bytes=package.stat().st_size, adopted=1, reservations=1)
    assert deployment.store.size(stray)


def test_an_object_that_no_upload_recorded_goes_after_the_grace(deployment):
    put_bytes(deployment.store, b"stray")

    adopted = collect(deployment, grace_ms=GRACE)
    pass_days(deployment, 29)
    in_time = collect(deployment, grace_ms=GRACE)
    pass_days(deployment, 2)
    late = collect(deployment, grace_ms=GRACE)

    assert (adopted, in_time) == (Collection(adopted=1), Collection())
    assert late == Collection(objects=1, bytes=5)
    assert stored(deployment) == 0


def test_an_upload_may_record_an_object_that_was_adopted(owner_client, client, deployment, package):
    other = build_package(package.parent, version="2.0")
    put_bytes(deployment.store, other.read_bytes())
    collect(deployment, grace_ms=GRACE)
    pass_days(deployment, 31)

    upload(owner_client, None, other)
    done = collect(deployment, grace_ms=GRACE)

    assert done == Collection()
    path = f"/get/forge/noarch/{other.name}"
    assert client.get(path).content == other.read_bytes()


def test_expired_reservations_of_any_channel_go_and_live_ones_stay(
    owner_client, deployment, package
):
    with deployment.transaction(write=True) as session:
        for name in ("forge", "stable"):
            channel = get_channel(session, name)
            session.add(Upload(channel_id=channel.id, size=1, expires_at=now_ms() - 1))
        session.add(Upload(channel_id=channel.id, size=2, expires_at=now_ms() + 60_000))

    done = collect(deployment, grace_ms=GRACE)

    assert done.reservations == 2
    with deployment.transaction() as session:
        assert session.scalars(select(Upload.size)).all() == [2]


def test_a_collection_that_removed_objects_is_in_the_audit_log(owner_client, deployment, package):
    size = package.stat().st_size
    owner_client.delete(FILE)
    pass_days(deployment, 31)

    collect(deployment, grace_ms=GRACE)
    collect(deployment, grace_ms=GRACE)

    with deployment.transaction() as session:
        events = session.scalars(select(Event).where(Event.action == "objects.collect")).all()
        [event] = events
    assert event.actor == "operator"
    assert json.loads(event.before) == {"objects": 1, "bytes": size}


def test_one_at_a_time_collects(deployment, deployment_path):
    with (
        closing(Deployment.open(deployment_path)) as other,
        collecting(deployment) as first,
        collecting(other) as second,
    ):
        assert (first, second) == (True, False)
    with collecting(deployment) as again:
        assert again


def test_a_stop_leaves_the_rest_to_the_next_time(deployment):
    put_bytes(deployment.store, b"stray")
    collect(deployment, grace_ms=GRACE)
    pass_days(deployment, 31)

    stopped = collect(deployment, grace_ms=GRACE, stopped=lambda: True)

    assert stopped == Collection()
    assert stored(deployment) == 1


def test_a_touch_is_later_than_the_one_before_whatever_the_clock_says(
    owner_client, deployment, package
):
    ahead = now_ms() + DAY_MS
    with deployment.transaction(write=True) as session:
        session.execute(update(StoredObject).values(touched_at=ahead))

    owner_client.delete(FILE)
    upload(owner_client, None, package)

    with deployment.transaction() as session:
        assert session.scalars(select(StoredObject.touched_at)).one() == ahead + 2
