import hashlib
import json

import pytest

from quetz.conda.channel_folders import read_channel_folder
from quetz.conda.shards import decode_shard_index
from quetz.conda.zstd import decompress
from quetz.db.models import File
from quetz.db.queries.channels import get_channel
from quetz.errors.folders import (
    ChannelBusy,
    IndexUnreadable,
    NotAnExport,
    ObjectDamaged,
)
from quetz.services.exports import take_snapshot
from quetz.services.permissions import OPERATOR
from quetz.services.publishing import (
    list_published,
    mark_channel_for_rebuild,
    mark_dirty,
    read_file,
    shard_key,
)
from quetz.services.yanks import yank_file
from quetz.storage.keys import object_key, parse_index_key
from quetz.testing.clients import ClientHome, solve_with_rattler
from quetz.testing.factories import make_channel
from quetz.testing.packages import build_package
from quetz.testing.shard_reader import read_all
from quetz.worker import exports
from quetz.worker.catching_up import publish_channel
from quetz.worker.exports import Target, export_channel
from quetz.worker.imports import import_folder

LIMIT = 1 << 20


@pytest.fixture
def source(tmp_path):
    """A folder of four packages, of which one is to be yanked."""
    source = tmp_path / "source"
    for subdir in ("linux-64", "noarch"):
        (source / subdir).mkdir(parents=True)
    build_package(source / "linux-64", "app", subdir="linux-64", depends=["base >=1"])
    build_package(source / "noarch", "base", "1.0", suffix=".tar.bz2", run_exports=["base"])
    build_package(source / "noarch", "base", "1.1", about={"summary": "The base"})
    build_package(source / "noarch", "base", "2.0")
    listed = {"packages.conda": {"base-1.1-0.conda": {"indexed_timestamp": 1_600_000_000_000}}}
    (source / "noarch" / "repodata.json").write_text(
        json.dumps(listed | {"removed": ["base-2.0-0.conda"]})
    )
    return source


@pytest.fixture
def forge(deployment, source):
    """A channel that holds the packages of the source."""
    with deployment.transaction(write=True) as session:
        forge = make_channel(session, "forge")
    import_folder(deployment, OPERATOR, "forge", read_channel_folder(source))
    return forge


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "exported"


@pytest.fixture
def export(deployment, forge, folder):
    def export(**options):
        return export_channel(deployment, forge, Target(folder, **options))

    return export


def listed_files(folder):
    return sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and ".quetz-export" not in path.parts
    )


def read_json(path):
    return json.loads(path.read_bytes())


def test_what_was_exported_is_a_whole_static_channel(export, source, folder):
    report = export()

    assert (report.copied, report.kept, report.deleted, report.failed) == (4, 0, 0, [])
    packages = [path for path in source.glob("*/*") if path.name != "repodata.json"]
    for path in packages:
        assert (folder / path.relative_to(source)).read_bytes() == path.read_bytes()
    repodata = read_json(folder / "noarch/repodata.json")
    assert repodata["packages"].keys() == {"base-1.0-0.tar.bz2"}
    assert repodata["packages.conda"].keys() == {"base-1.1-0.conda"}
    assert repodata["removed"] == ["base-2.0-0.conda"]
    for form in ("repodata.json", "run_exports.json"):
        for subdir in ("linux-64", "noarch"):
            packed = (folder / subdir / f"{form}.zst").read_bytes()
            assert decompress(packed, LIMIT) == (folder / subdir / form).read_bytes()
    exported = read_json(folder / "noarch/run_exports.json")["packages"]
    assert exported["base-1.0-0.tar.bz2"] == {"run_exports": {"weak": ["base"]}}
    assert read_json(folder / "channeldata.json")["packages"]["base"]["summary"] == "The base"


def test_shards_say_the_same(export, folder):
    export()

    index = (folder / "noarch/repodata_shards.msgpack.zst").read_bytes()
    digests = decode_shard_index(decompress(index, LIMIT)).values()
    shards = sorted((folder / "noarch/shards").iterdir())
    assert [path.name for path in shards] == [f"{digest.hex()}.msgpack.zst" for digest in digests]
    assert [hashlib.sha256(path.read_bytes()).digest() for path in shards] == list(digests)
    url = f"{folder.as_uri()}/noarch/"
    prefix = f"{folder.parent.as_uri()}/"
    records = read_all(lambda at: (folder.parent / at.removeprefix(prefix)).read_bytes(), url)
    assert records.keys() == {"base-1.0-0.tar.bz2", "base-1.1-0.conda"}


def test_a_client_solves_and_installs_from_the_folder(export, folder, tmp_path):
    export()
    (tmp_path / "home").mkdir()

    solved = solve_with_rattler(
        ClientHome(tmp_path / "home"), folder.as_uri(), "app", prefix=tmp_path / "env"
    )

    assert {name: record["version"] for name, record in solved.items()} == {
        "app": "1.0",
        "base": "1.1",
    }
    assert (tmp_path / "env/conda-meta/base-1.1-0.json").exists()


def test_an_import_of_an_export_gives_the_same_records(deployment, export, folder):
    export()
    with deployment.transaction(write=True) as session:
        make_channel(session, "copy")

    import_folder(deployment, OPERATOR, "copy", read_channel_folder(folder))

    told: dict[int, list[tuple[object, ...]]] = {}
    with deployment.transaction() as session:
        for file in session.query(File).order_by(File.subdir, File.filename):
            record = json.loads(file.record)
            if file.yanked_at is not None:  # when it was indexed, no index tells
                record["indexed_timestamp"] = None
            of_file = (file.filename, record, file.run_exports, file.about)
            told.setdefault(file.channel_id, []).append(of_file)
    first, second = told.values()
    assert len(first) == 4
    assert first == second


def test_what_only_a_hotfix_removed_is_not_yanked_by_an_import(deployment, source, folder):
    fixes = {"patch_instructions_version": 1, "remove": ["base-1.1-0.conda"]}
    files = {"noarch/patch_instructions.json": json.dumps(fixes).encode()}
    build_package(source / "noarch", "forge-repodata-patches", files=files)
    with deployment.transaction(write=True) as session:
        forge, copy = make_channel(session, "forge"), make_channel(session, "copy")
    import_folder(deployment, OPERATOR, "forge", read_channel_folder(source))
    export_channel(deployment, forge, Target(folder))
    removed = ["base-1.1-0.conda", "base-2.0-0.conda"]
    assert read_json(folder / "noarch/repodata.json")["removed"] == removed

    import_folder(deployment, OPERATOR, "copy", read_channel_folder(folder))

    with deployment.transaction() as session:
        files_of_copy = session.query(File).filter(File.channel_id == copy.id)
        yanked = [file.filename for file in files_of_copy if file.yanked_at is not None]
        assert yanked == ["base-2.0-0.conda"]
        fixed = files_of_copy.filter(File.filename == "base-1.1-0.conda").one()
        assert json.loads(fixed.record)["indexed_timestamp"] == 1_600_000_000_000


def test_records_before_patches_of_another_export_are_not_left_behind(export, folder):
    export()
    for suffix in ("", ".zst"):
        (folder / f"noarch/repodata_from_packages.json{suffix}").write_text("of a channel before")

    export()

    assert not list(folder.glob("noarch/repodata_from_packages*"))


def test_an_empty_channel_has_a_noarch(deployment, folder):
    with deployment.transaction(write=True) as session:
        empty = make_channel(session, "empty")

    export_channel(deployment, empty, Target(folder))

    assert listed_files(folder) == [
        "channeldata.json",
        *(
            f"noarch/{form}"
            for form in (
                "repodata.json",
                "repodata.json.zst",
                "repodata_shards.msgpack.zst",
                "run_exports.json",
                "run_exports.json.zst",
            )
        ),
    ]
    assert read_json(folder / "noarch/repodata.json")["packages.conda"] == {}


def test_what_is_there_is_kept_and_what_is_damaged_is_written_again(export, source, folder):
    export()
    damaged = folder / "noarch/base-1.1-0.conda"
    damaged.write_bytes(bytes(damaged.stat().st_size))
    cut_off = folder / "noarch/base-2.0-0.conda"
    cut_off.write_bytes(b"PK")
    (folder / "noarch/.base-2.0-0.conda.part").write_bytes(b"PK")
    (folder / ".quetz-export/indexes/noarch").mkdir(parents=True)

    report = export()

    assert (report.copied, report.kept) == (2, 2)
    assert damaged.read_bytes() == (source / "noarch" / damaged.name).read_bytes()
    assert cut_off.read_bytes() == (source / "noarch" / cut_off.name).read_bytes()
    assert not list(folder.rglob("*.part"))
    assert not (folder / ".quetz-export/indexes").exists()


def test_what_the_channel_has_no_more_is_deleted_if_that_is_asked(
    deployment, export, folder, tmp_path
):
    export()
    before = listed_files(folder)
    with deployment.transaction(write=True) as session:
        forge = get_channel(session, "forge")
        file = session.query(File).filter(File.filename == "base-1.1-0.conda").one()
        yank_file(session, OPERATOR, forge, file, reason=None)
        app = session.query(File).filter(File.name == "app").one()
        session.delete(app)
        mark_dirty(session, forge.id, "linux-64", "app")
    (folder / "linux-64/notes.txt").write_text("ours")
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "shards").mkdir(parents=True)
    for name in ("other-1.0-0.conda", "other.msgpack.zst", "shards/other.msgpack.zst"):
        (elsewhere / name).write_text("of another channel")
    (folder / "win-64").symlink_to(elsewhere)
    (folder / "linux-aarch64").mkdir()
    (folder / "linux-aarch64/shards").symlink_to(elsewhere)

    kept, deleted = export(), export(delete=True)

    assert (kept.deleted, deleted.deleted) == (0, 1)
    gone = set(before) - set(listed_files(folder))
    assert {path for path in gone if "shards" not in path} == {"linux-64/app-1.0-0.conda"}
    assert len([path for path in gone if "shards" in path]) == 2
    assert (folder / "linux-64/notes.txt").exists()
    assert len(listed_files(elsewhere)) == 3
    assert read_json(folder / "linux-64/repodata.json")["packages.conda"] == {}


def test_a_folder_of_other_things_is_refused_unless_that_is_forced(export, folder):
    folder.mkdir()
    (folder / "thesis.txt").write_text("the only copy")

    with pytest.raises(NotAnExport, match="--force"):
        export()

    assert [path.name for path in folder.iterdir()] == ["thesis.txt"]
    assert export(force=True).copied == 4
    assert export().kept == 4
    assert (folder / "thesis.txt").read_text() == "the only copy"


def test_an_export_of_another_channel_is_refused(deployment, export, folder):
    export()
    with deployment.transaction(write=True) as session:
        other = make_channel(session, "other")

    with pytest.raises(NotAnExport, match="'other'"):
        export_channel(deployment, other, Target(folder))


@pytest.mark.parametrize("harm", ["gone", "damaged"])
def test_an_object_that_is_not_whole_is_named_and_no_index_is_written(
    deployment, export, folder, harm
):
    with deployment.transaction() as session:
        file = session.query(File).filter(File.name == "app").one()
    path = deployment.store.path(object_key(file.sha256))
    if harm == "gone":
        path.unlink()
    else:
        path.write_bytes(bytes(file.size))

    report = export()

    [(place, error)] = report.failed
    assert place == "linux-64/app-1.0-0.conda"
    assert isinstance(error, ObjectDamaged) or harm == "gone"
    assert report.copied == 3
    assert listed_files(folder) == [
        "noarch/base-1.0-0.tar.bz2",
        "noarch/base-1.1-0.conda",
        "noarch/base-2.0-0.conda",
    ]


def test_an_index_that_is_torn_is_named(deployment, forge, export):
    publish_channel(deployment, forge.id)
    with deployment.transaction() as session:
        published = list_published(session, forge.id)
    for state in published.values():
        for file in state.files.values():
            deployment.store.write_index(parse_index_key(file.key), b"torn")

    with pytest.raises(IndexUnreadable, match="quetz reindex forge"):
        export()


def test_files_that_are_superseded_and_collected_meanwhile_are_taken_anew(
    deployment, forge, export, folder, monkeypatch
):
    taken = []

    def take_snapshot_and_go_on(session, channel):
        taken.append(take_snapshot(session, channel))
        return taken[-1]

    def read_late(store, file):
        if len(taken) == 1:
            with deployment.transaction(write=True) as session:
                mark_channel_for_rebuild(session, forge.id)
            publish_channel(deployment, forge.id)
            return None
        return read_file(store, file)

    monkeypatch.setattr(exports, "take_snapshot", take_snapshot_and_go_on)
    monkeypatch.setattr(exports, "read_file", read_late)

    report = export()

    assert (report.copied, len(taken)) == (4, 2)
    assert read_json(folder / "noarch/repodata.json")["removed"] == ["base-2.0-0.conda"]


def test_documents_that_many_supersede_are_read_before_the_shards(export, monkeypatch):
    read = []

    def reading(what, call):
        def noting(*arguments):
            read.append(what)
            return call(*arguments)

        return noting

    monkeypatch.setattr(exports, "read_file", reading("document", read_file))
    monkeypatch.setattr(exports, "shard_key", reading("shard", shard_key))

    export()

    assert set(read) == {"document", "shard"}
    assert read == sorted(read)


def test_a_channel_that_never_rests_is_told(deployment, export, monkeypatch):
    def publish_and_change(deployment, channel_id):
        published = publish_channel(deployment, channel_id)
        with deployment.transaction(write=True) as session:
            mark_dirty(session, channel_id, "noarch", "base")
        return published

    monkeypatch.setattr(exports, "publish_channel", publish_and_change)

    with pytest.raises(ChannelBusy, match="try again"):
        export()
