"""Backups of a deployment with its packages, and deployments that are restored from them."""

import time
from contextlib import closing

import pytest
from sqlalchemy import column, select, table

from quetz.db.models import Event, File, IndexDirty, StoredObject
from quetz.db.queries.channels import get_channel
from quetz.deployment import Deployment
from quetz.errors import BadOption
from quetz.errors.backups import BackupRunning, BadBackupFolder, NotRestorable, RestoreUnfinished
from quetz.errors.migrations import BackupUnsound
from quetz.services.files import delete_file
from quetz.services.permissions import OPERATOR
from quetz.services.publishing import keys_of, list_published, read_file
from quetz.testing.packages import build_package
from quetz.testing.publishing import publish_all
from quetz.tests.worker.soundness import NUMPY, check, find_file, object_of, settle, upload
from quetz.worker.backup_folders import alone_in, find_state
from quetz.worker.backups import Fault, back_up
from quetz.worker.collecting import collect
from quetz.worker.restores import Restore

pytestmark = pytest.mark.usefixtures("database_programs")

VERSIONS = table("alembic_version", column("version_num"))


def unseen(_done, _total):
    """Show nothing."""


@pytest.fixture
def backups(tmp_path):
    return tmp_path / "backups"


@pytest.fixture
def elsewhere(tmp_path):
    path = tmp_path / "elsewhere"
    path.mkdir()
    return path


@pytest.fixture
def other_url(databases, database_url):
    """Name another database, without a table."""
    if database_url.get_backend_name() == "sqlite":
        return "sqlite:///quetz.sqlite"
    return databases.empty().render_as_string(hide_password=False)


def take(deployment, folder, *, keep=5):
    return back_up(deployment, folder, keep=keep, watch=unseen)


def restore(folder, path, url=None):
    return Restore(find_state(folder), path, url).run(unseen)


def write_heads(deployment, heads):
    with deployment.transaction(write=True) as session:
        session.execute(VERSIONS.delete())
        session.execute(VERSIONS.insert(), [{"version_num": head} for head in heads])


def files_of(deployment):
    """Return the bytes of every file by its channel, subdir and name."""
    with deployment.transaction() as session:
        files = session.scalars(select(File)).all()
    return {
        (file.channel_id, file.subdir, file.filename): (
            deployment.path / "store" / "objects" / file.sha256[:2] / file.sha256
        ).read_bytes()
        for file in files
    }


def documents_of(deployment):
    """Return the bytes of every shard index and JSON document that is published."""
    with deployment.transaction() as session:
        published = list_published(session)
    return {
        (switch, form): read_file(deployment.store, file)
        for switch, found in published.items()
        for form, file in found.files.items()
    }


def index_keys(deployment):
    with deployment.transaction() as session:
        published = list_published(session)
    return {key for found in published.values() for key in keys_of(found.files)}


def test_a_backup_becomes_the_same_deployment_elsewhere(sound, backups, elsewhere, other_url):
    files, documents = files_of(sound), documents_of(sound)

    made = take(sound, backups)
    report = restore(backups, elsewhere, other_url)

    assert (made.faults, report.kept) == ([], 0)
    assert made.copied == report.copied == made.state.manifest.objects
    with closing(Deployment.open(elsewhere)) as restored:
        settle(restored)
        assert files_of(restored) == files
        assert documents_of(restored).keys() >= documents.keys()
        assert check(restored, deep=True)[1] == []


def test_what_came_after_the_backup_is_gone_and_what_went_is_back(sound, backups, tmp_path):
    before = files_of(sound)
    take(sound, backups)
    upload(sound, "forge", build_package(tmp_path, "later"))
    with sound.transaction(write=True) as session:
        forge = get_channel(session, "forge")
        delete_file(session, OPERATOR, forge, find_file(session, NUMPY))
    settle(sound)
    later_keys = index_keys(sound)
    collect(sound, grace_ms=-1)

    report = restore(backups, sound.path)

    with closing(Deployment.open(sound.path)) as restored:
        publish_all(restored)
        assert report.former is not None
        assert report.copied > 0
        assert files_of(restored) == before
        assert index_keys(restored).isdisjoint(later_keys)
        assert restored.restored_at > time.time() * 1000
        settle(restored)
        assert check(restored, deep=True)[1] == []
        with restored.transaction() as session:
            last = session.scalars(select(Event).order_by(Event.position.desc()).limit(1)).one()
    assert (last.action, last.actor) == ("deployment.restore", "operator")


def test_changes_after_a_restore_have_numbers_that_were_never_seen(sound, backups, tmp_path):
    take(sound, backups)
    upload(sound, "forge", build_package(tmp_path, "later"))
    with sound.transaction() as session:
        seen = max(session.scalars(select(IndexDirty.id)))

    restore(backups, sound.path)

    with closing(Deployment.open(sound.path)) as restored, restored.transaction() as session:
        assert min(session.scalars(select(IndexDirty.id).where(IndexDirty.name == ""))) > seen


def test_a_second_backup_copies_only_what_is_new(sound, backups, tmp_path):
    first = take(sound, backups)
    upload(sound, "forge", build_package(tmp_path, "later"))

    second = take(sound, backups)

    assert (second.copied, second.kept) == (1, first.copied)
    assert find_state(backups) == second.state
    assert find_state(first.state.folder) == first.state


def test_objects_that_no_backup_has_any_more_go_with_the_last_one(sound, backups):
    first = take(sound, backups)
    with sound.transaction(write=True) as session:
        file = find_file(session, NUMPY)
        delete_file(session, OPERATOR, get_channel(session, "forge"), file)
    collect(sound, grace_ms=-1)
    copy = first.state.object_path(file.sha256)
    assert copy.exists()

    take(sound, backups, keep=1)

    assert not first.state.folder.exists()
    assert not copy.exists()


def test_no_object_is_removed_while_the_list_of_a_kept_backup_is_damaged(sound, backups):
    take(sound, backups)
    second = take(sound, backups)
    with sound.transaction(write=True) as session:
        file = find_file(session, NUMPY)
        delete_file(session, OPERATOR, get_channel(session, "forge"), file)
    collect(sound, grace_ms=-1)
    (second.state.folder / "objects.txt").write_bytes(b"")

    third = take(sound, backups, keep=2)

    assert "objects.txt" in third.warning
    assert second.state.object_path(file.sha256).exists()
    assert find_state(backups) == third.state


def test_damage_in_the_folder_of_backups_is_found_and_mended_by_a_backup_that_verifies(
    sound, backups
):
    made = take(sound, backups)
    with sound.transaction() as session:
        path = made.state.object_path(find_file(session, NUMPY).sha256)
    content = path.read_bytes()
    path.write_bytes(b"x" * len(content))

    unread = take(sound, backups)
    verified = back_up(sound, backups, keep=5, watch=unseen, verify=True)

    assert (unread.copied, verified.copied) == (0, 1)
    assert path.read_bytes() == content


def test_objects_that_are_lost_or_damaged_are_named_and_the_rest_is_copied(sound, backups):
    with sound.transaction() as session:
        lost, damaged = (
            find_file(session, name) for name in (NUMPY, "forge-repodata-patches-1.0-0.conda")
        )
    object_of(sound, lost.filename).unlink()
    path = object_of(sound, damaged.filename)
    path.write_bytes(b"x" * path.stat().st_size)

    report = take(sound, backups)

    assert sorted(report.faults, key=lambda fault: fault.reason) == [
        Fault(damaged.sha256, "damaged", [f"forge/{damaged.subdir}/{damaged.filename}"]),
        Fault(lost.sha256, "missing", [f"forge/{lost.subdir}/{lost.filename}"]),
    ]
    assert not report.state.object_path(damaged.sha256).exists()
    assert report.copied == report.state.manifest.objects > 0


def test_a_lost_object_that_no_file_names_is_no_fault(sound, backups):
    with sound.transaction(write=True) as session:
        session.add(StoredObject(sha256="0" * 64, size=1))

    report = take(sound, backups)

    assert report.faults == []


@pytest.mark.parametrize("name", ["config.toml", "objects.txt"])
def test_a_backup_that_was_changed_is_refused_before_anything_is_restored(
    sound, backups, elsewhere, other_url, name
):
    made = take(sound, backups)
    with (made.state.folder / name).open("a") as file:
        file.write("\n")

    with pytest.raises(BackupUnsound, match=name):
        restore(backups, elsewhere, other_url)

    assert list(elsewhere.iterdir()) == []


def test_a_damaged_object_of_a_backup_is_named_and_its_return_finishes_the_restore(
    sound, backups, elsewhere, other_url
):
    made = take(sound, backups)
    with sound.transaction() as session:
        path = made.state.object_path(find_file(session, NUMPY).sha256)
    content = path.read_bytes()
    path.write_bytes(b"damaged")

    with pytest.raises(BackupUnsound, match=path.name):
        restore(backups, elsewhere, other_url)
    with pytest.raises(RestoreUnfinished, match=f"quetz restore {made.state.folder}"):
        Deployment.open(elsewhere)
    path.write_bytes(content)
    restore(backups, elsewhere)

    with closing(Deployment.open(elsewhere)) as restored:
        settle(restored)
        assert check(restored, deep=True)[1] == []


def test_damaged_objects_of_a_deployment_are_mended_by_a_restore(sound, backups):
    take(sound, backups)
    path = object_of(sound, NUMPY)
    content = path.read_bytes()
    path.write_bytes(b"x" * len(content))

    restore(backups, sound.path)

    assert path.read_bytes() == content


def test_a_database_in_use_is_not_replaced_by_the_restore_to_a_new_folder(
    sound, backups, elsewhere
):
    take(sound, backups)

    with pytest.raises(NotRestorable, match="--database-url"):
        restore(backups, elsewhere)

    assert list(elsewhere.iterdir()) == []


def test_a_restore_that_goes_on_without_its_database_url_spares_the_database_in_use(
    sound, backups, elsewhere
):
    take(sound, backups)
    (elsewhere / "restoring.json").write_text("{}")

    with pytest.raises(NotRestorable, match="--database-url"):
        restore(backups, elsewhere)

    assert not (elsewhere / "config.toml").exists()


def test_a_folder_with_other_things_is_left_alone(sound, backups, elsewhere, other_url):
    take(sound, backups)
    (elsewhere / "thesis.tex").touch()

    with pytest.raises(NotRestorable, match=r"thesis\.tex"):
        restore(backups, elsewhere, other_url)
    with pytest.raises(BadBackupFolder, match=r"thesis\.tex"):
        take(sound, elsewhere)


def test_backups_in_the_deployment_itself_are_refused(sound):
    with pytest.raises(BadBackupFolder, match="lost with it"):
        take(sound, sound.path / "store" / "objects")


def test_the_folder_of_backups_and_the_deployment_do_not_lie_in_one_another(
    sound, backups, other_url
):
    take(sound, backups)
    inside = backups / "restored"
    inside.mkdir()

    with pytest.raises(BadBackupFolder, match="the deployment lies in it"):
        take(sound, sound.path.parent)
    with pytest.raises(NotRestorable, match="lies in the folder of backups"):
        restore(backups, inside, other_url)


def test_a_url_that_the_configuration_in_place_does_not_name_is_refused(sound, backups):
    take(sound, backups)

    with pytest.raises(BadOption, match="leave out --database-url"):
        restore(backups, sound.path, "sqlite:///another.sqlite")


def test_one_command_at_a_time_writes_to_a_folder_of_backups(sound, backups):
    with alone_in(backups), pytest.raises(BackupRunning):
        take(sound, backups)


def test_a_backup_is_not_restored_while_another_one_is_made(sound, backups):
    take(sound, backups)

    with alone_in(backups), pytest.raises(BackupRunning):
        restore(backups, sound.path)


def test_a_folder_without_a_finished_backup_holds_none(backups):
    backups.mkdir()

    with pytest.raises(BackupUnsound, match="no finished backup"):
        find_state(backups)


def test_a_backup_of_a_newer_version_with_unknown_migrations_is_refused(
    sound, backups, elsewhere, other_url, monkeypatch
):
    with sound.transaction() as session:
        heads = session.execute(select(VERSIONS)).scalars().all()
    write_heads(sound, ["future"])
    with monkeypatch.context() as patch:
        patch.setattr("quetz.__version__", "99.0")
        made = take(sound, backups)
    write_heads(sound, heads)  # the database is used again

    with pytest.raises(NotRestorable, match=r"quetz 99\.0.*future"):
        restore(made.state.folder, elsewhere, other_url)

    assert list(elsewhere.iterdir()) == []
