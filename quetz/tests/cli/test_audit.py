import json
import re
from contextlib import closing

import pytest
from sqlalchemy import update

from quetz.db.models import Event
from quetz.deployment import Deployment
from quetz.tests.architecture.sources import ROOT
from quetz.tests.cli.outputs import read_output
from quetz.worker.sealer import seal_waiting


@pytest.fixture
def path(quetz, deployment_path):
    """A deployment with four events, of which a server sealed all."""
    for name in ("erin", "frank"):
        made = quetz("user", "create", name, deployment_path, "--role", "member")
        assert made.exit_code == 0, made.stderr
    seal(deployment_path)
    return deployment_path


def seal(path):
    with closing(Deployment.open(path)) as deployment:
        seal_waiting(deployment)


def change_event(path, position):
    with (
        closing(Deployment.open(path)) as deployment,
        deployment.transaction(write=True) as session,
    ):
        session.execute(update(Event).where(Event.position == position).values(actor="nobody"))


def test_events_are_listed_the_newest_first(quetz, path):
    result = quetz("audit", "list", path)

    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["4", "3", "2", "1"]
    assert "users.create" in lines[3]
    assert "erin  by operator" in lines[3]


def test_events_are_listed_from_a_position_on(quetz, path):
    result = quetz("audit", "list", path, "--since", "2", "--json")

    events = read_output("audit list", result.stdout)
    assert [event["position"] for event in events] == [3, 4]


@pytest.mark.parametrize(
    ("options", "positions"),
    [
        pytest.param(("--action", "users.create"), [3, 1], id="of an action"),
        pytest.param(("--actor", "operator", "--limit", "1"), [4], id="by an actor"),
        pytest.param(("--actor", "erin"), [], id="by another actor"),
        pytest.param(("--channel", "forge"), [], id="of a channel"),
    ],
)
def test_events_are_listed_by_what_was_done_and_by_whom(quetz, path, options, positions):
    result = quetz("audit", "list", path, *options, "--json")

    events = read_output("audit list", result.stdout)
    assert [event["position"] for event in events] == positions


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        pytest.param(("list", "--limit", "9" * 23), "--limit", id="limit"),
        pytest.param(("list", "--since", "9" * 23), "--since", id="since"),
        pytest.param(("export", "--since", "9" * 23), "--since", id="since, exported"),
        pytest.param(("list", "--actor", "\udcff"), "are not UTF-8", id="in Latin-1"),
    ],
)
def test_what_no_database_takes_is_wrong_usage(quetz, path, options, reason):
    result = quetz("audit", *options, "--deployment", path)

    assert (result.exit_code, result.stdout) == (2, "")
    assert reason in result.stderr


def test_a_sound_log_is_told_with_its_last_seal(quetz, path):
    result = quetz("audit", "verify", path)
    document = read_output("audit verify", quetz("audit", "verify", path, "--json").stdout)

    assert result.exit_code == 0
    assert result.stdout == (
        f"The audit log is sound: 4 events; the last of them has the seal {document['last_seal']}\n"
    )
    assert (document["broken"], document["last_position"]) == (None, 4)


def test_a_log_that_was_changed_is_told_with_the_position(quetz, path):
    change_event(path, 3)

    result = quetz("audit", "verify", path)
    as_json = quetz("audit", "verify", path, "--json")

    assert (result.exit_code, result.stdout) == (1, "")
    assert "the audit log is broken at position 3" in result.stderr
    assert as_json.exit_code == 1
    assert read_output("audit verify", as_json.stdout)["broken"] == 3


def test_an_export_has_every_event_in_order(quetz, path):
    result = quetz("audit", "export", path, "--json")

    events = [read_output("audit export", line) for line in result.stdout.splitlines()]
    assert [event["position"] for event in events] == [1, 2, 3, 4]
    assert [event["subject"] for event in events][::2] == ["erin", "frank"]


def test_an_export_may_begin_where_the_former_ended(quetz, path):
    result = quetz("audit", "export", path, "--since", "3")

    assert [json.loads(line)["position"] for line in result.stdout.splitlines()] == [4]


def test_the_program_in_the_documentation_verifies_an_export(quetz, path, tmp_path, capsys):
    page = (ROOT / "docs/audit.md").read_text(encoding="utf-8")
    [program] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    file = tmp_path / "events.jsonl"
    exported = quetz("audit", "export", path).stdout

    told = []
    for text in (exported, exported.replace('"erin"', '"eric"')):
        file.write_text(text, encoding="utf-8")
        exec(compile(program, "audit.md", "exec"), {"PATH": file})
        told.append(capsys.readouterr().out)

    assert told == ["sound: 4 events\n", "broken at position 1\n"]


def test_events_that_wait_for_their_seal_are_counted(quetz, path):
    quetz("user", "create", "grace", path)

    for command in ("list", "verify", "export"):
        result = quetz("audit", command, path)

        assert "grace" not in result.stdout
        assert "2 events are not sealed yet" in result.stderr


def test_the_log_of_no_deployment_is_refused(quetz, tmp_path):
    result = quetz("audit", "verify", tmp_path)

    assert result.exit_code == 2
    assert "is not a quetz deployment" in result.stderr
