"""What is collected of index files that nothing names."""

import hashlib

import pytest

from quetz.db.base import now_ms
from quetz.db.models import IndexSuperseded
from quetz.db.queries.channels import get_channel
from quetz.services.collecting import LEFTOVER_GRACE_MS, SHARD_GRACE_MS, collect_superseded
from quetz.services.index_builds import build
from quetz.services.index_checks import find_torn
from quetz.services.index_leftovers import find_leftovers, supersede_leftovers
from quetz.services.index_zips import ZippedDocuments
from quetz.services.publishing import (
    REPODATA,
    REPODATA_ZST,
    SHARDS,
    Switch,
    list_published,
    mark_dirty,
    read_batch,
)
from quetz.storage.keys import index_key, parse_index_key
from quetz.testing.factories import make_channel, make_file
from quetz.testing.publishing import publish_all
from quetz.worker.collecting import collect
from quetz.worker.publisher import flip

MINUTE = 60_000
LONG = SHARD_GRACE_MS + MINUTE


@pytest.fixture
def channel(deployment):
    with deployment.transaction(write=True) as session:
        return make_channel(session, "forge")


def add_file(deployment, channel, filename):
    with deployment.transaction(write=True) as session:
        file = make_file(session, channel, filename, subdir="linux-64")
        mark_dirty(session, channel.id, "linux-64", file.name)


def publish_versions(deployment, channel, *versions):
    for version in versions:
        add_file(deployment, channel, f"numpy-{version}-0.conda")
        publish_all(deployment)


def build_only(deployment, channel, family):
    """Build what is marked, as a publisher does that is killed before it flips."""
    switch = Switch(channel.id, "linux-64", family)
    with deployment.transaction() as session:
        batch = read_batch(session, switch)
        assert batch is not None
        return batch, build(session, deployment.store, deployment.plugins, batch)


def find(deployment):
    return collect(deployment, grace_ms=0).index_files


def let_go(deployment, *, after):
    """Remove the index files that are due when so many milliseconds have passed."""
    with deployment.transaction(write=True) as session:
        while collect_superseded(session, deployment.store, now=now_ms() + after):
            pass


def listed(deployment, channel):
    return set(deployment.store.list_index(channel.id))


def test_what_is_current_or_superseded_is_no_leftover(deployment, channel):
    publish_versions(deployment, channel, "1.0", "2.0", "3.0")
    with deployment.transaction() as session:
        published = list_published(session, channel.id)
    file = published[Switch(channel.id, "linux-64", REPODATA)].files[REPODATA_ZST]
    ZippedDocuments(deployment.store).make(file)
    before = listed(deployment, channel)

    found = find(deployment)

    assert found == 0
    assert any(key.endswith(".json.gz") for key in before)
    assert any(key.endswith(".pieces") for key in before)
    assert listed(deployment, channel) == before


@pytest.mark.parametrize("family", [SHARDS, REPODATA])
def test_what_a_publisher_wrote_before_it_was_killed_goes_and_the_rest_stays(
    deployment, channel, family
):
    publish_versions(deployment, channel, "1.0", "2.0")
    before = listed(deployment, channel)
    add_file(deployment, channel, "numpy-3.0-0.conda")
    build_only(deployment, channel, family)
    left = listed(deployment, channel) - before

    dry = collect(deployment, grace_ms=0, dry_run=True).index_files
    found, again = find(deployment), find(deployment)
    let_go(deployment, after=LEFTOVER_GRACE_MS - MINUTE)
    in_time = listed(deployment, channel)
    let_go(deployment, after=LONG)

    assert left
    assert (dry, found, again) == (len(left), len(left), 0)
    assert left <= in_time
    assert not left & listed(deployment, channel)
    with deployment.transaction() as session:
        assert find_torn(session, deployment.store) == []


@pytest.mark.parametrize("family", [SHARDS, REPODATA])
def test_what_is_flipped_to_later_stays(deployment, channel, family):
    publish_versions(deployment, channel, "1.0")
    add_file(deployment, channel, "numpy-2.0-0.conda")
    batch, built = build_only(deployment, channel, family)
    assert find(deployment) > 0

    flipped = flip(deployment, batch, built)
    let_go(deployment, after=LONG)

    assert flipped
    with deployment.transaction() as session:
        assert find_torn(session, deployment.store) == []


@pytest.mark.parametrize("family", [SHARDS, REPODATA])
def test_what_is_flipped_to_between_look_and_list_stays(deployment, channel, family):
    publish_versions(deployment, channel, "1.0")
    add_file(deployment, channel, "numpy-2.0-0.conda")
    batch, built = build_only(deployment, channel, family)
    keys = listed(deployment, channel)
    with deployment.transaction() as session:
        leftovers = find_leftovers(session, deployment.store, channel.id, keys)

    assert flip(deployment, batch, built)
    with deployment.transaction(write=True) as session:
        supersede_leftovers(session, leftovers)
    let_go(deployment, after=LONG)

    assert leftovers.keys
    with deployment.transaction() as session:
        assert find_torn(session, deployment.store) == []


def test_what_was_removed_before_its_flip_is_built_again(deployment, channel):
    publish_versions(deployment, channel, "1.0")
    add_file(deployment, channel, "numpy-2.0-0.conda")
    batch, built = build_only(deployment, channel, SHARDS)
    find(deployment)
    let_go(deployment, after=LONG)

    flipped = flip(deployment, batch, built)
    publish_all(deployment)

    assert not flipped
    with deployment.transaction() as session:
        assert find_torn(session, deployment.store) == []


def test_no_shard_is_a_leftover_where_the_index_of_them_is_torn(deployment, channel):
    publish_versions(deployment, channel, "1.0")
    stray = index_key(channel.id, "linux-64", f"{hashlib.sha256(b'x').hexdigest()}.msgpack.zst")
    deployment.store.write_index(stray, b"x")
    [index] = [key for key in listed(deployment, channel) if "/shards-" in key]
    deployment.store.write_index(parse_index_key(index), b"torn")

    assert find(deployment) == 0


def test_a_gzip_form_without_its_document_goes(deployment, channel):
    publish_versions(deployment, channel, "1.0")
    stray = index_key(channel.id, "linux-64", "repodata-9-00000000.json.gz")
    deployment.store.write_index(stray, b"x")

    found = find(deployment)
    let_go(deployment, after=LEFTOVER_GRACE_MS + MINUTE)

    assert found == 1
    assert deployment.store.size(stray) is None


def test_files_of_a_channel_that_is_gone_go(deployment, channel):
    publish_versions(deployment, channel, "1.0")
    with deployment.transaction(write=True) as session:
        session.delete(get_channel(session, "forge"))

    found, again = find(deployment), find(deployment)
    let_go(deployment, after=MINUTE + 1000)

    assert found > 0
    assert again == 0
    assert listed(deployment, channel) == set()
    with deployment.transaction() as session:
        assert session.query(IndexSuperseded).count() == 0
