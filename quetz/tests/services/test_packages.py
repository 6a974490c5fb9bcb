import pytest
from sqlalchemy import event, select

from quetz.db.models import Event, File, IndexDirty, Package, Tombstone
from quetz.db.queries.packages import count_packages, get_package, list_packages
from quetz.db.queries.windows import EVERYTHING, Window
from quetz.errors import BadOrder, PackageNotFound
from quetz.services.packages import delete_package, packages_to_list
from quetz.testing.factories import (
    make_channel,
    make_file,
    make_package,
    make_user,
    principal_of,
)


@pytest.fixture
def channel(session):
    return make_channel(session, "forge")


def names(session, channel, **options):
    wanted = packages_to_list(channel, **options)
    return [package.name for package in list_packages(session, wanted, EVERYTHING)]


def test_a_package_tells_the_newest_version_and_the_subdirs(session, channel):
    for version in ("1.9", "1.10", "1.10rc1"):
        make_file(session, channel, f"numpy-{version}-0.conda", subdir="linux-64")
    make_file(session, channel, "numpy-1.2-0.tar.bz2", subdir="noarch")
    make_file(session, channel, "scipy-99-0.conda")

    package = get_package(session, channel, "numpy")

    assert package.current_version == "1.10"
    assert package.platforms == "linux-64 noarch"


def test_a_package_without_files_has_no_version(session, channel):
    make_package(session, channel, "empty")

    package = get_package(session, channel, "empty")

    assert (package.current_version, package.platforms) == (None, "")


@pytest.mark.parametrize("name", ["missing", "", "a\0b", "NUMPY", "a/b"])
def test_a_package_that_is_not_there_is_named(session, channel, name):
    make_file(session, channel, "numpy-1.0-0.conda")
    make_file(session, make_channel(session, "other"), "missing-1.0-0.conda")

    with pytest.raises(PackageNotFound, match="'forge'"):
        get_package(session, channel, name)


def test_packages_are_listed_by_name_and_searched_by_a_part_of_it(session, channel):
    for name in ("b_x", "a", "bax"):
        make_package(session, channel, name)

    assert names(session, channel) == ["a", "b_x", "bax"]
    assert names(session, channel, text="A") == ["a", "bax"]
    assert names(session, channel, text="_") == ["b_x"]
    assert names(session, channel, text="%") == []


def test_a_page_describes_its_own_packages_and_the_count_all(session, channel):
    for name in ("a", "b", "c", "d"):
        make_file(session, channel, f"{name}-1.0-0.conda")
    wanted = packages_to_list(channel)

    page = list_packages(session, wanted, Window(skip=1, limit=2))

    assert [(package.name, package.current_version) for package in page] == [
        ("b", "1.0"),
        ("c", "1.0"),
    ]
    assert count_packages(session, wanted) == 4


def test_packages_are_ordered_by_name_or_change_in_both_directions(session, channel):
    for name, changed in (("a", 2000), ("b", 3000), ("c", 2000), ("d", None)):
        make_package(session, channel, name, latest_change=changed)

    assert names(session, channel, order_by="name:desc") == ["d", "c", "b", "a"]
    assert names(session, channel, order_by="latest_change") == ["a", "c", "b", "d"]
    assert names(session, channel, order_by="latest_change:desc") == ["b", "a", "c", "d"]
    assert names(session, channel, order_by="latest_change:asc,name:desc") == ["c", "a", "b", "d"]


@pytest.mark.parametrize("order", ["id", "name:up", "name;drop table", ",", "name,,name"])
def test_packages_are_ordered_by_nothing_else(channel, order):
    with pytest.raises(BadOrder, match="name or latest_change"):
        packages_to_list(channel, order_by=order)


def test_a_list_takes_one_query_however_long_it_is(session, channel):
    for number in range(30):
        make_file(session, channel, f"pkg{number}-1.0-0.conda")
    statements = []
    event.listen(
        session.get_bind(), "before_cursor_execute", lambda *args: statements.append(args[2])
    )

    listed = list_packages(session, packages_to_list(channel), EVERYTHING)

    assert len(listed) == 30
    assert len(statements) == 1


def test_a_deleted_package_takes_its_files_along_and_keeps_their_names(session, channel):
    alice = make_user(session)
    for subdir in ("linux-64", "noarch"):
        make_file(session, channel, "numpy-1.0-0.conda", subdir=subdir)
    make_file(session, channel, "numpy-2.0-0.conda", subdir="noarch")
    make_file(session, channel, "scipy-1.0-0.conda", size=5)
    package = get_package(session, channel, "numpy")

    delete_package(session, principal_of(alice), channel, package)

    assert session.scalars(select(Package.name)).all() == ["scipy"]
    assert session.scalars(select(File.filename)).all() == ["scipy-1.0-0.conda"]
    tombstones = session.execute(
        select(Tombstone.subdir, Tombstone.filename).order_by(Tombstone.subdir, Tombstone.filename)
    )
    assert [tuple(row) for row in tombstones] == [
        ("linux-64", "numpy-1.0-0.conda"),
        ("noarch", "numpy-1.0-0.conda"),
        ("noarch", "numpy-2.0-0.conda"),
    ]
    assert (channel.size, channel.packages_count) == (5, 1)
    marks = session.execute(
        select(IndexDirty.subdir, IndexDirty.name).where(IndexDirty.subdir != "")
    )
    assert sorted({tuple(row) for row in marks}) == [("linux-64", "numpy"), ("noarch", "numpy")]
    events = session.execute(select(Event.action, Event.channel, Event.subject))
    assert [tuple(row) for row in events] == [("package.delete", "forge", "numpy")]


def test_a_package_is_deleted_once(session, channel):
    alice = principal_of(make_user(session))
    make_file(session, channel, "numpy-1.0-0.conda")
    package = get_package(session, channel, "numpy")
    delete_package(session, alice, channel, package)

    with pytest.raises(PackageNotFound):
        delete_package(session, alice, channel, package)

    assert channel.packages_count == 0
