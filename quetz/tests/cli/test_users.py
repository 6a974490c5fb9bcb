from contextlib import closing

import pytest

from quetz.cli.dev_users import add_dev_users
from quetz.db.queries.users import get_user
from quetz.deployment import Deployment
from quetz.services.authentication import authenticate_key
from quetz.testing.factories import add_member, make_channel, make_package
from quetz.tests.cli.outputs import read_output


@pytest.fixture
def path(deployment_path):
    return deployment_path


def holder(path, key):
    with closing(Deployment.open(path)) as deployment, deployment.transaction() as session:
        principal = authenticate_key(session, key)
        return principal and (principal.username, principal.server_role)


@pytest.mark.parametrize("role", ["owner", "maintainer", "member"])
def test_a_new_user_gets_a_role_and_a_key_with_all_rights(quetz, path, role):
    result = quetz("user", "create", "erin", path, "--role", role)

    assert result.exit_code == 0
    [key] = result.stdout.split()
    assert holder(path, key) == ("erin", role)
    assert key not in result.stderr


def test_the_deployment_may_be_an_option_or_the_current_folder(quetz, path, monkeypatch):
    by_option = quetz("user", "create", "erin", "--deployment", path)
    monkeypatch.chdir(path)
    by_folder = quetz("user", "create", "frank")

    assert holder(path, by_option.stdout.strip()) == ("erin", None)
    assert holder(path, by_folder.stdout.strip()) == ("frank", None)


def test_without_the_option_the_role_is_that_of_the_settings(quetz, path, monkeypatch):
    monkeypatch.setenv("QUETZ_USERS_DEFAULT_ROLE", "maintainer")

    result = quetz("user", "create", "erin", path)

    assert holder(path, result.stdout.strip()) == ("erin", "maintainer")


@pytest.mark.parametrize(
    ("name", "code", "reason"),
    [
        pytest.param("erin", 1, "user 'erin' exists already", id="taken"),
        pytest.param("e r i n", 2, "name 'e r i n' is not allowed", id="malformed"),
    ],
)
def test_a_user_that_cannot_be_made_gets_no_key(quetz, path, name, code, reason):
    quetz("user", "create", "erin", path)

    result = quetz("user", "create", name, path)

    assert (result.exit_code, result.stdout) == (code, "")
    assert reason in result.stderr


def test_a_user_needs_a_deployment(quetz, tmp_path):
    result = quetz("user", "create", "erin", tmp_path)

    assert result.exit_code == 2
    assert "is not a quetz deployment" in result.stderr


def test_users_are_listed_with_their_roles(quetz, path):
    assert quetz("user", "list", path).stderr == "There is no user yet\n"
    quetz("user", "create", "erin", path, "--role", "owner")
    quetz("user", "create", "Frances", path)
    quetz("user", "service", "robot", path, "--role", "member")

    everybody = quetz("user", "list", path)
    some = quetz("user", "list", path, "--query", "FRAN")
    none = quetz("user", "list", path, "--query", "x")

    assert everybody.stdout.splitlines() == [
        "Frances  no role",
        "erin     owner",
        "robot    member, service account",
    ]
    assert some.stdout == "Frances  no role\n"
    assert (none.exit_code, none.stdout, none.stderr) == (0, "", "There is no such user\n")


def test_a_user_is_shown_with_his_roles_in_channels_and_packages(quetz, path):
    quetz("user", "create", "erin", path)
    with closing(Deployment.open(path)) as opened, opened.transaction(write=True) as session:
        channel = make_channel(session, "forge", private=True)
        erin = get_user(session, "erin")
        add_member(session, channel, erin, "owner")
        add_member(session, make_package(session, channel, "pkg"), erin, "member")

    result = quetz("user", "show", "erin", path)

    assert result.stdout.splitlines() == [
        "erin  no role",
        "channel forge: owner",
        "package forge/pkg: member",
    ]
    document = read_output("user show", quetz("user", "show", "erin", path, "--json").stdout)
    assert document["channels"] == [{"name": "forge", "role": "owner"}]
    assert document["packages"] == [{"name": "pkg", "channel_name": "forge", "role": "member"}]


def test_a_role_is_changed_and_taken(quetz, path):
    quetz("user", "create", "erin", path, "--role", "owner")
    quetz("user", "create", "frank", path)

    given = quetz("user", "role", "frank", "maintainer", path)
    taken = quetz("user", "role", "frank", "none", "--deployment", path)
    last = quetz("user", "role", "erin", "member", path)

    assert given.stderr == "'frank' has the role maintainer on the server\n"
    assert taken.stderr == "'frank' has no role on the server\n"
    assert (last.exit_code, last.stderr) == (
        1,
        "quetz: the server must keep one owner; make another owner first\n",
    )
    assert quetz("user", "list", path).stdout == "erin   owner\nfrank  no role\n"


def test_a_deleted_user_s_key_is_dead_and_his_name_is_taken(quetz, path):
    key = quetz("user", "create", "erin", path).stdout.strip()

    refused = quetz("user", "delete", "erin", path)
    assert (refused.exit_code, holder(path, key)) == (2, ("erin", None))
    assert "add --yes" in refused.stderr

    deleted = quetz("user", "delete", "erin", path, "--yes")

    assert (deleted.exit_code, deleted.stderr) == (0, "Deleted the user 'erin'\n")
    assert holder(path, key) is None
    assert quetz("user", "show", "erin", path).exit_code == 2
    assert quetz("user", "delete", "erin", path, "--yes").exit_code == 2
    assert quetz("user", "create", "erin", path).exit_code == 1


def test_a_service_account_gets_a_key_and_no_role_but_the_given_one(quetz, path, monkeypatch):
    monkeypatch.setenv("QUETZ_USERS_DEFAULT_ROLE", "maintainer")

    result = quetz("user", "service", "robot", path)

    assert "Created the service account 'robot' with no role" in result.stderr
    assert holder(path, result.stdout.strip()) == ("robot", None)


def test_a_service_account_with_a_key_is_not_elevated(quetz, path):
    quetz("user", "service", "robot", path)

    refused = quetz("user", "role", "robot", "owner", path)

    assert refused.exit_code == 1
    assert "revoke them first" in refused.stderr
    assert quetz("user", "list", path).stdout == "robot  no role, service account\n"


def test_what_is_told_of_users_as_json_is_as_published(quetz, path):
    created = quetz("user", "create", "erin", path, "--json")
    service = quetz("user", "service", "robot", path, "--json")
    listed = quetz("user", "list", path, "--json")
    changed = quetz("user", "role", "erin", "member", path, "--json")
    deleted = quetz("user", "delete", "robot", path, "--yes", "--json")

    key = read_output("user create", created.stdout)["key"]
    assert holder(path, key) == ("erin", "member")
    assert read_output("user service", service.stdout)["service"] is True
    names = [user["username"] for user in read_output("user list", listed.stdout)]
    assert names == ["erin", "robot"]
    assert read_output("user role", changed.stdout) == {"username": "erin", "role": "member"}
    assert read_output("user delete", deleted.stdout) == {"deleted": "robot"}


def test_a_new_key_of_alice_is_not_printed_once_she_was_deleted(tmp_path, quetz):
    path = tmp_path / "dev"
    quetz("create", path, "--dev")
    quetz("user", "role", "bob", "owner", path)
    quetz("user", "delete", "alice", path, "--yes")

    with closing(Deployment.open(path)) as opened:
        assert add_dev_users(opened) is None


@pytest.mark.parametrize(
    "command",
    [
        "user list",
        "user create erin",
        "channel delete forge --yes",
        "key list erin",
        "audit verify",
    ],
)
def test_two_folders_are_refused(quetz, path, tmp_path, command):
    result = quetz(*command.split(), tmp_path / "other", "--deployment", path)

    assert (result.exit_code, result.stdout) == (2, "")
    assert "as PATH and by --deployment" in result.stderr
