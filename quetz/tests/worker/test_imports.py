import hashlib
import json
import sys

import pytest

from quetz.conda.channel_folders import read_channel_folder
from quetz.db.base import now_ms
from quetz.db.models import Channel, Event, File, IndexDirty, Package, StoredObject, Tombstone
from quetz.db.queries.channels import get_channel
from quetz.errors import QuotaExceeded
from quetz.plugins import PluginFailed, load_plugins
from quetz.services.files import delete_file
from quetz.services.imports import record_imports
from quetz.services.permissions import OPERATOR
from quetz.services.uploads import check_received, record
from quetz.storage.keys import object_key
from quetz.testing.factories import make_channel
from quetz.testing.packages import build_package
from quetz.testing.publishing import publish_all
from quetz.tests.migrations.distributions import Site
from quetz.worker import imports
from quetz.worker.imports import BATCH, import_folder
from quetz.worker.receiving import ENOUGH_FOR_PROCESSES

PKG = "noarch/pkg-1.0-0.conda"


@pytest.fixture
def channel(deployment):
    with deployment.transaction(write=True) as session:
        return make_channel(session, "forge")


@pytest.fixture
def folder(tmp_path, channel):
    """A channel's folder to import, with an empty noarch."""
    folder = tmp_path / "static"
    (folder / "noarch").mkdir(parents=True)
    return folder


@pytest.fixture
def run(deployment, folder):
    """Import the folder, and return what became of its files."""

    def run():
        return import_folder(deployment, OPERATOR, "forge", read_channel_folder(folder))

    return run


@pytest.fixture
def upload(deployment):
    """Upload a package of a file, as a client would."""

    def upload(path, channel="forge"):
        with deployment.store.stage() as stage:
            stage.write(path.read_bytes())
            received = check_received([(path.name, stage)], None)
            deployment.store.put(stage, object_key(stage.sha256))
        with deployment.transaction(write=True) as session:
            record(session, deployment.plugins, OPERATOR, channel, received)

    return upload


def write_repodata(folder, **document):
    (folder / "noarch" / "repodata.json").write_text(json.dumps(document))


def rows(deployment, model):
    with deployment.transaction() as session:
        return session.query(model).order_by(model.id).all()


OWN = {"id", "public_id", "channel_id", "package_id"}
TIMES = {"uploaded_at", "latest_change", "created_at"}


def columns(row):
    """Return what a row tells of a package, of whichever channel and time."""
    kept = {column.name for column in row.__table__.columns} - OWN - TIMES
    told = {name: getattr(row, name) for name in kept}
    if isinstance(row, Channel):
        del told["name"]
    if isinstance(row, File):
        told["record"] = json.loads(row.record) | {"indexed_timestamp": 0}
    return told


def test_a_file_is_imported_as_it_would_be_uploaded(deployment, folder, run, upload):
    with deployment.transaction(write=True) as session:
        make_channel(session, "other")
    for version in ("10.0", "9.0"):
        package = build_package(
            folder / "noarch",
            version=version,
            build_number=2,
            depends=["python"],
            run_exports={"weak": ["pkg"]},
            about={"summary": "Ours", "home": "https://a"},
        )
        upload(package, "other")

    report = run()

    for model, count in ((File, 4), (Package, 2), (Channel, 2)):
        told = [columns(row) for row in rows(deployment, model)]
        assert len(told) == count
        assert sorted(told[: count // 2], key=str) == sorted(told[count // 2 :], key=str)
    assert (report.imported, report.yanked, report.unchanged, report.refused) == (2, 0, 0, [])


def test_each_file_leaves_its_event_and_each_name_its_marks(deployment, folder, run):
    build_package(folder / "noarch")
    build_package(folder / "noarch", version="2.0")

    run()

    assert {(row.subdir, row.family, row.name) for row in rows(deployment, IndexDirty)} == {
        ("noarch", "shards", "pkg"),
        ("noarch", "repodata", "pkg"),
        ("", "channeldata", "pkg"),
    }
    assert [(one.actor, one.action, one.subject) for one in rows(deployment, Event)] == [
        ("operator", "file.upload", "noarch/pkg-1.0-0.conda"),
        ("operator", "file.upload", "noarch/pkg-2.0-0.conda"),
    ]


def test_the_bytes_are_in_the_store(deployment, folder, run):
    path = build_package(folder / "noarch")

    run()

    data = path.read_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    with deployment.store.open_file(object_key(sha256)) as stored:
        assert stored.read() == data
    with deployment.transaction() as session:
        assert session.get_one(StoredObject, sha256).size == len(data)


def test_when_a_file_was_indexed_is_taken_over_but_not_from_the_future(deployment, folder, run):
    for version in ("1.0", "2.0", "3.0"):
        build_package(folder / "noarch", version=version)
    times = {"1.0": 1_600_000_000_123, "2.0": 99_000_000_000_000}
    listed = {f"pkg-{one}-0.conda": {"indexed_timestamp": at} for one, at in times.items()}
    write_repodata(folder, **{"packages.conda": listed})
    began = now_ms()

    run()

    records = [json.loads(file.record) for file in rows(deployment, File)]
    first, *others = [record["indexed_timestamp"] for record in records]
    assert first == 1_600_000_000_123
    assert all(began <= at <= now_ms() for at in others)
    assert {record["timestamp"] for record in records} == {1_700_000_000_000}


def test_what_was_removed_is_yanked(deployment, folder, run):
    build_package(folder / "noarch", version="1.0", about={"summary": "Ours"})
    build_package(folder / "noarch", version="2.0", about={"summary": "Broken"})
    write_repodata(folder, removed=["pkg-2.0-0.conda", "pkg-3.0-0.conda"])

    report = run()

    kept, removed = rows(deployment, File)
    assert (kept.yanked_at, removed.yank_reason) == (None, "removed in the imported channel")
    assert removed.yanked_at is not None
    [package] = rows(deployment, Package)
    assert (package.current_version, package.summary) == ("1.0", "Ours")
    assert (report.imported, report.yanked) == (2, 1)
    *_, event = rows(deployment, Event)
    assert (event.action, event.subject) == ("version.yank", "noarch/pkg-2.0-0.conda")
    assert json.loads(event.after) == {
        "yanked": True,
        "reason": "removed in the imported channel",
    }


def write_broken(folder):
    (folder / PKG).write_bytes(b"no package")


def write_of_other_subdir(folder):
    build_package(folder / "noarch", subdir="linux-64")


def write_of_other_name(folder):
    build_package(folder / "noarch", name="other").rename(folder / PKG)


def write_badly_named(folder):
    build_package(folder / "noarch").rename(folder / "noarch" / "pkg_1.0.conda")


def write_and_list(key, value):
    def write(folder):
        build_package(folder / "noarch")
        write_repodata(folder, **{"packages.conda": {"pkg-1.0-0.conda": {key: value}}})

    return write


def list_only(folder):
    write_repodata(folder, packages={"pkg-1.0-0.tar.bz2": {}})


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        pytest.param(write_broken, "'pkg-1.0-0.conda': the zip: is broken", id="broken"),
        pytest.param(write_of_other_subdir, "its subdir is 'linux-64'", id="another subdir"),
        pytest.param(write_of_other_name, "info-pkg-1.0-0.tar.zst: is missing", id="other name"),
        pytest.param(write_badly_named, "'pkg_1.0.conda' is not a package file", id="bad name"),
        pytest.param(write_and_list("size", 7), "its repodata says size 7, the", id="size"),
        pytest.param(write_and_list("md5", "ab"), "its repodata says md5 ab, the", id="md5"),
        pytest.param(write_and_list("sha256", "cd"), "says sha256 cd, the file has", id="sha256"),
        pytest.param(list_only, "its repodata lists it, and there is no such file", id="missing"),
    ],
)
def test_a_file_that_breaks_a_rule_is_refused_and_the_others_are_not(
    deployment, folder, run, write, reason
):
    write(folder)
    build_package(folder / "noarch", name="sound")

    report = run()

    [refusal] = report.refused
    assert refusal.path.startswith("noarch/pkg")
    assert reason in str(refusal.error)
    assert report.imported == 1
    assert [file.name for file in rows(deployment, File)] == ["sound"]
    assert len(list(deployment.store.list_objects())) == 1


def test_hashes_of_repodata_that_are_right_refuse_nothing(folder, run):
    data = build_package(folder / "noarch").read_bytes()
    listed = {
        "size": len(data),
        "md5": hashlib.md5(data).hexdigest().upper(),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    write_repodata(folder, **{"packages.conda": {"pkg-1.0-0.conda": listed}})

    assert run().imported == 1


def test_a_name_that_other_bytes_have_is_refused(deployment, folder, run, upload, tmp_path):
    upload(build_package(tmp_path, files={"a": b"first"}))
    build_package(folder / "noarch", files={"a": b"second"})

    report = run()

    [refusal] = report.refused
    assert refusal.path == PKG
    assert "exists" in str(refusal.error)
    assert len(list(deployment.store.list_objects())) == 1


@pytest.mark.parametrize("same", [True, False], ids=["the same bytes", "other bytes"])
def test_a_deleted_name_is_free_for_its_bytes_alone(deployment, channel, folder, run, upload, same):
    path = build_package(folder / "noarch")
    upload(path)
    [file] = rows(deployment, File)
    with deployment.transaction(write=True) as session:
        delete_file(session, OPERATOR, channel, file)
    if not same:
        build_package(folder / "noarch", files={"a": b"other"})

    report = run()

    assert report.imported == len(rows(deployment, File)) == int(same)
    assert len(report.refused) == len(rows(deployment, Tombstone)) == int(not same)


def test_what_the_channel_holds_is_left_as_it_is(deployment, folder, run):
    build_package(folder / "noarch")
    run()
    publish_all(deployment)
    before = [(row.id, row.record, row.uploaded_at) for row in rows(deployment, File)]

    report = run()

    assert (report.imported, report.unchanged) == (0, 1)
    assert [(row.id, row.record, row.uploaded_at) for row in rows(deployment, File)] == before
    assert len(rows(deployment, Event)) == 1
    assert rows(deployment, IndexDirty) == []


def test_a_quota_holds_for_each_file(deployment, folder, run):
    small = build_package(folder / "noarch", name="a").stat().st_size
    build_package(folder / "noarch", name="b", files={"a": bytes(range(256)) * 50})
    build_package(folder / "noarch", name="c")
    with deployment.transaction(write=True) as session:
        get_channel(session, "forge").size_limit = 2 * small + 100

    report = run()

    assert [file.name for file in rows(deployment, File)] == ["a", "c"]
    assert [type(one.error) for one in report.refused] == [QuotaExceeded]
    [channel] = rows(deployment, Channel)
    assert channel.size == sum(file.size for file in rows(deployment, File))


def test_many_files_are_received_by_processes_and_recorded_in_batches(deployment, folder, run):
    count = max(ENOUGH_FOR_PROCESSES, 2 * BATCH) + 1
    for number in range(count):
        build_package(folder / "noarch", name=f"name{number % 90}", version=str(number))
    (folder / "noarch" / "bad-1.0-0.conda").write_bytes(b"no package")

    report = run()

    assert (report.imported, len(report.refused)) == (count, 1)
    [channel] = rows(deployment, Channel)
    files, packages = rows(deployment, File), rows(deployment, Package)
    assert (len(files), len(packages), len(rows(deployment, Event))) == (count, 90, count)
    assert channel.packages_count == 90
    assert channel.size == sum(file.size for file in files)
    assert sum(package.files_count for package in packages) == count
    newest = {package.name: package.current_version for package in packages}
    assert newest["name0"] == str(max(range(0, count, 90)))
    assert run().unchanged == count


def test_fewer_files_are_recorded_at_once_where_that_takes_long(folder, run, monkeypatch):
    for number in range(100):
        build_package(folder / "noarch", name=f"name{number}")
    sizes = []

    def recording(*arguments):
        sizes.append(len(arguments[-1]))
        return record_imports(*arguments)

    monkeypatch.setattr("quetz.services.imports.record_imports", recording)
    monkeypatch.setattr(imports, "BATCH", 32)
    monkeypatch.setattr(imports, "WRITE_SECONDS", 0.0)

    report = run()

    assert report.imported == 100
    assert sizes == [32, 16, 16, 16, 16, 4]


HOOK = """\
from quetz.plugin_api import Invalid, hookimpl

@hookimpl
def check_upload(archive):
    if archive.index["name"] == "unwanted":
        raise Invalid("we do not want it")

@hookimpl
def package_published(session, file, archive):
    if archive.index["name"] == "faulty":
        1 / 0
    file.build = archive.index["version"] + " seen"
"""


@pytest.fixture
def plugin(deployment, tmp_path, monkeypatch):
    """A plugin that refuses one name, fails on another, and writes into the row of the rest."""
    site = Site(tmp_path / "site")
    site.folder.mkdir()
    site.install("quetz-foo", {"hooks.py": HOOK})
    monkeypatch.syspath_prepend(site.folder)
    deployment.plugins = load_plugins([])
    yield
    for module in [module for module in sys.modules if module.startswith("quetz_")]:
        del sys.modules[module]


def test_plugins_may_refuse_a_file_and_are_told_of_the_others(deployment, folder, run, plugin):
    build_package(folder / "noarch", name="unwanted")
    build_package(folder / "noarch", name="wanted", version="3.0")

    report = run()

    [refusal] = report.refused
    assert refusal.path == "noarch/unwanted-1.0-0.conda"
    assert str(refusal.error) == "we do not want it"
    assert [(file.name, file.build) for file in rows(deployment, File)] == [("wanted", "3.0 seen")]
    assert len(list(deployment.store.list_objects())) == 1


def test_a_plugin_that_fails_ends_the_import_and_undoes_the_batch(deployment, folder, run, plugin):
    build_package(folder / "noarch", name="another")
    build_package(folder / "noarch", name="faulty")

    with pytest.raises(PluginFailed):
        run()

    for model in (File, Package, Event, IndexDirty):
        assert rows(deployment, model) == []
