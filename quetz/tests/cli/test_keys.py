"""``quetz key``: API keys by the operator's word."""

import re
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from quetz.db.models import Event
from quetz.deployment import Deployment
from quetz.services.authentication import authenticate_key
from quetz.services.permissions import Role, Scope, Verb
from quetz.testing.factories import add_member, make_channel, make_package, make_user
from quetz.tests.cli.outputs import read_output


@pytest.fixture
def path(deployment_path):
    """A deployment of olga, a member of the server with a private channel of her own."""
    with (
        closing(Deployment.open(deployment_path)) as opened,
        opened.transaction(write=True) as session,
    ):
        olga = make_user(session, "olga", role="member")
        channel = make_channel(session, "closed", private=True)
        add_member(session, channel, olga, "maintainer")
        make_package(session, channel, "numpy")
    return deployment_path


def holder(path, key):
    with closing(Deployment.open(path)) as opened, opened.transaction() as session:
        return authenticate_key(session, key)


def events(path):
    with closing(Deployment.open(path)) as opened, opened.transaction() as session:
        rows = session.query(Event).order_by(Event.id)
        return [(row.actor, row.action, row.subject) for row in rows]


def day(days):
    return (datetime.now(UTC).date() + timedelta(days=days)).isoformat()


def test_a_key_is_printed_alone_and_works(quetz, path):
    result = quetz("key", "create", "olga", path)

    assert result.exit_code == 0
    [key] = result.stdout.split()
    assert key not in result.stderr
    assert f"good until {day(90)}" in result.stderr
    assert holder(path, key).username == "olga"
    assert events(path) == [("operator", "apikey.create", key.split("-")[1])]


def test_a_key_has_the_limits_of_the_options(quetz, path):
    limits = ("--role", "closed/numpy=member", "--role", "closed=maintainer")
    verbs = ("--verb", "upload", "--verb", "read")

    result = quetz("key", "create", "olga", path, *limits, *verbs, "--read-only", "--days", "0")

    principal = holder(path, result.stdout.strip())
    assert principal.read_only
    assert principal.verbs == {Verb.READ, Verb.UPLOAD}
    assert [scope.role for scope in principal.scopes] == [Role.MEMBER, Role.MAINTAINER]
    assert all(isinstance(scope, Scope) for scope in principal.scopes)
    assert "good for ever" in result.stderr


def test_a_key_as_json_is_as_published(quetz, path):
    made = quetz("key", "create", "olga", path, "--role", "closed=member", "--days", "7", "--json")
    listed = quetz("key", "list", "olga", path, "--json")

    document = read_output("key create", made.stdout)
    key = document.pop("key")
    assert holder(path, key) is not None
    assert document["expire_at"] == day(7)
    assert document["roles"] == [{"channel": "closed", "package": None, "role": "member"}]
    assert read_output("key list", listed.stdout) == [document]
    assert key.split("-")[2] not in listed.output


def test_keys_are_listed_for_people_with_their_limits(quetz, path):
    quetz("key", "create", "olga", path, "--role", "closed/numpy=member", "--description", "ci")
    quetz("key", "create", "olga", path, "--verb", "read", "--read-only", "--days", "0")

    result = quetz("key", "list", "olga", "--deployment", path)

    second, first = result.stdout.splitlines()
    id_ = "[0-9A-Za-z]{16}"
    assert re.fullmatch(
        rf"{id_}  until {day(90)}; roles closed/numpy=member; verbs all  'ci'", first
    )
    assert re.fullmatch(
        rf"{id_}  until ever; roles all; verbs read; read-only  'quetz key create'", second
    )


def test_who_has_no_key_is_told_that(quetz, path):
    result = quetz("key", "list", "olga", path)

    assert (result.exit_code, result.stdout) == (0, "")
    assert "'olga' has no API key" in result.stderr


@pytest.mark.parametrize("whole", [pytest.param(True, id="key"), pytest.param(False, id="id")])
def test_a_revoked_key_is_nobodys(quetz, path, whole):
    key = quetz("key", "create", "olga", path).stdout.strip()
    public_id = key.split("-")[1]

    result = quetz("key", "revoke", key if whole else public_id, path, "--json")

    assert read_output("key revoke", result.stdout) == {"revoked": public_id}
    assert holder(path, key) is None
    assert events(path)[1:] == [("operator", "apikey.revoke_other", public_id)]
    again = quetz("key", "revoke", public_id, path)
    assert again.exit_code == 2
    assert "there is no such API key" in again.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        pytest.param(["nobody"], 2, "there is no user 'nobody'", id="no user"),
        pytest.param(["olga", "--role", "closed"], 2, "not a place and a role", id="no role"),
        pytest.param(["olga", "--role", "closed=boss"], 2, "not a place and a", id="odd role"),
        pytest.param(["olga", "--role", "closed=owner"], 1, "takes the role owner", id="above"),
        pytest.param(["olga", "--role", "other=owner"], 2, "no channel 'other'", id="place"),
        pytest.param(["olga", "--role", "closed/scipy=member"], 2, "scipy", id="package"),
        pytest.param(["olga", "--verb", "write"], 2, "'write'", id="verb"),
        pytest.param(["olga", "--description", "x" * 1001], 2, "1,000", id="too long"),
    ],
)
def test_a_key_that_cannot_be_made_is_not(quetz, path, arguments, code, reason):
    result = quetz("key", "create", arguments[0], path, *arguments[1:])

    assert (result.exit_code, result.stdout) == (code, "")
    assert reason in result.stderr
    assert events(path) == []
