import json
import logging
import random
from dataclasses import replace
from fnmatch import fnmatch

import pluggy
import pytest

from quetz import hooks
from quetz.conda import pieces
from quetz.conda.pieces import JOINT
from quetz.conda.splicing import SPACES
from quetz.conda.zstd import decompress
from quetz.db.base import now_ms
from quetz.db.models import Channel, File, IndexState, RecordPatch
from quetz.deployment import Deployment
from quetz.errors import StorageFull
from quetz.plugin_api import hookimpl
from quetz.services import index_documents
from quetz.services.index_builds import build
from quetz.services.publishing import (
    CHANNEL_WIDE,
    CHANNELDATA,
    CHANNELDATA_ZST,
    FROM_PACKAGES_ZST,
    REPODATA,
    REPODATA_ZST,
    RUN_EXPORTS_ZST,
    Files,
    IndexFile,
    Switch,
    decode_files,
    list_published,
    mark_dirty,
    read_file,
    read_quiet,
    read_table,
)
from quetz.storage.keys import parse_index_key
from quetz.testing.factories import make_channel, make_file
from quetz.testing.publishing import publish_all
from quetz.worker.publisher import publish

LIMIT = 1 << 30
SUBDIR = "linux-64"
SUFFIXES = (".conda", ".tar.bz2")


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    """Let few records make many pieces."""
    for name, size in {"TARGET": 4_000, "SMALLEST": 1_000, "LARGEST": 8_000}.items():
        monkeypatch.setattr(pieces, name, size)


@pytest.fixture
def channel(deployment: Deployment) -> Channel:
    with deployment.transaction(write=True) as session:
        return make_channel(session, "forge")


def repodata(channel: Channel) -> Switch:
    return Switch(channel.id, SUBDIR, REPODATA)


def channeldata(channel: Channel) -> Switch:
    return Switch(channel.id, CHANNEL_WIDE, CHANNELDATA)


def add_files(deployment: Deployment, channel: Channel, *filenames: str, subdir: str = SUBDIR):
    with deployment.transaction(write=True) as session:
        for filename in filenames:
            file = make_file(session, channel, filename, subdir=subdir)
            mark_dirty(session, channel.id, subdir, file.name)


def add_names(deployment: Deployment, channel: Channel, count: int) -> None:
    add_files(deployment, channel, *(f"pkg{number:03}-1.0-0.conda" for number in range(count)))


def published(deployment: Deployment, switch: Switch) -> Files:
    with deployment.transaction() as session:
        return list_published(session, switch.channel_id)[switch].files


def unpacked(deployment: Deployment, file: IndexFile) -> bytes:
    """Return what a published file unpacks to, without what stands between its pieces."""
    data = read_file(deployment.store, file)
    assert data is not None
    return decompress(data, LIMIT).replace(SPACES, b"").replace(JOINT, b",")


def contents(deployment: Deployment, switch: Switch) -> dict[str, bytes]:
    files = published(deployment, switch)
    return {form: unpacked(deployment, file) for form, file in files.items()}


def built_anew(deployment: Deployment, switch: Switch) -> dict[str, bytes]:
    """Return what the documents of a switch are that are built from nothing."""
    with deployment.transaction() as session:
        batch = read_quiet(session, switch)
        assert batch is not None
        anew = replace(batch, names=None, files={})
        files = build(session, deployment.store, deployment.plugins, anew).files
    return {form: unpacked(deployment, file) for form, file in files.items()}


def count_pieces(deployment: Deployment, file: IndexFile) -> int:
    table = read_table(deployment.store, file)
    assert table is not None
    return sum(map(len, table.sections))


def change_at_random(deployment: Deployment, channel: Channel, chance: random.Random) -> None:
    """Upload, yank, restore, delete and patch some files."""
    with deployment.transaction(write=True) as session:
        for _ in range(chance.choice([1, 3, 40])):
            name, subdir = f"pkg{chance.randrange(60):02}", chance.choice([SUBDIR, "noarch"])
            filename = f"{name}-{chance.randrange(5)}.0-0{chance.choice(SUFFIXES)}"
            row = {"channel_id": channel.id, "subdir": subdir, "name": name, "filename": filename}
            file = session.query(File).filter_by(**row).one_or_none()
            if file is None:
                exports = json.dumps({"weak": [name] * chance.randrange(3)})
                file = make_file(session, channel, filename, subdir=subdir, run_exports=exports)
            elif chance.random() < 0.5:
                file.yanked_at = None if file.yanked_at else now_ms()
            else:
                session.delete(file)
            if chance.random() < 0.1:
                fields = {"depends": [f"fixed {chance.random()}"]}
                patch = {"fields": fields, "removed": chance.random() < 0.3}
                session.merge(RecordPatch(**row, patch=json.dumps(patch)))
            session.flush()
            mark_dirty(session, channel.id, subdir, name)


@pytest.mark.parametrize("seed", range(4))
def test_after_any_changes_each_document_is_what_is_built_from_nothing(deployment, channel, seed):
    chance = random.Random(seed)
    add_names(deployment, channel, 30 * seed)

    for _ in range(8):
        change_at_random(deployment, channel, chance)
        publish_all(deployment)

        with deployment.transaction() as session:
            switches = [s for s in list_published(session, channel.id) if s.family != "shards"]
        for switch in switches:
            assert contents(deployment, switch) == built_anew(deployment, switch)
    last = contents(deployment, repodata(channel))
    assert last[FROM_PACKAGES_ZST] != last[REPODATA_ZST]


def test_a_change_of_one_name_reads_its_pieces_only(deployment, channel):
    add_names(deployment, channel, 100)
    publish_all(deployment)
    before = published(deployment, repodata(channel))[REPODATA_ZST]
    add_files(deployment, channel, "pkg050-2.0-0.conda")
    damage(deployment, before, at=-60)  # in a piece of other names

    publish_all(deployment)

    after = published(deployment, repodata(channel))[REPODATA_ZST]
    assert count_pieces(deployment, before) > 5
    old, new = (read_table(deployment.store, file) for file in (before, after))
    assert old is not None
    assert new is not None
    assert len(set(new.sections[1]) - set(old.sections[1])) == 1


def test_what_changes_nothing_keeps_every_file(deployment, channel):
    add_names(deployment, channel, 100)
    publish_all(deployment)
    switches = [repodata(channel), channeldata(channel)]
    before = [published(deployment, switch) for switch in switches]

    with deployment.transaction(write=True) as session:
        mark_dirty(session, channel.id, SUBDIR, "pkg050")
        mark_dirty(session, channel.id, SUBDIR, "never-there")
    publish_all(deployment)

    assert [published(deployment, switch) for switch in switches] == before


def test_a_change_that_one_form_does_not_show_keeps_its_file(deployment, channel):
    add_names(deployment, channel, 100)
    publish_all(deployment)
    before = published(deployment, repodata(channel))

    with deployment.transaction(write=True) as session:
        file = session.query(File).filter(File.name == "pkg050").one()
        file.record = json.dumps(json.loads(file.record) | {"license": "MIT"})
        mark_dirty(session, channel.id, SUBDIR, "pkg050")
    publish_all(deployment)

    after = published(deployment, repodata(channel))
    assert after[RUN_EXPORTS_ZST] == before[RUN_EXPORTS_ZST]
    assert after[REPODATA_ZST] != before[REPODATA_ZST]


def damage(deployment: Deployment, file: IndexFile, at: int) -> None:
    data = bytearray(deployment.store.read_index(parse_index_key(file.key)) or b"")
    data[at] ^= 1
    deployment.store.write_index(parse_index_key(file.key), bytes(data))


def cut_short(deployment: Deployment, file: IndexFile) -> None:
    data = deployment.store.read_index(parse_index_key(file.key)) or b""
    deployment.store.write_index(parse_index_key(file.key), data[: len(data) // 3])


def change_a_byte(deployment: Deployment, file: IndexFile) -> None:
    table = read_table(deployment.store, file)
    assert table is not None
    [places, *_] = [places for places in table.places() if places]
    damage(deployment, file, at=places[0] + 5)


def remove(deployment: Deployment, file: IndexFile) -> None:
    deployment.store.delete_index(parse_index_key(file.key))


def remove_table(deployment: Deployment, file: IndexFile) -> None:
    deployment.store.delete_index(parse_index_key(file.table or ""))


def change_table(deployment: Deployment, file: IndexFile) -> None:
    deployment.store.write_index(parse_index_key(file.table or ""), b"torn")


@pytest.mark.parametrize(
    "tear", [cut_short, change_a_byte, remove, remove_table, change_table], ids=lambda f: f.__name__
)
@pytest.mark.parametrize(
    ("switch_of", "form"),
    [(repodata, REPODATA_ZST), (repodata, RUN_EXPORTS_ZST), (channeldata, CHANNELDATA_ZST)],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_torn_file_is_built_anew_and_the_log_says_so(
    deployment, channel, caplog, tear, switch_of, form
):
    add_names(deployment, channel, 50)
    publish_all(deployment)
    switch = switch_of(channel)
    tear(deployment, published(deployment, switch)[form])
    add_files(deployment, channel, "pkg000-2.0-0.conda", "pkg049-2.0-0.conda")

    publish_all(deployment)

    assert contents(deployment, switch) == built_anew(deployment, switch)
    [error] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "torn; building it anew from the database" in error.message
    assert str(switch) in error.message


@pytest.mark.parametrize("refused", ["run_exports-*.json.zst", "run_exports-*.pieces"])
def test_a_build_that_fails_half_way_leaves_no_file(deployment, channel, monkeypatch, refused):
    def write_index(key, parts):
        if fnmatch(str(key), f"*/{refused}"):
            raise StorageFull
        write(key, parts)

    add_names(deployment, channel, 50)
    publish_all(deployment)
    before = set(deployment.store.list_index(channel.id))
    add_files(deployment, channel, "pkg000-2.0-0.conda")
    write = deployment.store.write_index
    monkeypatch.setattr(deployment.store, "write_index", write_index)

    with pytest.raises(StorageFull):
        publish(deployment, repodata(channel))

    assert set(deployment.store.list_index(channel.id)) == before


def test_a_file_of_a_server_that_knew_no_tables_is_built_anew(deployment, channel, caplog):
    add_names(deployment, channel, 5)
    publish_all(deployment)
    with deployment.transaction(write=True) as session:
        [state] = session.query(IndexState).filter_by(subdir=SUBDIR, family=REPODATA)
        files = json.loads(state.files)
        for file in files.values():
            del file["table"]
        state.files = json.dumps(files)
        assert decode_files(state.files)[REPODATA_ZST].table is None
    add_files(deployment, channel, "pkg000-2.0-0.conda")

    publish_all(deployment)

    assert all(file.table for file in published(deployment, repodata(channel)).values())
    assert contents(deployment, repodata(channel)) == built_anew(deployment, repodata(channel))
    assert not caplog.records


def test_of_too_many_changed_names_all_is_built_anew(deployment, channel, monkeypatch):
    monkeypatch.setattr(index_documents, "MOST_NAMES", 10)
    add_names(deployment, channel, 50)
    publish_all(deployment)
    remove(deployment, published(deployment, repodata(channel))[REPODATA_ZST])  # it is not read

    add_files(deployment, channel, *(f"pkg{number:03}-2.0-0.conda" for number in range(11)))
    publish_all(deployment)

    assert contents(deployment, repodata(channel)) == built_anew(deployment, repodata(channel))


def test_channeldata_tells_of_a_new_subdir(deployment, channel):
    add_names(deployment, channel, 20)
    publish_all(deployment)

    add_files(deployment, channel, "pkg010-1.0-0.conda", subdir="osx-arm64")
    publish_all(deployment)

    told = json.loads(contents(deployment, channeldata(channel))[CHANNELDATA_ZST])
    assert told["subdirs"] == [SUBDIR, "osx-arm64"]
    assert told["packages"]["pkg010"]["subdirs"] == [SUBDIR, "osx-arm64"]


def test_a_channel_whose_last_file_goes_is_empty(deployment, channel):
    add_names(deployment, channel, 20)
    publish_all(deployment)

    with deployment.transaction(write=True) as session:
        for file in session.query(File):
            mark_dirty(session, channel.id, SUBDIR, file.name)
        session.query(File).delete()
    publish_all(deployment)

    shown = json.loads(contents(deployment, repodata(channel))[REPODATA_ZST])
    assert (shown["packages"], shown["packages.conda"], shown["removed"]) == ({}, {}, [])


class StrangePlugin:
    """Writes what a document in pieces could take for its own marks."""

    license = 'two\nlines, "quoted",\n\\"a": {}' + " " * 99

    @hookimpl
    def records_published(self, records):
        for record in records.values():
            record["license"] = self.license
        records["other-1.0-0.conda"] = {"name": "other"}
        records['a"b'] = {}
        records.pop("pkg003-1.0-0.conda", None)


def test_a_plugin_writes_any_text_and_no_other_file(deployment, channel):
    manager = pluggy.PluginManager("quetz")
    manager.add_hookspecs(hooks)
    manager.register(StrangePlugin())
    deployment.plugins = replace(deployment.plugins, hook=manager.hook)
    add_names(deployment, channel, 50)
    publish_all(deployment)
    add_files(deployment, channel, "pkg025-2.0-0.conda")

    publish_all(deployment)

    file = published(deployment, repodata(channel))[REPODATA_ZST]
    data = read_file(deployment.store, file)
    assert data is not None
    shown = json.loads(decompress(data, LIMIT))["packages.conda"]
    assert len(shown) == 50
    assert {record["license"] for record in shown.values()} == {StrangePlugin.license}
    assert not {"other-1.0-0.conda", 'a"b', "pkg003-1.0-0.conda"} & set(shown)
