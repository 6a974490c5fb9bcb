from contextlib import closing

import pytest
from sqlalchemy import select

from quetz.db.models import User
from quetz.deployment import STORE_FOLDER, Deployment
from quetz.services.identities import Login, find_or_make_account
from quetz.storage.local import LocalStore

CONFIG = """
[general]
dev = true

[users]
admins = ["dummy:bob", "github:gone"]
default_role = "member"
"""


@pytest.fixture
def config(tmp_path):
    file = tmp_path / "listed.toml"
    file.write_text(CONFIG)
    return file


def roles(path):
    with closing(Deployment.open(path)) as deployment, deployment.transaction() as session:
        return {user.username: user.role for user in session.scalars(select(User))}


def test_a_new_deployment_gives_the_listed_roles(quetz, tmp_path, config):
    result = quetz("create", tmp_path / "d", "--dev", "--copy-conf", config)

    assert result.exit_code == 0
    assert "no user 'github:gone' is known" in result.stderr
    assert "dummy:bob" not in result.stderr
    expected = {"alice": "owner", "bob": "owner", "carol": "member", "dave": "member"}
    assert roles(tmp_path / "d") == expected


@pytest.fixture
def logged_in(quetz, on_each):
    """A deployment in which ada and max have logged in by github."""
    quetz("init-db", on_each)
    LocalStore.create(on_each / STORE_FOLDER).close()
    with (
        closing(Deployment.open(on_each)) as deployment,
        deployment.transaction(write=True) as session,
    ):
        for username in ("ada", "max"):
            login = Login("github", username, username)
            find_or_make_account(session, login, deployment.settings)
    return on_each


def configure(path, text):
    with (path / "config.toml").open("a") as file:
        file.write(text)


def test_listed_users_get_their_roles_later_and_unknown_ones_are_told(quetz, logged_in):
    configure(logged_in, "[users]\nadmins = ['github:ada']\nmaintainers = ['github:nobody']\n")

    result = quetz("add-user-roles", logged_in)
    again = quetz("add-user-roles", logged_in)

    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == again.stderr
    [warning] = result.stderr.splitlines()
    assert warning.startswith("Warning: no user 'github:nobody' is known")
    assert roles(logged_in) == {"ada": "owner", "max": None}


def test_a_listed_role_below_the_default_one_takes_nothing_away(quetz, logged_in):
    quetz("user", "role", "ada", "owner", logged_in)
    configure(
        logged_in,
        "[users]\ndefault_role = 'owner'\nmembers = ['github:ada']\nadmins = ['github:max']\n",
    )

    result = quetz("add-user-roles", logged_in)

    assert (result.exit_code, result.stderr) == (0, "")
    assert roles(logged_in) == {"ada": "owner", "max": "owner"}


def test_a_listed_role_above_the_default_one_replaces_it(quetz, logged_in):
    quetz("user", "role", "ada", "member", logged_in)
    quetz("user", "role", "max", "maintainer", logged_in)
    configure(
        logged_in,
        "[users]\ndefault_role = 'member'\nadmins = ['github:ada', 'github:max']\n",
    )

    quetz("add-user-roles", logged_in)

    assert roles(logged_in) == {"ada": "owner", "max": "maintainer"}


def test_without_lists_there_is_nothing_to_do(quetz, path):
    result = quetz("add-user-roles", path)

    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")


def test_roles_need_a_deployment(quetz, tmp_path):
    assert quetz("add-user-roles", tmp_path).exit_code == 2
