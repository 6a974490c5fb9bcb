from contextlib import closing

import pytest

from quetz.deployment import Deployment
from quetz.services.api_keys import authenticate_key


@pytest.fixture
def path(quetz, tmp_path):
    assert quetz("create", tmp_path / "d").exit_code == 0
    return tmp_path / "d"


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
