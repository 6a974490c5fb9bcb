from concurrent.futures import ThreadPoolExecutor, wait

import pytest
from sqlalchemy import select

from quetz.db.models import Event, File, FileDownloads, IndexDirty, Package, Tombstone
from quetz.db.queries.channels import get_channel
from quetz.db.queries.packages import get_package
from quetz.errors import BadVersionSpec, FileNotFound
from quetz.services.files import (
    FileFilter,
    delete_file,
    describe_file,
    get_file,
    list_file_ids,
    list_files,
)
from quetz.services.permissions import ANONYMOUS
from quetz.services.yanks import restore_file, yank_file
from quetz.testing.factories import add_member, make_channel, make_file, make_user, principal_of


@pytest.fixture
def channel(session):
    return make_channel(session, "forge")


@pytest.fixture
def alice(session, channel):
    user = make_user(session, "alice")
    add_member(session, channel, user, "maintainer")
    return principal_of(user)


def listed(session, channel, name="pkg", **filters):
    package = get_package(session, channel, name)
    ids = list_file_ids(session, package, FileFilter(**filters))
    return [f"{row[0].subdir}/{row[0].filename}" for row in list_files(session, ids)]


def test_files_are_listed_by_falling_version_and_build_number_then_by_place(session, channel):
    make_file(session, channel, "pkg-1.9-0.conda")
    make_file(session, channel, "pkg-1.10-0.tar.bz2", subdir="linux-64")
    make_file(session, channel, "pkg-1.10-0.conda")
    make_file(session, channel, "pkg-1.10-a_1.conda", build_number=1)
    make_file(session, channel, "pkg-1!0.1-0.conda")
    make_file(session, channel, "pkg-other-99-0.conda")

    assert listed(session, channel) == [
        "noarch/pkg-1!0.1-0.conda",
        "noarch/pkg-1.10-a_1.conda",
        "linux-64/pkg-1.10-0.tar.bz2",
        "noarch/pkg-1.10-0.conda",
        "noarch/pkg-1.9-0.conda",
    ]


@pytest.mark.parametrize(
    ("spec", "versions"),
    [
        pytest.param(">=1.9,<2", ["1.10", "1.9"], id="range"),
        pytest.param("1.1.*|2.0", ["2.0"], id="either"),
        pytest.param(">3", [], id="none"),
        pytest.param("*", ["2.0", "1.10", "1.9"], id="all"),
    ],
)
def test_a_version_specification_narrows_the_list(session, channel, spec, versions):
    for version in ("1.9", "1.10", "2.0"):
        make_file(session, channel, f"pkg-{version}-0.conda")

    expected = [f"noarch/pkg-{version}-0.conda" for version in versions]
    assert listed(session, channel, spec=spec) == expected


@pytest.mark.parametrize("spec", ["==", "numpy>=1", "1.0=py*", "((", "\0"])
def test_a_malformed_version_specification_is_refused(session, channel, spec):
    make_file(session, channel)

    with pytest.raises(BadVersionSpec, match="not a version specification"):
        listed(session, channel, spec=spec)


def test_files_are_narrowed_to_those_uploaded_since(session, channel):
    for uploaded_at in (999, 1000, 1001):
        make_file(session, channel, f"pkg-{uploaded_at}-0.conda", uploaded_at=uploaded_at)

    assert listed(session, channel, since=1000) == [
        "noarch/pkg-1001-0.conda",
        "noarch/pkg-1000-0.conda",
    ]


def test_a_file_is_described_with_its_uploader_and_downloads(session, channel):
    alice = make_user(session, "alice")
    file = make_file(session, channel, uploader_id=alice.id)
    session.add(FileDownloads(file_id=file.id, count=7))
    fresh = make_file(session, channel, "pkg-2.0-0.conda")

    assert tuple(describe_file(session, file)) == (file, alice, 7)
    assert tuple(describe_file(session, fresh)) == (fresh, None, 0)


@pytest.mark.parametrize(
    ("package", "subdir", "filename"),
    [
        pytest.param("pkg", "linux-64", "pkg-1.0-0.conda", id="other-subdir"),
        pytest.param("pkg", "noarch", "pkg-1.0-0.tar.bz2", id="other-format"),
        pytest.param("other", "noarch", "pkg-1.0-0.conda", id="other-package"),
        pytest.param("pkg", "..", "pkg-1.0-0.conda", id="no-subdir"),
        pytest.param("pkg", "noarch", "repodata.json", id="no-package-file"),
        pytest.param("pkg", "noarch", "pkg-1.0-\0.conda", id="nul"),
        pytest.param("pkg", "no\0arch", "pkg-1.0-0.conda", id="nul-in-subdir"),
    ],
)
def test_a_file_is_found_only_by_all_its_names(session, channel, package, subdir, filename):
    file = make_file(session, channel)

    assert get_file(session, channel, "pkg", "noarch", "pkg-1.0-0.conda") is file
    with pytest.raises(FileNotFound):
        get_file(session, channel, package, subdir, filename)


def test_a_deleted_file_leaves_a_tombstone_marks_an_event_and_right_counts(session, channel, alice):
    make_file(session, channel, size=5)
    file = make_file(session, channel, "pkg-2.0-0.conda", subdir="linux-64", size=7)
    sha256, changed = file.sha256, session.scalars(select(Package.latest_change)).one()

    delete_file(session, alice, channel, file)

    package = session.scalars(select(Package)).one()
    assert (package.files_count, package.latest_change >= changed) == (1, True)
    assert (channel.size, channel.packages_count) == (5, 1)
    tombstone = session.scalars(select(Tombstone)).one()
    assert (tombstone.subdir, tombstone.filename, tombstone.sha256) == (
        "linux-64",
        "pkg-2.0-0.conda",
        sha256,
    )
    marks = session.execute(
        select(IndexDirty.subdir, IndexDirty.name).where(IndexDirty.subdir != "")
    )
    assert {tuple(mark) for mark in marks} == {("linux-64", "pkg")}
    event = session.scalars(select(Event)).one()
    assert (event.action, event.actor, event.channel, event.subject, event.before) == (
        "version.delete",
        "alice",
        "forge",
        "linux-64/pkg-2.0-0.conda",
        sha256,
    )


def test_a_package_goes_with_its_last_file(session, channel, alice):
    make_file(session, channel, "other-1.0-0.conda")
    file = make_file(session, channel)

    delete_file(session, alice, channel, file)

    assert session.scalars(select(Package.name)).all() == ["other"]
    assert channel.packages_count == 1


def test_a_file_is_deleted_once(session, channel, alice):
    make_file(session, channel, "pkg-2.0-0.conda")
    file = make_file(session, channel)
    delete_file(session, alice, channel, file)

    with pytest.raises(FileNotFound):
        delete_file(session, alice, channel, file)

    assert len(session.scalars(select(File.id)).all()) == 1
    assert len(session.scalars(select(Event.id)).all()) == 1


def test_a_file_deleted_twice_at_once_is_counted_once(deployment):
    with deployment.transaction(write=True) as session:
        channel = make_channel(session, "forge")
        make_file(session, channel, "pkg-2.0-0.conda", size=5)
        make_file(session, channel, size=7)

    def delete(session):
        channel = get_channel(session, "forge")
        file = get_file(session, channel, "pkg", "noarch", "pkg-1.0-0.conda")
        delete_file(session, ANONYMOUS, channel, file)

    def delete_too():
        with deployment.transaction(write=True) as session:
            delete(session)

    with ThreadPoolExecutor() as pool, deployment.transaction(write=True) as session:
        delete(session)
        later = pool.submit(delete_too)
        wait([later], timeout=0.2)  # let it come as far as it can

    with pytest.raises(FileNotFound):
        later.result()
    with deployment.transaction() as session:
        assert get_channel(session, "forge").size == 5
        assert session.scalars(select(Package.files_count)).all() == [1]


def test_a_name_deleted_again_is_reserved_for_its_last_bytes(session, channel, alice):
    first = make_file(session, channel, sha256="a" * 64)
    delete_file(session, alice, channel, first)
    second = make_file(session, channel, sha256="b" * 64)

    delete_file(session, alice, channel, second)

    assert session.scalars(select(Tombstone.sha256)).all() == ["b" * 64]


def test_a_package_tells_of_the_files_that_are_left_and_not_yanked(session, channel, alice):
    def told():
        package = get_package(session, channel, "pkg")
        return package.current_version, package.platforms

    make_file(session, channel, "pkg-1.9-0.conda", subdir="noarch")
    newer = make_file(session, channel, "pkg-1.10-0.conda", subdir="linux-64")
    newest = make_file(session, channel, "pkg-2.0-0.conda", subdir="osx-64")

    assert told() == ("2.0", "linux-64 noarch osx-64")
    yank_file(session, alice, channel, newest, reason=None)
    assert told() == ("1.10", "linux-64 noarch")
    delete_file(session, alice, channel, newer)
    assert told() == ("1.9", "noarch")
    restore_file(session, alice, channel, newest)
    assert told() == ("2.0", "noarch osx-64")
