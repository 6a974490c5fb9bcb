"""What fsck finds in the store and in the indexes, and while servers run."""

import json
import threading
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import delete, select, text, update

from quetz.db.base import now_ms
from quetz.db.models import Event, File, IndexState, Upload
from quetz.db.queries.channels import get_channel
from quetz.deployment import STORE_FOLDER
from quetz.services.background import running
from quetz.services.index_names import gzip_key
from quetz.services.index_zips import ZippedDocuments
from quetz.services.publishing import (
    CHANNEL_WIDE,
    CHANNELDATA,
    CHANNELDATA_ZST,
    EVERYTHING,
    FROM_PACKAGES_ZST,
    REPODATA,
    REPODATA_ZST,
    RUN_EXPORTS_ZST,
    SHARD_INDEX,
    SHARDS,
    Switch,
    list_published,
    mark_dirty,
)
from quetz.services.repairs import QUARANTINED
from quetz.storage.keys import object_key, parse_index_key
from quetz.testing.factories import make_channel, make_file
from quetz.testing.packages import build_package
from quetz.tests.worker.soundness import (
    NUMPY,
    SUBDIR,
    change,
    check,
    find_file,
    object_of,
    places,
    settle,
    upload,
)
from quetz.worker.background import background_of
from quetz.worker.checks import indexes
from quetz.worker.checks.findings import Ground, Severity
from quetz.worker.checks.objects import check_reservations, check_unreferenced
from quetz.worker.fsck import MOST_TOLD


def store_path(deployment, key):
    path = deployment.store.path(key)
    assert path is not None
    return path


def switch_of(deployment, family, subdir=SUBDIR):
    with deployment.transaction() as session:
        channel = get_channel(session, "forge").id
    return Switch(channel, CHANNEL_WIDE if family == CHANNELDATA else subdir, family)


def published(deployment, family, form):
    switch = switch_of(deployment, family)
    with deployment.transaction() as session:
        return list_published(session, switch.channel_id)[switch].files[form]


@pytest.mark.parametrize("deep", [False, True], ids=["quick", "deep"])
def test_a_sound_deployment_has_no_fault(sound, deep):
    report, found = check(sound, deep=deep, repair=True)

    assert found == []
    assert (report.errors_left, report.repaired) == (0, 0)
    assert report.looked_at["files"] == 7
    assert report.looked_at["indexes"] == 10


def test_objects_of_deleted_and_replaced_files_are_counted(sound):
    with sound.store.stage() as stage:
        stage.write(b"of no row")
        stage.finish()
        sound.store.put(stage, object_key(stage.sha256))

    [finding] = check_unreferenced(Ground(sound))

    assert (finding.invariant, finding.severity) == ("I6", "info")
    assert "4 objects" in finding.what  # two were deleted, one was replaced
    assert "1 of them have no row" in finding.what


def test_expired_reservations_are_counted(sound):
    with sound.transaction(write=True) as session:
        forge = get_channel(session, "forge").id
        session.add(Upload(channel_id=forge, size=10, expires_at=now_ms() - 1))
        session.add(Upload(channel_id=forge, size=10, expires_at=now_ms() + 60_000))

    [finding] = check_reservations(Ground(sound))

    assert (finding.invariant, finding.severity) == ("I7", "info")
    assert "1 reservations of 10 bytes" in finding.what


@pytest.mark.parametrize("damage", ["missing", "cut short"])
def test_an_object_that_is_not_there_as_a_whole_is_found(sound, damage):
    path = object_of(sound, NUMPY)
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1])

    report, found = check(sound, deep=True, repair=True)

    assert places(found) == [("I1", f"forge/{SUBDIR}/{NUMPY}")]
    assert report.errors_left == 1


def flip_a_bit(path):
    """Return what the file was."""
    right = path.read_bytes()
    damaged = bytearray(right)
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    return right


def test_an_object_with_a_flipped_bit_is_found_by_a_deep_check_only(sound):
    flip_a_bit(object_of(sound, NUMPY))

    _, quick = check(sound)
    report, found = check(sound, deep=True)

    assert quick == []
    assert places(found) == [("I2", f"forge/{SUBDIR}/{NUMPY}")]
    assert report.errors_left == 1


def test_damaged_bytes_are_moved_aside_and_the_same_file_uploaded_again_heals_it(sound, tmp_path):
    path = object_of(sound, NUMPY)
    right = flip_a_bit(path)
    damaged = path.read_bytes()
    again = tmp_path / NUMPY
    again.write_bytes(right)

    report, found = check(sound, deep=True, repair=True)
    [aside] = (sound.path / STORE_FOLDER / "quarantine").iterdir()
    upload(sound, "forge", again)

    place = f"forge/{SUBDIR}/{NUMPY}"
    assert places(found) == [("I2", place), ("I1", place)]
    assert (report.repaired, report.errors_left) == (1, 1)  # the file is still without its bytes
    assert aside.read_bytes() == damaged
    assert path.read_bytes() == right
    assert check(sound, deep=True)[1] == []
    with sound.transaction() as session:
        event = session.scalars(select(Event).where(Event.action == QUARANTINED)).one()
    assert (event.subject, event.after) == (path.name, f"quarantine/{aside.name}")


def test_right_bytes_of_which_a_row_says_another_md5_stay_where_they_are(sound):
    path = object_of(sound, NUMPY)
    change(sound, update(File).where(File.filename == NUMPY).values(md5="0" * 32))

    report, found = check(sound, deep=True, repair=True)

    assert ("I2", f"forge/{SUBDIR}/{NUMPY}") in places(found)
    assert path.exists()
    assert report.errors_left > 0


def test_a_record_that_its_archive_does_not_have_is_found_by_a_deep_check(sound):
    with sound.transaction(write=True) as session:
        file = find_file(session, NUMPY)
        record = json.loads(file.record) | {"depends": ["malware"]}
        file.record = json.dumps(record, sort_keys=True, separators=(",", ":"))
        mark_dirty(session, file.channel_id, SUBDIR, "numpy")
    settle(sound)

    _, found = check(sound, deep=True)

    assert places(found) == [("I3", f"forge/{SUBDIR}/{NUMPY}")]
    assert "depends" in found[0].what


def test_marks_that_nobody_publishes_are_told(sound):
    with sound.transaction(write=True) as session:
        mark_dirty(session, get_channel(session, "secret").id, "noarch", "forgotten")

    report, found = check(sound)

    assert places(found) == [
        ("I4", f"secret/{one}") for one in ("channeldata", "noarch/repodata", "noarch/shards")
    ]
    assert report.errors_left == 0


def test_marks_of_a_moment_ago_are_no_fault(sound, tmp_path):
    upload(sound, "forge", build_package(tmp_path, "fresh", "1.0"))

    _, found = check(sound, deep=True)

    assert found == []


def tear(deployment, family, form):
    path = store_path(deployment, parse_index_key(published(deployment, family, form).key))
    path.write_bytes(path.read_bytes()[:-3])


@pytest.mark.parametrize(
    ("family", "form"),
    [
        (SHARDS, SHARD_INDEX),
        (REPODATA, REPODATA_ZST),
        (REPODATA, RUN_EXPORTS_ZST),
        (REPODATA, FROM_PACKAGES_ZST),
        (CHANNELDATA, CHANNELDATA_ZST),
    ],
)
def test_a_torn_index_is_found_and_built_anew(sound, family, form):
    tear(sound, family, form)
    subject = "/".join(filter(None, ("forge", switch_of(sound, family).subdir, family)))

    _, before = check(sound)
    report, found = check(sound, repair=True)
    _, after = check(sound, deep=True)

    assert places(before) == places(found) == [("I5", subject)]
    assert (report.repaired, report.errors_left) == (1, 0)
    assert after == []


def test_a_repair_leaves_an_event(sound):
    tear(sound, SHARDS, SHARD_INDEX)

    check(sound, repair=True)

    with sound.transaction() as session:
        query = select(Event.actor, Event.channel, Event.subject)
        events = session.execute(query.where(Event.action == "action.reindex")).all()
    assert events == [("operator", "forge", f"{SUBDIR}/shards")]


def test_an_index_that_was_never_published_is_found_and_built(sound):
    switch = switch_of(sound, REPODATA)
    change(sound, delete(IndexState).where(IndexState.family == REPODATA))

    report, found = check(sound, repair=True)
    _, after = check(sound, deep=True)

    assert ("I5", f"forge/{SUBDIR}/repodata") in places(found)
    assert report.errors_left == 0
    assert after == []
    assert published(sound, REPODATA, REPODATA_ZST).key.startswith(f"index/{switch.channel_id}/")


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param(update(File).where(File.filename == NUMPY).values(yanked_at=1), id="yanked"),
        pytest.param(
            update(File).where(File.filename == NUMPY).values(run_exports='{"weak":["other"]}'),
            id="run_exports",
        ),
        pytest.param(delete(File).where(File.filename == NUMPY), id="deleted"),
    ],
)
def test_a_change_without_a_mark_is_found_in_every_form(sound, statement):
    change(sound, statement)

    found = [one.subject for one in indexes.check_indexes(Ground(sound, deep=True))]

    assert {f"forge/{SUBDIR}/repodata", f"forge/{SUBDIR}/shards"} <= set(found)


def test_a_file_that_no_index_lists_is_found_and_listed(sound, tmp_path):
    upload(sound, "secret", build_package(tmp_path, "unmarked", subdir="noarch"))
    change(sound, text("DELETE FROM index_dirty"))

    _, quick = check(sound)
    report, found = check(sound, deep=True, repair=True)
    _, after = check(sound, deep=True)

    assert quick == []
    assert places(found) == [
        ("I5", f"secret/{one}") for one in ("channeldata", "noarch/repodata", "noarch/shards")
    ]
    assert (report.repaired, report.errors_left) == (3, 0)
    assert after == []


def test_a_gzip_form_that_is_torn_is_found_and_replaced(sound):
    file = published(sound, REPODATA, REPODATA_ZST)
    path = store_path(sound, ZippedDocuments(sound.store).make(file))
    _, whole = check(sound, deep=True)
    path.write_bytes(path.read_bytes()[:-9])

    report, found = check(sound, deep=True, repair=True)

    assert whole == []
    assert places(found) == [("I5", f"forge/{SUBDIR}/repodata")]
    assert report.errors_left == 0
    assert gzip_key(published(sound, REPODATA, REPODATA_ZST).key) != gzip_key(file.key)


def test_an_index_that_cannot_be_built_stays_an_error(sound):
    tear(sound, SHARDS, SHARD_INDEX)
    change(sound, update(File).where(File.filename == NUMPY).values(run_exports="no JSON"))

    report, found = check(sound, repair=True)

    assert places(found) == [("I5", f"forge/{SUBDIR}/shards")]
    assert (report.repaired, report.errors_left) == (0, 1)


def test_a_record_that_is_no_json_is_found(sound):
    change(sound, update(File).where(File.filename == NUMPY).values(record="no JSON"))

    _, found = check(sound, deep=True)

    assert ("I3", f"forge/{SUBDIR}/{NUMPY}") in places(found)
    assert {one.invariant for one in found} == {"I3", "I5"}


@pytest.mark.parametrize(
    ("damage", "mend", "name"),
    [
        pytest.param(
            lambda path: path.chmod(0o777), lambda path: path.chmod(0o755), "objects/00", id="mode"
        ),
        pytest.param(lambda path: path.write_text(""), Path.unlink, "objects/00/a", id="file"),
        pytest.param(lambda path: path.symlink_to("/"), Path.unlink, "index/link", id="link"),
        pytest.param(Path.mkdir, Path.rmdir, "strange", id="folder"),
    ],
)
def test_what_does_not_belong_into_the_store_is_found(sound, damage, mend, name):
    path = sound.path / STORE_FOLDER / name
    damage(path)
    try:
        _, found = check(sound)
    finally:
        mend(path)  # other tests use the same folders

    assert places(found) == [("I15", f"{STORE_FOLDER}/{name}")]


def test_uploads_deletions_and_publishing_meanwhile_are_no_faults(sound, tmp_path):
    over, failed = threading.Event(), []

    def keep_uploading():
        try:
            for number in count():
                name, version = f"busy{number % 7}", f"{number}.0"
                upload(sound, "forge", build_package(tmp_path, name, version, subdir=SUBDIR))
                if over.is_set():
                    return
        except BaseException as error:
            failed.append(error)
            raise

    uploading = threading.Thread(target=keep_uploading)
    with running(background_of(sound)):
        uploading.start()
        rounds = [check(sound, deep=deep, repair=True) for deep in (False, True, True, True)]
        over.set()
        uploading.join()

    assert failed == []
    assert [found for _, found in rounds] == [[], [], [], []]
    assert rounds[-1][0].looked_at["files"] > 7


def test_of_many_findings_the_first_are_told_and_all_are_counted(deployment):
    with deployment.transaction(write=True) as session:
        channel = make_channel(session, "forge")
        for number in range(MOST_TOLD + 5):
            make_file(session, channel, f"pkg-{number}-0.conda")
        mark_dirty(session, channel.id, "noarch", EVERYTHING)

    report, found = check(deployment)

    assert len([one for one in found if one.invariant == "I1"]) == MOST_TOLD
    assert report.untold == {"I1": 5}
    assert report.found[Severity.ERROR] == MOST_TOLD + 5
