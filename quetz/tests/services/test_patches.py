import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import msgspec
import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import OperationalError

from quetz.conda.shards import decode_shard_index
from quetz.conda.zstd import decompress
from quetz.db.models import Channel, File, IndexDirty, PatchSource, RecordPatch
from quetz.db.queries.index import STREAM_ROWS
from quetz.deployment import Deployment
from quetz.services.channels import delete_channel
from quetz.services.patches import apply_due, find_due, read_due
from quetz.services.permissions import OPERATOR
from quetz.services.publishing import (
    CHANNEL_WIDE,
    FROM_PACKAGES_ZST,
    PATCHES,
    REPODATA,
    REPODATA_ZST,
    RUN_EXPORTS_ZST,
    SHARD_INDEX,
    SHARDS,
    Switch,
    list_published,
    mark_dirty,
    mark_for_rebuild,
    read_file,
    shard_key,
)
from quetz.storage.keys import object_key
from quetz.testing.factories import make_channel, make_file
from quetz.testing.packages import build_package
from quetz.testing.publishing import publish_all
from quetz.worker.publisher import publish

LIMIT = 1 << 30
NUMPY, SCIPY = "numpy-2.0-0.conda", "scipy-1.0-0.conda"
PACKAGE = "forge-repodata-patches"

Fixes = dict[str, dict[str, Any]]
Release = Callable[..., File]


@pytest.fixture
def channel(deployment: Deployment) -> Channel:
    with deployment.transaction(write=True) as session:
        channel = make_channel(session, "forge")
    add_files(deployment, channel, NUMPY, SCIPY)
    return channel


def add_files(deployment: Deployment, channel: Channel, *filenames: str) -> None:
    with deployment.transaction(write=True) as session:
        for filename in filenames:
            file = make_file(session, channel, filename, subdir="linux-64")
            mark_dirty(session, channel.id, "linux-64", file.name)


@pytest.fixture
def release(deployment: Deployment, channel: Channel, tmp_path: Path) -> Release:
    """Return a function that adds a package of hotfixes, to a channel or to "forge"."""

    def add(
        version: str = "1.0", fixes: Fixes | None = None, *, build_number: int = 0, **options: Any
    ) -> File:
        document = {"patch_instructions_version": 2, "packages.conda": fixes or {}}
        document |= options.pop("more", {})
        files = {"linux-64/patch_instructions.json": json.dumps(document).encode()}
        name, place = options.pop("name", PACKAGE), options.pop("place", channel)
        build = str(build_number)
        path = build_package(tmp_path, name, version, build, files=options.pop("files", files))
        stage = deployment.store.stage()
        stage.write(path.read_bytes())
        stage.finish()
        deployment.store.put(stage, object_key(stage.sha256))
        with deployment.transaction(write=True) as session:
            file = make_file(
                session, place, path.name, build_number=build_number, sha256=stage.sha256
            )
            record = json.loads(file.record) | {"timestamp": options.pop("timestamp", 1)}
            file.record = json.dumps(record)
            mark_dirty(session, place.id, "noarch", name)
        return file

    return add


def stored(deployment: Deployment, channel: Channel, family: str, form: str) -> bytes:
    """Return a published file of linux-64, unpacked."""
    with deployment.transaction() as session:
        published = list_published(session, channel.id)[Switch(channel.id, "linux-64", family)]
    data = read_file(deployment.store, published.files[form])
    assert data is not None
    return decompress(data, LIMIT)


def read_json(deployment: Deployment, channel: Channel, form: str = REPODATA_ZST) -> Any:
    return json.loads(stored(deployment, channel, REPODATA, form))


def read_shard(deployment: Deployment, channel: Channel, name: str) -> Any:
    index = decode_shard_index(stored(deployment, channel, SHARDS, SHARD_INDEX))
    key = shard_key(Switch(channel.id, "linux-64", SHARDS), index[name].hex())
    data = deployment.store.read_index(key)
    assert data is not None
    return msgspec.msgpack.decode(decompress(data, LIMIT))


def depends(deployment: Deployment, channel: Channel) -> dict[str, list[str]]:
    """Return what files depend on; in every form the same."""
    records = read_json(deployment, channel)["packages.conda"]
    found = {filename: record["depends"] for filename, record in records.items()}
    for filename, specs in found.items():
        shard = read_shard(deployment, channel, filename.split("-")[0])
        assert shard["packages.conda"][filename]["depends"] == specs
    return found


def test_a_patch_shows_in_every_form(deployment, channel, release):
    release(fixes={NUMPY: {"depends": ["python"], "run_exports": {"weak": ["numpy >=2"]}}})

    publish_all(deployment)

    assert depends(deployment, channel) == {NUMPY: ["python"], SCIPY: []}
    exports = read_json(deployment, channel, RUN_EXPORTS_ZST)["packages.conda"]
    shard = read_shard(deployment, channel, "numpy")["packages.conda"]
    assert exports[NUMPY] == {"run_exports": {"weak": ["numpy >=2"]}}
    assert exports[SCIPY] == {"run_exports": {}}
    assert shard[NUMPY]["run_exports"] == {"weak": ["numpy >=2"]}
    assert shard[NUMPY]["indexed_timestamp"] == 1_700_000_000_000


def test_a_removed_file_is_listed_as_removed_in_every_form(deployment, channel, release):
    release(more={"remove": [NUMPY]})

    publish_all(deployment)

    repodata, shard = read_json(deployment, channel), read_shard(deployment, channel, "numpy")
    exports = read_json(deployment, channel, RUN_EXPORTS_ZST)
    assert list(repodata["packages.conda"]) == list(exports["packages.conda"]) == [SCIPY]
    assert repodata["removed"] == shard["removed"] == [NUMPY]
    assert shard["packages.conda"] == {}


def test_a_file_that_comes_after_its_patch_is_patched_from_the_first(deployment, channel, release):
    release(fixes={"numpy-3.0-0.conda": {"depends": ["python"]}})
    publish_all(deployment)

    add_files(deployment, channel, "numpy-3.0-0.conda")
    publish_all(deployment)

    assert depends(deployment, channel)["numpy-3.0-0.conda"] == ["python"]


def test_what_is_built_anew_from_the_database_is_patched(deployment, channel, release):
    others = {name: {"depends": ["c"]} for name in ("abc-1-0.conda", "pip-1-0.conda")}
    later = {f"zlib{number}-1-0.conda": {"depends": ["d"]} for number in range(2 * STREAM_ROWS)}
    release(fixes={NUMPY: {"depends": ["a"]}, SCIPY: {"depends": ["b"]}} | others | later)
    publish_all(deployment)

    for family in (SHARDS, REPODATA):
        with deployment.transaction(write=True) as session:
            mark_for_rebuild(session, Switch(channel.id, "linux-64", family))
    publish_all(deployment)

    assert depends(deployment, channel) == {NUMPY: ["a"], SCIPY: ["b"]}


def test_a_newer_package_replaces_all_that_the_one_before_said(deployment, channel, release):
    release("1.0", {NUMPY: {"depends": ["old"]}, "numpy-9-0.conda": {"depends": ["old"]}})
    publish_all(deployment)

    release("2.0", {SCIPY: {"depends": ["new"]}, "numpy-9-0.conda": {"depends": ["other"]}})
    publish_all(deployment)

    assert depends(deployment, channel) == {NUMPY: [], SCIPY: ["new"]}
    with deployment.transaction() as session:
        rows = session.query(RecordPatch).order_by(RecordPatch.filename).all()
    assert [(row.name, row.filename, row.patch) for row in rows] == [
        ("numpy", "numpy-9-0.conda", '{"fields":{"depends":["other"]}}'),
        ("scipy", SCIPY, '{"fields":{"depends":["new"]}}'),
    ]


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        pytest.param({"version": "1.9"}, {"version": "1.10"}, id="version"),
        pytest.param({"build_number": 9}, {"build_number": 10}, id="build number"),
        pytest.param(
            {"version": "1.0.0"}, {"version": "1.0", "build_number": 1}, id="equal versions"
        ),
    ],
)
@pytest.mark.parametrize("order", [1, -1])
def test_the_newest_package_wins_in_whatever_order_they_come(
    deployment, channel, release, older, newer, order
):
    releases = [older | {"fixes": {NUMPY: {"depends": ["older"]}}}]
    releases.append(newer | {"fixes": {NUMPY: {"depends": ["newer"]}}})

    for options in releases[::order]:
        release(**options)
        publish_all(deployment)

    assert depends(deployment, channel)[NUMPY] == ["newer"]


def test_of_equal_builds_the_later_one_wins(deployment, channel, release):
    release(fixes={NUMPY: {"depends": ["later"]}}, timestamp=2)
    with deployment.transaction(write=True) as session:
        # It has no timestamp, and comes behind the .conda by name.
        make_file(session, channel, f"{PACKAGE}-1.0-0.tar.bz2", sha256="0" * 64)

    publish_all(deployment)

    assert depends(deployment, channel)[NUMPY] == ["later"]


def test_a_package_of_another_channels_hotfixes_changes_nothing(deployment, channel, release):
    release(name="other-repodata-patches", fixes={NUMPY: {"depends": ["python"]}})

    publish_all(deployment)

    assert depends(deployment, channel) == {NUMPY: [], SCIPY: []}


@pytest.mark.parametrize("deed", ["yanked", "deleted"])
def test_without_its_newest_package_a_channel_is_as_before(deployment, channel, release, deed):
    release("1.0", {NUMPY: {"depends": ["first"]}})
    newest = release("2.0", {NUMPY: {"depends": ["second"]}})
    publish_all(deployment)
    shown = [depends(deployment, channel)[NUMPY]]

    for version in ("2.0", "1.0"):
        with deployment.transaction(write=True) as session:
            found = session.query(File).filter(File.name == PACKAGE, File.version == version)
            found.update({File.yanked_at: 1}) if deed == "yanked" else found.delete()
            mark_dirty(session, channel.id, newest.subdir, PACKAGE)
        publish_all(deployment)
        shown.append(depends(deployment, channel)[NUMPY])

    assert shown == [["second"], ["first"], []]
    with deployment.transaction() as session:
        assert session.query(RecordPatch).count() == 0
        assert session.query(PatchSource).one().sha256 is None


def test_only_names_whose_instructions_changed_are_published_again(deployment, channel, release):
    release("1.0", {NUMPY: {"depends": ["a"]}, SCIPY: {"depends": ["b"]}})
    publish_all(deployment)

    release("2.0", {NUMPY: {"depends": ["a"]}, SCIPY: {"depends": []}, "new-1-0.conda": {"a": 1}})
    publish(deployment, Switch(channel.id, CHANNEL_WIDE, PATCHES))

    with deployment.transaction() as session:
        marks = session.query(IndexDirty).filter(IndexDirty.subdir == "linux-64").all()
        assert {(mark.family, mark.name) for mark in marks} == {
            (SHARDS, "scipy"),
            (REPODATA, "scipy"),
        }


def test_the_mark_of_a_package_goes_when_every_index_shows_its_hotfixes(
    deployment, channel, release
):
    publish_all(deployment)
    release(fixes={NUMPY: {"depends": ["python"]}})
    for family in (SHARDS, REPODATA):
        publish(deployment, Switch(channel.id, "noarch", family))
    hotfixes = Switch(channel.id, CHANNEL_WIDE, PATCHES)
    left = []

    for switch in (hotfixes, *(Switch(channel.id, "linux-64", f) for f in (REPODATA, SHARDS))):
        publish(deployment, switch)
        publish(deployment, hotfixes)
        with deployment.transaction() as session:
            left.append(find_due(session, hotfixes) is not None)

    assert left == [True, True, False]
    assert depends(deployment, channel)[NUMPY] == ["python"]


def test_a_package_that_cannot_be_read_leaves_the_hotfixes_before_it(
    deployment, channel, release, caplog
):
    release("1.0", {NUMPY: {"depends": ["python"]}})
    publish_all(deployment)

    release("2.0", {NUMPY: {"depends": ["six"]}}, more={"patch_instructions_version": 9})
    with caplog.at_level(logging.ERROR, "quetz.patches"):
        publish_all(deployment)

    assert depends(deployment, channel)[NUMPY] == ["python"]
    [said] = caplog.messages
    assert f"'{PACKAGE}-2.0-0.conda'" in said
    assert "patch_instructions_version: is 9" in said
    assert "upload a newer one, or yank it" in said


def test_a_package_that_is_no_more_the_newest_is_not_applied(deployment, channel, release):
    release("1.0", {NUMPY: {"depends": ["old"]}})
    switch = Switch(channel.id, CHANNEL_WIDE, PATCHES)
    with deployment.transaction() as session:
        due = find_due(session, switch)
    assert due is not None
    wanted = read_due(deployment.store, due)
    release("2.0", {NUMPY: {"depends": ["new"]}})

    with deployment.transaction(write=True) as session:
        applied = apply_due(session, due, wanted)
    publish_all(deployment)

    assert not applied
    assert depends(deployment, channel)[NUMPY] == ["new"]


def test_no_upload_ends_while_patches_are_marked_for_the_indexes(deployment, channel, release):
    if deployment.engine.dialect.name == "sqlite":
        pytest.skip("it has one writer at a time")
    release(fixes={NUMPY: {"depends": ["python"]}})
    with deployment.transaction() as session:
        due = find_due(session, Switch(channel.id, CHANNEL_WIDE, PATCHES))
    assert due is not None
    taken_by_uploads = text("SELECT id FROM channels FOR NO KEY UPDATE NOWAIT")

    with deployment.transaction(write=True) as session:
        apply_due(session, due, read_due(deployment.store, due))
        with pytest.raises(OperationalError, match="lock"), deployment.engine.connect() as other:
            other.execute(taken_by_uploads)


def test_the_records_as_uploaded_are_published_where_others_are_shown(deployment, channel, release):
    publish_all(deployment)
    with deployment.transaction() as session:
        before = list_published(session)[Switch(channel.id, "linux-64", REPODATA)].files
    repodata = read_json(deployment, channel)

    release(fixes={NUMPY: {"depends": ["python"]}}, more={"remove": [SCIPY]})
    publish_all(deployment)

    assert FROM_PACKAGES_ZST not in before
    assert read_json(deployment, channel, FROM_PACKAGES_ZST) == repodata
    assert read_json(deployment, channel) != repodata


def test_the_hotfixes_of_a_deleted_channel_go_with_it(deployment, channel, release):
    release(fixes={NUMPY: {"depends": ["python"]}})
    publish_all(deployment)

    with deployment.transaction(write=True) as session:
        delete_channel(session, OPERATOR, session.get_one(Channel, channel.id))

    with deployment.transaction() as session:
        assert session.query(RecordPatch).count() == session.query(PatchSource).count() == 0


@pytest.mark.parametrize(("family", "queries"), [(SHARDS, 1), (REPODATA, 2)])
def test_patches_take_no_more_queries_for_more_names(deployment, channel, family, queries):
    publish_all(deployment)
    add_files(deployment, channel, *(f"other{number}-1.0-0.conda" for number in range(20)))

    with CountedQueries(deployment) as counted:
        publish(deployment, Switch(channel.id, "linux-64", family))

    assert counted.queries == queries


class CountedQueries:
    """Counts the queries for patches while it is open."""

    def __init__(self, deployment: Deployment) -> None:
        self.queries = 0
        self._engine = deployment.engine

    def __enter__(self) -> Self:
        event.listen(self._engine, "before_cursor_execute", self._count)
        return self

    def __exit__(self, *_: object) -> None:
        event.remove(self._engine, "before_cursor_execute", self._count)

    def _count(self, conn, cursor, statement, parameters, context, executemany) -> None:
        self.queries += "record_patches" in statement
