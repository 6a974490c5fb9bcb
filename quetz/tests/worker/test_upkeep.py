"""What upkeep removes of the database."""

from sqlalchemy import select

from quetz.db.base import now_ms
from quetz.db.models import ApiKey, ApiKeyScope, IndexSuperseded, StoredObject, Upload
from quetz.services.api_keys import DEAD_KEPT
from quetz.storage.keys import parse_index_key
from quetz.testing.factories import make_channel, make_user
from quetz.testing.stores import put_bytes
from quetz.worker.collecting import collecting
from quetz.worker.upkeep import Upkeep

LONG_AGO = now_ms() - DEAD_KEPT - 60_000
LATELY = LONG_AGO + 86_400_000


def add_key(session, user, name, parent=None, **ends):
    parent_id = parent.id if parent else None
    key = ApiKey(
        public_id=name, secret_hash="", user_id=user.id, parent_id=parent_id, description="", **ends
    )
    session.add(key)
    session.flush()
    return key


def kept(deployment):
    with deployment.transaction() as session:
        return set(session.scalars(select(ApiKey.public_id)))


def test_keys_that_ended_long_ago_are_removed_with_their_roles(deployment):
    with deployment.transaction(write=True) as session:
        user, channel = make_user(session), make_channel(session)
        for name in ("revoked", "expired"):
            ended = {"revoked_at" if name == "revoked" else "expires_at": LONG_AGO}
            key = add_key(session, user, name, **ended)
            scope = {"channel_id": channel.id, "role": "member"}
            session.add(ApiKeyScope(api_key_id=key.id, **scope))
        add_key(session, user, "good")
        add_key(session, user, "revoked lately", revoked_at=LATELY)
        add_key(session, user, "expired lately", expires_at=LATELY)

    Upkeep(deployment).forget_keys()

    assert kept(deployment) == {"good", "revoked lately", "expired lately"}
    with deployment.transaction() as session:
        assert session.scalars(select(ApiKeyScope)).all() == []


def test_a_dead_key_stays_as_long_as_a_key_that_it_made(deployment):
    with deployment.transaction(write=True) as session:
        user = make_user(session)
        mother = add_key(session, user, "mother", revoked_at=LONG_AGO)
        add_key(session, user, "daughter", mother)
        other = add_key(session, user, "other", revoked_at=LONG_AGO)
        add_key(session, user, "others daughter"[:16], other, revoked_at=LONG_AGO)

    Upkeep(deployment).forget_keys()

    assert kept(deployment) == {"mother", "daughter"}


def test_room_that_a_killed_upload_held_is_given_back(deployment):
    with deployment.transaction(write=True) as session:
        channel = make_channel(session)
        for size, more in ((1, -1), (2, 60_000)):
            session.add(Upload(channel_id=channel.id, size=size, expires_at=now_ms() + more))

    Upkeep(deployment).release_dead()

    with deployment.transaction() as session:
        assert session.scalars(select(Upload.size)).all() == [2]


def test_index_files_that_nothing_names_are_looked_for_once_a_day(deployment):
    upkeep = Upkeep(deployment)
    left = f"index/1/noarch/{'a' * 8}.json"
    upkeep.collect_objects()
    deployment.store.write_index(parse_index_key(left), b"{}")

    upkeep.collect_objects()
    found_again = superseded(deployment)
    Upkeep(deployment).collect_objects()

    assert found_again == []
    assert superseded(deployment) == ["index/1"]  # of no channel


def superseded(deployment):
    with deployment.transaction() as session:
        return session.scalars(select(IndexSuperseded.key)).all()


def test_objects_are_collected_after_the_grace_of_the_settings_unless_another_does_it(
    deployment_path, request
):
    with (deployment_path / "config.toml").open("a") as file:
        file.write("[storage]\nobject_grace_days = 2\n")
    deployment = request.getfixturevalue("deployment")
    with deployment.transaction(write=True) as session:
        for content, days in ((b"old", 3), (b"young", 1)):
            sha256 = str(put_bytes(deployment.store, content)).rpartition("/")[2]
            touched_at = now_ms() - days * 86_400_000
            session.add(StoredObject(sha256=sha256, size=len(content), touched_at=touched_at))
    upkeep = Upkeep(deployment)

    with collecting(deployment):
        upkeep.collect_objects()
    left_alone = [size for _, size in deployment.store.list_objects()]
    upkeep.collect_objects()

    assert sorted(left_alone) == [3, 5]
    assert [size for _, size in deployment.store.list_objects()] == [5]
