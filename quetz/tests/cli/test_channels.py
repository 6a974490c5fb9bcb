import json
from contextlib import closing

import pytest
from sqlalchemy import select

from quetz.db.models import Event
from quetz.deployment import Deployment
from quetz.tests.cli.outputs import read_output


@pytest.fixture
def told(quetz, deployment_path):
    """Run a command of a channel with --json, and return what it prints."""
    quetz("user", "create", "erin", deployment_path)

    def run(command, *arguments):
        result = quetz("channel", *command.split(), *arguments, deployment_path, "--json")
        assert result.exit_code == 0, result.stderr
        return read_output(f"channel {command}", result.stdout)

    return run


def actions(path):
    with closing(Deployment.open(path)) as deployment, deployment.transaction() as session:
        query = select(Event.action).where(Event.actor == "operator").order_by(Event.id)
        return [action for action in session.scalars(query) if action.startswith("channel.")]


def test_a_channel_is_made_shown_changed_and_deleted(told, deployment_path):
    made = told("create", "Forge", "--description", "Ours", "--size-limit", "1000", "--ttl", "60")

    assert made == {
        "name": "forge",
        "description": "Ours",
        "private": True,
        "size": 0,
        "size_limit": 1000,
        "ttl": 60,
        "packages_count": 0,
        "members_count": 0,
    }
    assert told("show", "forge") == made
    assert told("list") == [made]
    assert told("list", "--query", "x") == []

    changed = told("set", "forge", "--public", "--no-size-limit", "--ttl", "70")

    assert changed == made | {"private": False, "size_limit": None, "ttl": 70}
    assert told("set", "forge", "--private") == changed | {"private": True}
    assert told("delete", "forge", "--yes") == {"deleted": "forge"}
    assert told("list") == []
    assert actions(deployment_path) == [
        "channel.create",
        "channel.patch",
        "channel.patch",
        "channel.delete",
    ]


def test_members_are_set_listed_and_removed(told, deployment_path, quetz):
    told("create", "forge")

    assert told("members set", "forge", "erin", "member")["role"] == "member"
    assert told("members set", "forge", "erin", "owner")["role"] == "owner"
    assert told("members list", "forge") == [{"username": "erin", "role": "owner"}]
    assert told("show", "forge")["members_count"] == 1
    assert quetz("channel", "members", "remove", "forge", "erin", deployment_path).exit_code == 1
    quetz("user", "create", "frank", deployment_path)
    told("members set", "forge", "frank", "owner")
    assert told("members remove", "forge", "erin") == {"removed": "erin"}
    assert actions(deployment_path)[1:] == [
        "channel.members.add",
        "channel.members.add",
        "channel.members.add",
        "channel.members.remove",
    ]


@pytest.mark.usefixtures("told")
def test_without_json_people_read_tables_and_sentences(quetz, deployment_path):
    made = quetz("channel", "create", "forge", "--public", "--deployment", deployment_path)
    listed = quetz("channel", "list", deployment_path)
    shown = quetz("channel", "show", "forge", deployment_path)
    members = quetz("channel", "members", "list", "forge", deployment_path)

    assert (made.stdout, made.stderr) == ("", "Created the channel 'forge'\n")
    assert listed.stdout == "forge  public  0 packages  0 members  0  -\n"
    assert "size limit: -\n" in shown.stdout
    assert (members.stdout, members.stderr) == ("", "There is no member\n")


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        pytest.param("create forge", 1, "exists already", id="taken"),
        pytest.param("create linux-64", 2, "is the name of a subdir", id="malformed"),
        pytest.param("show none", 2, "there is no channel 'none'", id="missing"),
        pytest.param("set forge", 2, "--no-size-limit", id="no change"),
        pytest.param("set forge --size-limit 1 --no-size-limit", 2, "contradict", id="both"),
        pytest.param("delete forge", 2, "add --yes", id="not asked"),
        pytest.param("create x --description \udcff", 2, "are not UTF-8", id="new in Latin-1"),
        pytest.param("list --query \udcff", 2, "are not UTF-8", id="sought in Latin-1"),
        pytest.param(f"create x --description {'x' * 301}", 2, "300 at most", id="too long"),
        pytest.param("members set forge nobody member", 2, "no user 'nobody'", id="no user"),
        pytest.param("members remove forge erin", 2, "is not a member", id="no member"),
    ],
)
def test_what_cannot_be_done_is_told_and_leaves_no_event(
    told, quetz, deployment_path, arguments, code, reason
):
    told("create", "forge")

    result = quetz("channel", *arguments.split(), "--deployment", deployment_path)

    assert (result.exit_code, result.stdout) == (code, "")
    assert reason in result.stderr
    assert actions(deployment_path) == ["channel.create"]


def test_the_quota_of_the_settings_holds_for_a_new_channel(told, deployment_path):
    with (deployment_path / "config.toml").open("a") as config:
        config.write("\n[quotas]\nchannel_quota = 500\n")

    assert told("create", "forge")["size_limit"] == 500
    assert json.dumps(told("show", "forge")).count("500") == 1
