"""What each command prints with --json is of the shape that is published."""

import os
from pathlib import Path

import fastjsonschema
import pytest

from quetz.plugins import load_plugins
from quetz.testing.postgresql import client_programs
from quetz.tests.cli.outputs import read_output
from quetz.tests.migrations.databases import revisions_of, run_sql
from quetz.tests.migrations.distributions import Site


@pytest.fixture(autouse=True)
def programs(monkeypatch):
    monkeypatch.setenv("PATH", f"{client_programs()}{os.pathsep}{os.environ['PATH']}")


@pytest.fixture
def backed_up(quetz, on_each):
    """A deployment with a database and a backup, and the backup."""
    quetz("init-db", on_each)
    return on_each, Path(quetz("migrations", "backup", on_each).stdout.strip())


@pytest.mark.parametrize(
    "command",
    [
        "init-db",
        "init-db --plan",
        "migrate",
        "migrate --plan",
        "migrations status",
        "migrations check",
        "migrations history",
        "migrations backup",
        "migrations backups",
        "plugin list",
    ],
)
def test_what_is_told_of_a_deployment_is_as_published(quetz, backed_up, command):
    deployment, _ = backed_up

    result = quetz(*command.split(), deployment, "--json")

    assert result.exit_code == 0
    read_output(command, result.stdout)


def test_what_is_told_of_a_backup_is_as_published(quetz, backed_up):
    deployment, backup = backed_up

    verified = quetz("migrations", "verify-backup", backup, "--json")
    restored = quetz("migrations", "restore", deployment, backup, "--yes", "--json")

    document = read_output("migrations restore", restored.stdout)
    assert document["restored"] == read_output("migrations verify-backup", verified.stdout)


@pytest.mark.parametrize(
    ("statement", "state"),
    [
        pytest.param("SELECT 1", "current", id="current"),
        pytest.param("CREATE TABLE strange (id INTEGER)", "current", id="current with more"),
        pytest.param("UPDATE alembic_version SET version_num = 'strange'", "unknown", id="unknown"),
    ],
)
def test_every_state_is_told_as_published(quetz, on_each, engine_of, statement, state):
    quetz("init-db", on_each)
    run_sql(engine_of(on_each), statement)

    result = quetz("migrations", "status", on_each, "--json")

    assert read_output("migrations status", result.stdout)["state"] == state


def test_an_empty_database_is_told_as_published(quetz, on_each):
    status = quetz("migrations", "status", on_each, "--json")
    plan = quetz("init-db", on_each, "--plan", "--json")
    history = quetz("migrations", "history", on_each, "--json")

    assert read_output("migrations status", status.stdout)["state"] in {"empty", "missing"}
    planned = [step["revision"] for step in read_output("init-db --plan", plan.stdout)]
    assert planned == revisions_of(load_plugins([]))
    assert read_output("migrations history", history.stdout) == []


def test_broken_plugins_are_told_as_published(configured, tmp_path):
    site = Site(tmp_path / "site")
    site.install("quetz-foo", {"db_models.py": "1 / 0"})

    applied = site.command("init-db", configured, "--json")
    listed = site.command("plugin", "list", configured, "--json")

    assert "quetz-foo" in read_output("init-db", applied.stdout)["broken"]
    [plugin] = read_output("plugin list", listed.stdout)
    assert plugin["state"] == "broken"


def test_what_is_published_leaves_no_room_for_more(quetz, on_each):
    result = quetz("init-db", on_each, "--json")

    with pytest.raises(fastjsonschema.JsonSchemaValueException):
        read_output("init-db", result.stdout.replace("{", '{"more": 1, ', 1))
