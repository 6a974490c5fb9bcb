"""What is told while migrations run, and what becomes of one that is interrupted."""

import json
import os
import pty
import signal
import subprocess
import sys
from contextlib import contextmanager
from functools import partial

import pytest

from quetz.migrations.locks import alone
from quetz.plugins import load_plugins
from quetz.testing.postgresql import client_programs
from quetz.tests.cli.outputs import read_output
from quetz.tests.forks import Kind, python_of
from quetz.tests.migrations.databases import head_of, heads_in, revisions_of, tables_in

HEAD = str(head_of(load_plugins([])))
REVISIONS = revisions_of(load_plugins([]))
LATER = "op.create_table('later', sa.Column('id', sa.Integer))"
ORDER = ("step", "stepped", "verifying", "done")
INTERRUPTED = (
    "quetz: interrupted: what was not committed is rolled back; quetz init-db goes on from there"
)
on_sqlite = pytest.mark.parametrize("databases", ["sqlite"], indirect=True)
on_postgresql = pytest.mark.parametrize("databases", ["postgresql"], indirect=True)


@contextmanager
def started(*arguments, python=(sys.executable, "-W", "error")):
    """Run the command ``quetz``, and go on while it runs."""
    with subprocess.Popen(
        [*python, "-m", "quetz", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def on_a_terminal(command, **options):
    """Run a command whose standard error is a terminal, and return the lines it shows there."""
    ours, theirs = pty.openpty()
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=theirs, check=False, **options)
    os.close(theirs)
    shown = b""
    while chunk := _read(ours):
        shown += chunk
    os.close(ours)
    return shown.decode().splitlines()


def _read(terminal):
    try:
        return os.read(terminal, 4096)
    except OSError:  # how Linux tells that the other end is closed
        return b""


def test_on_a_terminal_each_line_of_progress_is_in_words(quetz, on_each, newer, monkeypatch):
    monkeypatch.setenv("PATH", f"{client_programs()}{os.pathsep}{os.environ['PATH']}")
    quetz("init-db", on_each)
    insert = "INSERT INTO objects (sha256, size, touched_at) VALUES ('one', 1, 1), ('two', 2, 2)"
    newer.add("aaaa", f'op.execute("{insert}")')
    command = [*python_of(Kind.OTHERS), "-m", "quetz", "init-db", on_each]

    backing_up, backed_up, step, *work, done = on_a_terminal(command, cwd=newer.folder)

    assert backing_up == "Backing up the database"
    assert backed_up.startswith(f"Backed up to {on_each}/backups/")
    assert step == "1/1 quetz: aaaa (aaaa)"
    stepped, verifying = sorted(work)  # SQLite verifies all steps at the end
    assert stepped.startswith("    2 rows, ")
    assert verifying == "Verifying"
    assert done.startswith("1 migration applied in ")


def test_elsewhere_each_line_of_progress_has_its_facts(quetz, on_each):
    result = quetz("init-db", on_each)

    lines = [json.loads(line) for line in result.stderr.splitlines()]
    total = len(REVISIONS)
    *work, verifying, done = sorted(lines, key=lambda line: ORDER.index(line["event"]))
    steps, stepped = work[:total], work[total:]
    assert steps[0]["message"] == f"1/{total} quetz: {REVISIONS[0]} (initial revision)"
    assert [step["number"] for step in steps] == list(range(1, total + 1))
    assert {(step["total"], step["transactional"]) for step in steps} == {(total, True)}
    assert [line["revision"] for line in stepped] == [step["revision"] for step in steps]
    assert [line["revision"] for line in stepped] == REVISIONS
    assert {line["owner"] for line in stepped} == {"quetz"}
    assert all(line["seconds"] >= 0 for line in stepped)
    assert verifying == {"event": "verifying", "message": "Verifying"}
    assert done["applied"] == total


def test_who_waits_is_told_for_whom_and_then_who_was_faster(on_each, engine_of):
    start = partial(started, "init-db", on_each, "--json", python=python_of(Kind.QUETZ))

    with start() as one, start() as two:
        with alone(engine_of(on_each)):
            told = [json.loads(process.stderr.readline()) for process in (one, two)]
        ended = [process.communicate(timeout=60) for process in (one, two)]

    assert {line["event"] for line in told} == {"waiting"}
    assert all(f"process {os.getpid()} of " in line["holder"] for line in told)
    assert [process.returncode for process in (one, two)] == [0, 0]
    outcomes = [(read_output("init-db", stdout), stderr) for stdout, stderr in ended]
    (slow, last_line), (fast, _) = sorted(outcomes, key=lambda outcome: outcome[0]["applied"])
    assert (slow["applied"], fast["applied"]) == ([], REVISIONS)
    assert slow["already"].startswith("Already migrated by process ")
    assert json.loads(last_line.splitlines()[-1])["message"] == slow["already"]


def test_ctrl_c_in_a_revision_leaves_nothing_half_done(quetz, on_each, newer, engine_of):
    quetz("init-db", on_each)
    file = newer.add("aaaa", f"{LATER}; __import__('signal').raise_signal(2)")

    interrupted = newer.command("init-db", on_each)
    left = tables_in(engine_of(on_each))
    file.write_text(file.read_text().replace("raise_signal(2)", "SIGINT"))
    again = newer.command("init-db", on_each)

    assert interrupted.returncode == 130
    assert interrupted.stdout == ""
    assert interrupted.stderr.splitlines()[-1] == INTERRUPTED
    assert "later" not in left
    assert (again.returncode, again.stdout.split()) == (0, ["aaaa"])


def test_ctrl_c_ends_the_wait_for_somebody_else(on_each, engine_of):
    engine = engine_of(on_each)

    with alone(engine), started("init-db", on_each) as waiting:
        waiting.stderr.readline()
        waiting.send_signal(signal.SIGINT)
        stdout, stderr = waiting.communicate(timeout=60)

    assert (waiting.returncode, stdout, stderr) == (130, "", f"{INTERRUPTED}\n")
    assert tables_in(engine) == set()


def test_a_revision_that_ends_the_process_is_one_that_failed(quetz, on_each, newer, engine_of):
    quetz("init-db", on_each)
    newer.add("aaaa", f"{LATER}; raise SystemExit(0)")

    ended = newer.command("init-db", on_each)

    assert ended.returncode == 1
    assert "quetz: migration 'aaaa (aaaa)' failed and was rolled back" in ended.stderr
    assert heads_in(engine_of(on_each)) == {HEAD}
    assert "later" not in tables_in(engine_of(on_each))


@on_postgresql
def test_without_a_tool_for_backups_a_warning_is_told_and_it_goes_on(
    quetz, on_each, newer, monkeypatch
):
    quetz("init-db", on_each)
    newer.add("aaaa", LATER)
    monkeypatch.setenv("PATH", "/nowhere")

    ended = newer.command("init-db", on_each)

    warning = json.loads(ended.stderr.splitlines()[1])
    assert warning["event"] == "warning"
    assert warning["message"].startswith("Going on without a backup: pg_dump is not on PATH")
    assert (ended.returncode, ended.stdout.split()) == (0, ["aaaa"])


@on_postgresql
@pytest.mark.parametrize("option", [["--require-backup"], ["--backup-dir", "elsewhere"]])
def test_without_a_tool_a_backup_that_is_asked_for_is_missed(
    quetz, on_each, newer, engine_of, monkeypatch, option
):
    quetz("init-db", on_each)
    newer.add("aaaa", LATER)
    monkeypatch.setenv("PATH", "/nowhere")

    ended = newer.command("init-db", on_each, *option)

    assert ended.returncode == 8
    assert "pg_dump is not on PATH" in ended.stderr
    assert "later" not in tables_in(engine_of(on_each))
