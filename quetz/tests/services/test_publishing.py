import fnmatch
import hashlib
import json
from typing import Self

import pytest
from sqlalchemy import event
from sqlalchemy.orm import Session

from quetz.conda.shards import decode_shard_index
from quetz.conda.zstd import decompress
from quetz.db.base import now_ms
from quetz.db.models import Channel, File, IndexDirty, IndexSuperseded
from quetz.deployment import Deployment
from quetz.services.channels import delete_channel
from quetz.services.collecting import (
    FILE_GRACE_MS,
    NEVER_MORE_THAN,
    SHARD_GRACE_MS,
    collect_superseded,
)
from quetz.services.index_builds import build
from quetz.services.index_checks import find_torn
from quetz.services.permissions import OPERATOR
from quetz.services.publishing import (
    CHANNEL_WIDE,
    CHANNELDATA,
    CHANNELDATA_ZST,
    REPODATA,
    REPODATA_ZST,
    RUN_EXPORTS_ZST,
    SHARD_INDEX,
    SHARDS,
    Batch,
    StaleBuild,
    Switch,
    flip,
    list_published,
    mark_dirty,
    mark_for_rebuild,
    read_batch,
    read_file,
    shard_key,
)
from quetz.storage.keys import parse_index_key
from quetz.testing.factories import make_channel, make_file
from quetz.testing.publishing import publish_all
from quetz.worker.publisher import publish

LIMIT = 1 << 30


@pytest.fixture
def channel(deployment: Deployment) -> Channel:
    with deployment.transaction(write=True) as session:
        return make_channel(session, "forge")


def add_files(deployment: Deployment, channel: Channel, *filenames: str) -> None:
    with deployment.transaction(write=True) as session:
        for filename in filenames:
            file = make_file(session, channel, filename=filename, subdir="linux-64")
            mark_dirty(session, channel.id, "linux-64", file.name)


def remove_version(deployment: Deployment, channel: Channel, version: str) -> None:
    with deployment.transaction(write=True) as session:
        session.query(File).filter(File.version == version).delete()
        mark_dirty(session, channel.id, "linux-64", "numpy")


def stored(deployment: Deployment, switch: Switch, form: str) -> bytes:
    """Return a published file, unpacked."""
    with deployment.transaction() as session:
        file = list_published(session, switch.channel_id)[switch].files[form]
    data = read_file(deployment.store, file)
    assert data is not None
    return decompress(data, LIMIT)


def shards_of(deployment: Deployment, channel: Channel) -> dict[str, bytes]:
    switch = Switch(channel.id, "linux-64", SHARDS)
    return decode_shard_index(stored(deployment, switch, SHARD_INDEX))


def read_marked(session: Session, switch: Switch) -> Batch:
    batch = read_batch(session, switch)
    assert batch is not None
    return batch


def test_a_published_file_is_in_every_form(deployment, channel):
    add_files(deployment, channel, "numpy-2.1.0-0.conda")

    publish_all(deployment)

    repodata = Switch(channel.id, "linux-64", REPODATA)
    channeldata = Switch(channel.id, CHANNEL_WIDE, CHANNELDATA)
    assert list(shards_of(deployment, channel)) == ["numpy"]
    assert b"numpy-2.1.0-0.conda" in stored(deployment, repodata, REPODATA_ZST)
    assert b"numpy-2.1.0-0.conda" in stored(deployment, repodata, RUN_EXPORTS_ZST)
    assert list(json.loads(stored(deployment, channeldata, CHANNELDATA_ZST))["packages"]) == [
        "numpy"
    ]


def test_publishing_leaves_no_mark(deployment, channel):
    add_files(deployment, channel, "numpy-2.1.0-0.conda", "scipy-1.0-0.conda")

    publish_all(deployment)

    with deployment.transaction() as session:
        assert session.query(IndexDirty).count() == 0


def test_a_name_without_files_leaves_the_index(deployment, channel):
    add_files(deployment, channel, "numpy-2.1.0-0.conda", "scipy-1.0-0.conda")
    publish_all(deployment)

    with deployment.transaction(write=True) as session:
        session.query(File).filter(File.name == "numpy").delete()
        mark_dirty(session, channel.id, "linux-64", "numpy")
    publish_all(deployment)

    assert list(shards_of(deployment, channel)) == ["scipy"]


def test_the_shard_index_names_shards_by_the_hash_of_their_bytes(deployment, channel):
    add_files(deployment, channel, "numpy-2.1.0-0.conda")

    publish_all(deployment)

    digest = shards_of(deployment, channel)["numpy"]
    switch = Switch(channel.id, "linux-64", SHARDS)
    data = deployment.store.read_index(shard_key(switch, digest.hex()))
    assert hashlib.sha256(data).digest() == digest


def test_publishing_shards_reads_only_the_records_of_the_changed_names(deployment, channel):
    add_files(deployment, channel, *(f"other{i}-1.0-0.conda" for i in range(50)))
    publish_all(deployment)
    add_files(deployment, channel, "numpy-2.1.0-0.conda", "numpy-2.2.0-0.conda")

    with CountedRows(deployment) as rows:
        publish(deployment, Switch(channel.id, "linux-64", SHARDS))

    assert rows.records == 2


def test_what_publishes_the_same_records_again_changes_no_byte(deployment, channel):
    add_files(deployment, channel, "numpy-2.1.0-0.conda")
    publish_all(deployment)
    switch = Switch(channel.id, "linux-64", SHARDS)
    with deployment.transaction() as session:
        before = list_published(session, channel.id)[switch]

    with deployment.transaction(write=True) as session:
        mark_dirty(session, channel.id, "linux-64", "numpy")
    publish_all(deployment)

    with deployment.transaction() as session:
        assert list_published(session, channel.id)[switch] == before


def test_a_mark_made_while_an_index_is_built_is_published_next(deployment, channel):
    add_files(deployment, channel, "numpy-2.1.0-0.conda")
    switch = Switch(channel.id, "linux-64", SHARDS)
    with deployment.transaction() as session:
        batch = read_marked(session, switch)
        built = build(session, deployment.store, deployment.plugins, batch)
    add_files(deployment, channel, "numpy-2.2.0-0.conda")

    with deployment.transaction(write=True) as session:
        flip(session, deployment.store, batch, built)
    with deployment.transaction() as session:
        left = read_marked(session, switch)

    assert not set(left.marks) & set(batch.marks)


def test_the_slower_of_two_publishers_changes_nothing(deployment, channel):
    add_files(deployment, channel, "numpy-2.1.0-0.conda")
    switch = Switch(channel.id, "linux-64", REPODATA)
    batches = []
    for _ in range(2):
        with deployment.transaction() as session:
            batch = read_marked(session, switch)
            batches.append((batch, build(session, deployment.store, deployment.plugins, batch)))

    outcomes = []
    for batch, built in batches:
        with deployment.transaction(write=True) as session:
            outcomes.append(flip(session, deployment.store, batch, built))

    assert outcomes == [True, False]
    with deployment.transaction() as session:
        published = list_published(session, channel.id)[switch].files
    assert published == batches[0][1].files


def test_an_index_whose_file_was_cut_short_is_found_and_built_anew(deployment, channel):
    add_files(deployment, channel, "numpy-2.1.0-0.conda")
    publish_all(deployment)
    switch = Switch(channel.id, "linux-64", REPODATA)
    with deployment.transaction() as session:
        file = list_published(session, channel.id)[switch].files[REPODATA_ZST]
    deployment.store.write_index(parse_index_key(file.key), b"")

    with deployment.transaction() as session:
        torn = find_torn(session, deployment.store)
    with deployment.transaction(write=True) as session:
        for found in torn:
            mark_for_rebuild(session, found)
    publish_all(deployment)

    assert torn == [switch]
    assert b"numpy" in stored(deployment, switch, REPODATA_ZST)


def test_a_missing_shard_is_found_and_built_anew(deployment, channel):
    add_files(deployment, channel, "numpy-2.1.0-0.conda", "scipy-1.0-0.conda")
    publish_all(deployment)
    switch = Switch(channel.id, "linux-64", SHARDS)
    key = shard_key(switch, shards_of(deployment, channel)["numpy"].hex())
    deployment.store.delete_index(key)

    with deployment.transaction() as session:
        torn = find_torn(session, deployment.store)
    with deployment.transaction(write=True) as session:
        for found in torn:
            mark_for_rebuild(session, found)
    publish_all(deployment)

    assert torn == [switch]
    assert deployment.store.size(key)


def test_a_torn_shard_index_is_built_from_the_database(deployment, channel):
    add_files(deployment, channel, "numpy-2.1.0-0.conda")
    publish_all(deployment)
    switch = Switch(channel.id, "linux-64", SHARDS)
    with deployment.transaction() as session:
        file = list_published(session, channel.id)[switch].files[SHARD_INDEX]
    deployment.store.write_index(parse_index_key(file.key), b"torn")

    add_files(deployment, channel, "scipy-1.0-0.conda")
    publish_all(deployment)

    assert list(shards_of(deployment, channel)) == ["numpy", "scipy"]


def test_a_superseded_shard_is_kept_for_a_week(deployment, channel):
    add_files(deployment, channel, "numpy-2.1.0-0.conda")
    publish_all(deployment)
    switch = Switch(channel.id, "linux-64", SHARDS)
    old = shard_key(switch, shards_of(deployment, channel)["numpy"].hex())
    add_files(deployment, channel, "numpy-2.2.0-0.conda")
    publish_all(deployment)

    collect(deployment, after=SHARD_GRACE_MS - 60_000)
    kept = deployment.store.size(old)
    collect(deployment, after=SHARD_GRACE_MS + 60_000)

    assert kept
    assert deployment.store.size(old) is None


def test_nothing_stays_of_a_deleted_channel(deployment, channel):
    for version in ("2.0.0", "2.1.0", "2.2.0", "2.3.0"):
        add_files(deployment, channel, f"numpy-{version}-0.conda")
        publish_all(deployment)
    with deployment.transaction(write=True) as session:
        delete_channel(session, OPERATOR, session.get_one(Channel, channel.id))

    collect(deployment, after=FILE_GRACE_MS + 1000)

    with deployment.transaction() as session:
        assert session.query(IndexSuperseded).count() == 0
    assert list(deployment.store.list_index(channel.id)) == []


def test_a_shard_that_is_current_again_is_not_removed(deployment, channel):
    add_files(deployment, channel, "numpy-2.1.0-0.conda")
    publish_all(deployment)
    first = shards_of(deployment, channel)["numpy"]
    add_files(deployment, channel, "numpy-2.2.0-0.conda")
    publish_all(deployment)
    remove_version(deployment, channel, "2.2.0")
    publish_all(deployment)

    collect(deployment, after=SHARD_GRACE_MS + 60_000)

    assert shards_of(deployment, channel)["numpy"] == first
    switch = Switch(channel.id, "linux-64", SHARDS)
    assert deployment.store.size(shard_key(switch, first.hex()))


def test_a_shard_removed_between_build_and_flip_is_built_again(deployment, channel):
    add_files(deployment, channel, "numpy-2.1.0-0.conda")
    publish_all(deployment)
    first = shards_of(deployment, channel)["numpy"]
    add_files(deployment, channel, "numpy-2.2.0-0.conda")
    publish_all(deployment)
    remove_version(deployment, channel, "2.2.0")
    switch = Switch(channel.id, "linux-64", SHARDS)
    with deployment.transaction() as session:
        batch = read_marked(session, switch)
        built = build(session, deployment.store, deployment.plugins, batch)

    collect(deployment, after=SHARD_GRACE_MS + 60_000)

    with pytest.raises(StaleBuild), deployment.transaction(write=True) as session:
        flip(session, deployment.store, batch, built)
    publish_all(deployment)
    assert deployment.store.size(shard_key(switch, first.hex()))


def test_a_build_that_changed_nothing_still_stops_a_slower_one(deployment, channel):
    add_files(deployment, channel, "numpy-2.1.0-0.conda")
    publish_all(deployment)
    switch = Switch(channel.id, "linux-64", SHARDS)
    add_files(deployment, channel, "numpy-2.2.0-0.conda")
    with deployment.transaction() as session:
        slow = read_marked(session, switch)
        stale = build(session, deployment.store, deployment.plugins, slow)
    remove_version(deployment, channel, "2.2.0")
    publish(deployment, switch)  # the records are those published before

    with deployment.transaction(write=True) as session:
        flipped = flip(session, deployment.store, slow, stale)

    assert not flipped


def test_the_two_generations_before_the_current_one_are_kept(deployment, channel):
    publish_versions(deployment, channel, 6)

    collect(deployment, after=FILE_GRACE_MS + 60_000)

    assert count_stored(deployment, channel, "repodata-*.zst") == 3
    assert count_stored(deployment, channel, "repodata-*.pieces") == 3


def test_within_a_minute_no_more_than_ten_superseded_generations_are_kept(deployment, channel):
    publish_versions(deployment, channel, 15)

    collect(deployment, after=1)

    assert count_stored(deployment, channel, "repodata-*.zst") == NEVER_MORE_THAN + 1
    assert count_stored(deployment, channel, "repodata-*.pieces") == NEVER_MORE_THAN + 1


def publish_versions(deployment: Deployment, channel: Channel, count: int) -> None:
    for number in range(count):
        add_files(deployment, channel, f"numpy-{number}-0.conda")
        publish_all(deployment)


def count_stored(deployment: Deployment, channel: Channel, pattern: str) -> int:
    names = [key.rpartition("/")[2] for key in deployment.store.list_index(channel.id)]
    return len(fnmatch.filter(names, pattern))


def collect(deployment: Deployment, *, after: int) -> None:
    """Collect as if ``after`` milliseconds had passed."""
    with deployment.transaction(write=True) as session:
        collect_superseded(session, deployment.store, now=now_ms() + after)


class CountedRows:
    """Counts the records that are read from the database while it is open."""

    def __init__(self, deployment: Deployment) -> None:
        self.records = 0
        self._engine = deployment.engine

    def __enter__(self) -> Self:
        event.listen(self._engine, "after_cursor_execute", self._count)
        return self

    def __exit__(self, *_: object) -> None:
        event.remove(self._engine, "after_cursor_execute", self._count)

    def _count(self, conn, cursor, statement, parameters, context, executemany) -> None:
        if "files.record" in statement:
            rows = conn.connection.cursor()
            rows.execute(statement, parameters)
            self.records += len(rows.fetchall())
