"""quetz init-db and quetz migrations, as an operator meets them."""

import json
import re
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import Engine, Pool, event

from quetz.migrations import upgrade
from quetz.migrations.trees import load_tree
from quetz.plugins import CORE, load_plugins
from quetz.tests.cli.outputs import read_output
from quetz.tests.migrations.databases import REVISION, head_of, revisions_of, run_sql
from quetz.tests.migrations.distributions import Site

HEAD = str(head_of(load_plugins([])))
REVISIONS = revisions_of(load_plugins([]))
PLAN = "".join(
    f"{script.revision}  quetz: {script.doc}\n"
    for script in load_tree(load_plugins([])).scripts_of(CORE)
)


def events(stderr: str) -> list[str]:
    return [json.loads(line)["event"] for line in stderr.splitlines()]


def test_init_db_prints_what_it_applied_and_the_second_time_nothing(quetz, on_each):
    first = quetz("init-db", on_each)
    second = quetz("init-db", on_each)

    assert (first.exit_code, second.exit_code) == (0, 0)
    assert first.stdout.split() == REVISIONS
    assert second.stdout == ""
    assert json.loads(second.stderr)["message"] == "The database is up to date"


def test_elsewhere_than_on_a_terminal_each_line_of_progress_is_json(quetz, on_each):
    result = quetz("init-db", on_each)

    of_each = ["step", "stepped"] * len(REVISIONS)
    assert sorted(events(result.stderr)) == sorted([*of_each, "verifying", "done"])


def test_migrate_is_init_db(quetz, configured):
    result = quetz("migrate", configured)

    assert (result.exit_code, result.stdout.split()) == (0, REVISIONS)


def test_the_outcome_is_told_in_json(quetz, on_each):
    result = quetz("init-db", on_each, "--json")

    document = read_output("init-db", result.stdout)
    assert document["applied"] == REVISIONS
    assert document["backup"] is None


def test_init_db_leaves_a_database_alone_that_is_not_its_own(quetz, configured):
    with sqlite3.connect(configured / "quetz.sqlite") as database:
        database.execute("CREATE TABLE users (id INTEGER)")
    database.close()
    before = (configured / "quetz.sqlite").read_bytes()

    for command in (["init-db"], ["init-db", "--plan"], ["migrations", "status"]):
        result = quetz(*command, configured)

        assert result.exit_code == 6
        assert ("it was left untouched" in result.output) == (command[0] == "init-db")
    assert (configured / "quetz.sqlite").read_bytes() == before


def test_a_plan_is_printed_and_nothing_is_changed(quetz, configured):
    result = quetz("init-db", configured, "--plan")

    assert result.exit_code == 3
    assert result.stdout == PLAN
    assert [entry.name for entry in configured.iterdir()] == ["config.toml"]


def test_a_plan_leaves_the_file_alone_that_another_makes_meanwhile(quetz, configured):
    file = configured / "quetz.sqlite"
    event.listen(Engine, "after_cursor_execute", lambda *_: file.touch(), once=True)

    quetz("init-db", configured, "--plan")

    assert file.exists()


@pytest.mark.parametrize(
    ("models", "needed", "reason"),
    [
        pytest.param("1 / 0", None, "cannot import quetz_foo.db_models", id="its-models"),
        pytest.param("", "gone", "revision f00 depends on gone", id="its-migrations"),
    ],
)
def test_a_plan_leaves_out_what_is_broken(configured, tmp_path, models, needed, reason):
    site = Site(tmp_path / "site")
    site.install(
        "quetz-foo",
        {
            "db_models.py": models,
            "migrations/versions/f00_first.py": REVISION.format(
                revision="f00", parent=None, labels=("quetz-foo",), upgrade="pass", downgrade="pass"
            ).replace("depends_on = None", f"depends_on = {needed!r}"),
        },
    )

    ended = site.command("init-db", configured, "--plan")

    assert (ended.returncode, ended.stdout) == (3, PLAN)
    assert f"Left out: plugin 'quetz-foo': {reason}" in ended.stderr


def test_a_plan_is_told_in_json_and_is_empty_when_nothing_is_missing(quetz, on_each):
    planned = quetz("init-db", on_each, "--plan", "--json")
    quetz("init-db", on_each)
    done = quetz("init-db", on_each, "--plan", "--json")

    steps = read_output("init-db --plan", planned.stdout)
    assert [step["revision"] for step in steps] == REVISIONS
    assert (done.exit_code, json.loads(done.stdout)) == (0, [])


@pytest.mark.parametrize(
    "options",
    [
        ["--no-backup", "--require-backup"],
        ["--no-backup", "--backup-dir", "x"],
        ["--plan", "--no-backup"],
        ["--plan", "--require-backup"],
    ],
)
def test_options_that_contradict_each_other_are_refused(quetz, configured, options):
    result = quetz("init-db", configured, *options)

    assert result.exit_code == 2
    assert [entry.name for entry in configured.iterdir()] == ["config.toml"]


@pytest.mark.parametrize(
    ("to", "reason"),
    [
        pytest.param("nope", "revision 'nope' is unknown", id="unknown"),
        pytest.param("quetz-no@head", "names 'quetz-no', which has no migrations", id="plugin"),
        pytest.param("", "revision '' is", id="empty"),
    ],
)
def test_a_revision_that_is_not_there_is_named(quetz, configured, to, reason):
    result = quetz("init-db", configured, "--to", to)

    assert result.exit_code == 2
    assert reason in result.stderr


@pytest.mark.parametrize(
    ("to", "applied"),
    [
        (HEAD, REVISIONS),
        (HEAD[:4], REVISIONS),
        ("quetz@head", REVISIONS),
        (f"quetz@{HEAD[:3]}", REVISIONS),
        (REVISIONS[0], REVISIONS[:1]),
    ],
)
def test_init_db_stops_at_a_revision(quetz, configured, to, applied):
    result = quetz("init-db", configured, "--to", to)

    assert (result.exit_code, result.stdout.split()) == (0, applied)


def test_a_backup_is_made_before_a_database_with_rows_is_changed(quetz, configured, newer):
    quetz("init-db", configured)
    newer.add("aaaa", "op.create_table('later', sa.Column('id', sa.Integer))")

    ended = newer.command("init-db", configured, "--json")

    document = read_output("init-db", ended.stdout)
    assert (ended.returncode, document["applied"]) == (0, ["aaaa"])
    assert Path(document["backup"]).parent == configured / "backups"
    assert events(ended.stderr)[:2] == ["backup", "backed-up"]


def test_without_a_backup_none_is_made(quetz, configured, newer):
    quetz("init-db", configured)
    newer.add("aaaa", "op.create_table('later', sa.Column('id', sa.Integer))")

    ended = newer.command("init-db", configured, "--no-backup")

    assert (ended.returncode, ended.stdout.split()) == (0, ["aaaa"])
    assert not (configured / "backups").exists()


def test_a_status_tells_each_owner_and_what_is_missing(quetz, on_each):
    before = quetz("migrations", "status", on_each)
    quetz("init-db", on_each)
    after = quetz("migrations", "status", on_each)

    assert (before.exit_code, after.exit_code) == (3, 0)
    told = re.findall(r"missing: (\w+)", before.stdout)
    assert told == REVISIONS or "is missing" in before.stdout
    assert "The database is up to date" in after.stdout
    assert f"{len(REVISIONS)} applied, 0 missing" in after.stdout


def test_a_status_is_told_in_json(quetz, on_each):
    quetz("init-db", on_each)

    result = quetz("migrations", "status", on_each, "--json")

    document = read_output("migrations status", result.stdout)
    assert document["state"] == "current"
    assert document["owners"][0]["applied"] == REVISIONS


def test_a_status_waits_until_somebody_has_migrated(quetz, configured, engine_of):
    engine = engine_of(configured)
    engine.connect().close()  # which makes the file, so that there is something to look at
    event.listen(Pool, "checkin", lambda *_: upgrade(engine, load_plugins([])), once=True)

    result = quetz("migrations", "status", configured, "--wait", "60")

    assert result.exit_code == 0


def test_a_status_waits_no_longer_than_told(quetz, configured):
    assert quetz("migrations", "status", configured, "--wait", "0.1").exit_code == 3


def test_nothing_is_found_in_a_database_as_it_should_be(quetz, on_each):
    quetz("init-db", on_each)

    result = quetz("migrations", "check", on_each, "--deep", "--json")

    document = read_output("migrations check", result.stdout)
    assert result.exit_code == 0
    assert not any(found for name, found in document.items() if name != "unchecked")


def test_a_check_does_not_say_that_nothing_is_wrong_while_migrations_are_missing(
    quetz, configured, engine_of
):
    engine_of(configured).connect().close()  # which makes the file

    result = quetz("migrations", "check", configured)

    pending = "".join(f"pending: {revision}\n" for revision in REVISIONS)
    assert (result.exit_code, result.stdout) == (3, pending)
    assert result.stderr == (
        f"quetz: {len(REVISIONS)} migrations are missing, run: quetz init-db {configured}; "
        "nothing else is wrong\n"
    )


def test_a_plugin_that_cannot_be_imported_leaves_a_check_without_a_verdict(
    quetz, configured, tmp_path
):
    quetz("init-db", configured)
    site = Site(tmp_path / "site")
    site.install("quetz-foo", {"db_models.py": "1 / 0"})

    ended = site.command("migrations", "check", configured)

    assert ended.returncode == 12
    assert ended.stdout.startswith("unchecked: plugin 'quetz-foo': cannot import")
    assert "1 plugin could not be checked" in ended.stderr
    assert ended.stderr.endswith("; nothing else is wrong\n")


def test_a_status_does_not_call_a_broken_plugin_up_to_date(quetz, configured, tmp_path):
    quetz("init-db", configured)
    site = Site(tmp_path / "site")
    site.install("quetz-foo", {"migrations/versions/f00_first.py": "1 / 0"})

    ended = site.command("migrations", "status", configured)

    heading, *owners = ended.stdout.splitlines()
    assert ended.returncode == 12
    assert heading == "The database is up to date, except for plugins that are broken"
    assert any("quetz-foo" in owner and "broken: " in owner for owner in owners)


def test_a_migration_that_was_edited_after_it_was_applied_is_warned_of(quetz, configured, tmp_path):
    site = Site(tmp_path / "site")
    revision = REVISION.format(
        revision="f00", parent=None, labels=("quetz-foo",), upgrade="pass", downgrade="pass"
    )
    site.install("quetz-foo", {"migrations/versions/f00_first.py": revision})
    site.command("init-db", configured)
    file = site.folder / "quetz_foo/migrations/versions/f00_first.py"
    file.write_text(revision.replace("pass", "op.execute('SELECT 1')", 1))

    again = site.command("init-db", configured)
    status = site.command("migrations", "status", configured)

    warned, done = map(json.loads, again.stderr.splitlines())
    sentence = f"Edited after it had been applied: f00 in '{file}'; put it back as it was"
    assert (again.returncode, warned["event"], done["event"]) == (0, "warning", "done")
    assert warned["message"].startswith(sentence)
    assert status.returncode == 0
    assert sentence in status.stdout


def test_a_status_names_the_command_with_its_deployment(quetz, configured):
    result = quetz("migrations", "status", configured)

    assert result.stdout.startswith(f"The database is missing: run quetz init-db {configured}\n")


def test_a_table_that_is_gone_is_found(quetz, on_each, engine_of):
    quetz("init-db", on_each)
    run_sql(engine_of(on_each), "DROP TABLE file_downloads")

    result = quetz("migrations", "check", on_each)

    assert result.exit_code == 4
    assert "file_downloads" in result.stdout


def test_a_history_tells_who_applied_what(quetz, on_each):
    assert quetz("migrations", "history", on_each).stdout == ""
    quetz("init-db", on_each)

    told = quetz("migrations", "history", on_each)
    document = quetz("migrations", "history", on_each, "--json")

    assert re.findall(r"up (\w+) quetz", told.stdout) == REVISIONS
    entries = read_output("migrations history", document.stdout)
    assert [entry["revision"] for entry in entries] == REVISIONS


def test_a_history_is_of_the_newest_entries(quetz, on_each, newer):
    quetz("init-db", on_each)
    newer.add("aaaa", "pass")
    newer.command("init-db", on_each, "--no-backup")

    whole = quetz("migrations", "history", on_each)
    newest = quetz("migrations", "history", on_each, "--limit", "1")

    assert [line.split()[3] for line in whole.stdout.splitlines()] == [*REVISIONS, "aaaa"]
    assert [line.split()[3] for line in newest.stdout.splitlines()] == ["aaaa"]


def test_looking_at_a_database_that_is_not_there_makes_none(quetz, configured):
    for verb in ("status", "history"):
        quetz("migrations", verb, configured)

    assert [entry.name for entry in configured.iterdir()] == ["config.toml"]


def test_a_folder_in_a_deployment_is_told_which_one_was_meant(quetz, configured):
    (configured / "store").mkdir()

    result = quetz("init-db", configured / "store")

    assert result.exit_code == 2
    assert result.stderr.endswith(f"; its parent '{configured}' is one\n")


@pytest.mark.parametrize("command", ["init-db", "migrations check", "migrations backup"])
def test_a_postgresql_that_is_away_is_told_with_its_setting(quetz, configured, command):
    (configured / "config.toml").write_text(
        "[sqlalchemy]\ndatabase_url = 'postgresql://ann:hush@127.0.0.1:1/away'\n"
    )

    result = quetz(*command.split(), configured)

    [line] = result.stderr.splitlines()
    assert result.exit_code == 1
    assert line.startswith("quetz: the database cannot be reached: connection failed: ")
    assert line.endswith(
        ": Connection refused; start its server, or correct [sqlalchemy] database_url "
        "(or migration_url, if that is set)"
    )


@pytest.mark.parametrize(
    "command",
    [
        ["init-db"],
        ["migrate"],
        ["make-migrations", "--message", "x"],
        ["migrations", "status"],
        ["migrations", "check"],
        ["migrations", "history"],
        ["migrations", "backup"],
        ["migrations", "backups"],
    ],
)
def test_a_folder_without_a_configuration_is_no_deployment(quetz, tmp_path, command):
    result = quetz(*command, tmp_path)

    assert result.exit_code == 2
    assert result.stderr == (
        f"quetz: '{tmp_path}' is not a quetz deployment (no config.toml); "
        f"make one with: quetz create {tmp_path}\n"
    )
    assert list(tmp_path.iterdir()) == []
