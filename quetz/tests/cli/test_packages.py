from contextlib import closing

import pytest
from sqlalchemy import select

from quetz.db.models import Event
from quetz.db.queries.channels import get_channel
from quetz.deployment import Deployment
from quetz.testing.factories import make_channel, make_file, make_package
from quetz.testing.stores import put_bytes
from quetz.tests.cli.outputs import read_output

FILE = "noarch/pkg-2.0-0.conda"


@pytest.fixture
def path(quetz, deployment_path):
    """A deployment with a user and two channels, in the first of which a package is."""
    quetz("user", "create", "erin", deployment_path)
    with (
        closing(Deployment.open(deployment_path)) as deployment,
        deployment.transaction(write=True) as session,
    ):
        sha256 = str(put_bytes(deployment.store, b"package")).rpartition("/")[2]
        forge = make_channel(session, "forge")
        make_channel(session, "stable", size_limit=1500)
        make_package(session, forge, "pkg", summary="Ours")
        make_file(session, forge, "pkg-1.0-0.tar.bz2", subdir="linux-64", sha256=sha256)
        make_file(session, forge, "pkg-2.0-0.conda", sha256=sha256)
    return deployment_path


@pytest.fixture
def told(quetz, path):
    """Run a command of a package with --json, and return what it prints."""

    def run(command, *arguments):
        result = quetz("package", *command.split(), *arguments, path, "--json")
        assert result.exit_code == 0, result.stderr
        return read_output(f"package {command}", result.stdout)

    return run


def actions(path):
    with closing(Deployment.open(path)) as deployment, deployment.transaction() as session:
        query = select(Event.action, Event.channel, Event.subject).order_by(Event.id)
        done = (Event.actor == "operator") & Event.channel.is_not(None)
        return [tuple(row) for row in session.execute(query.where(done))]


def test_packages_are_listed_and_shown_with_their_files(told):
    [listed] = told("list", "forge")
    shown = told("show", "forge", "pkg")

    assert listed.pop("changed_at") > 0
    assert listed == {
        "name": "pkg",
        "summary": "Ours",
        "description": None,
        "url": None,
        "platforms": ["linux-64", "noarch"],
        "current_version": "2.0",
        "files_count": 2,
    }
    assert told("list", "forge", "--query", "x") == []
    assert [file["filename"] for file in shown["files"]] == ["pkg-2.0-0.conda", "pkg-1.0-0.tar.bz2"]


def test_a_file_is_yanked_and_restored(told, path):
    yanked = told("yank", "forge", FILE, "--reason", "bad")
    told("yank", "forge", FILE, "--reason", "bad")

    assert yanked["yank_reason"] == "bad"
    assert yanked["yanked_at"] > 0
    assert told("show", "forge", "pkg")["files"][0] == yanked
    assert told("list", "forge")[0]["current_version"] == "1.0"
    assert told("restore", "forge", FILE) == yanked | {"yanked_at": None, "yank_reason": None}
    assert actions(path) == [("version.yank", "forge", FILE)] * 2


def test_a_file_is_copied_once(told, path):
    copied, again = (told("copy", "forge", FILE, "stable") for _ in range(2))

    assert (copied["copied"], again["copied"]) == (True, False)
    [file] = told("show", "stable", "pkg")["files"]
    assert file["sha256"] == copied["sha256"]
    assert actions(path) == [("package.copy", "stable", FILE)]


def test_members_are_added_listed_and_removed(told, path):
    told("members add", "forge", "pkg", "erin", "owner")

    assert told("members list", "forge", "pkg") == [{"username": "erin", "role": "owner"}]
    assert told("members remove", "forge", "pkg", "erin") == {"removed": "erin"}
    assert told("members list", "forge", "pkg") == []
    assert actions(path) == [
        ("package.members.add", "forge", "pkg/erin"),
        ("package.members.remove", "forge", "pkg/erin"),
    ]


def test_a_package_is_deleted(told, path):
    assert told("delete", "forge", "pkg", "--yes") == {"deleted": "pkg"}
    assert told("list", "forge") == []
    assert actions(path) == [("package.delete", "forge", "pkg")]


def test_without_json_people_read_tables_and_sentences(quetz, path):
    quetz("package", "yank", "forge", FILE, "--deployment", path, "--reason", "bad")
    listed = quetz("package", "list", "forge", path)
    shown = quetz("package", "show", "forge", "pkg", path)
    copied = quetz("package", "copy", "forge", "linux-64/pkg-1.0-0.tar.bz2", "stable", path)

    assert listed.stdout == "pkg  1.0  2 files  linux-64\n"
    assert f"{FILE}      1000  yanked: bad\n" in shown.stdout
    assert copied.stderr == "Copied 'forge/linux-64/pkg-1.0-0.tar.bz2' to 'stable'\n"


def test_what_uploaders_wrote_does_not_steer_the_terminal(quetz, path):
    written = "bad\nnoarch/forged-1-0.conda  \x1b[2J\x7f\x9b1m\u202e\u2028\u2066\t."
    with closing(Deployment.open(path)) as opened, opened.transaction(write=True) as session:
        make_package(session, get_channel(session, "forge"), "odd", summary=written)
    quetz("package", "yank", "forge", FILE, path, "--reason", written)

    files = quetz("package", "show", "forge", "pkg", path).stdout
    summary = quetz("package", "show", "forge", "odd", path).stdout

    escaped = r"bad\x0anoarch/forged-1-0.conda  \x1b[2J\x7f\x9b1m\u202e\u2028\u2066\x09."
    assert f"{FILE}      1000  yanked: {escaped}\n" in files
    assert f"summary: {escaped}\n" in summary


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        pytest.param("list none", 2, "there is no channel 'none'", id="no channel"),
        pytest.param("show forge none", 2, "has no package 'none'", id="no package"),
        pytest.param("delete forge pkg", 2, "add --yes", id="not asked"),
        pytest.param("yank forge noarch/pkg-9-0.conda", 2, "there is no file", id="no file"),
        pytest.param(f"yank forge {FILE} --reason {'x' * 1001}", 2, "1,000", id="too long"),
        pytest.param("yank forge pkg", 2, "not a package file name", id="no file name"),
        pytest.param(f"copy none {FILE} stable", 2, "no channel 'none'", id="no source"),
        pytest.param(f"copy forge {FILE} none", 2, "no channel 'none'", id="no target"),
        pytest.param("members add forge pkg nobody owner", 2, "no user 'nobody'", id="no user"),
        pytest.param("members remove forge pkg erin", 2, "is not a member", id="no member"),
    ],
)
def test_what_cannot_be_done_is_told_and_leaves_no_event(quetz, path, arguments, code, reason):
    result = quetz("package", *arguments.split(), "--deployment", path)

    assert (result.exit_code, result.stdout) == (code, "")
    assert reason in result.stderr
    assert actions(path) == []


def test_a_copy_needs_room(quetz, path):
    quetz("package", "copy", "forge", FILE, "stable", path)

    result = quetz("package", "copy", "forge", "linux-64/pkg-1.0-0.tar.bz2", "stable", path)

    assert result.exit_code == 2
    assert "may hold 1500 bytes" in result.stderr
