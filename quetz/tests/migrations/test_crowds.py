"""Several processes migrate one database at the same moment."""

import json
import subprocess
import sys

from sqlalchemy import Engine, event

from quetz.db.engine import open_engine
from quetz.migrations import check_schema, upgrade
from quetz.tests.migrations.databases import revisions_of

CROWD = 8

PROGRAM = """
import json, sys
from sqlalchemy.engine import make_url
from quetz.db.engine import open_engine
from quetz.migrations import upgrade
from quetz.plugins import load_plugins

engine, plugins = open_engine(make_url(sys.argv[1])), load_plugins([])
print("ready", flush=True)
sys.stdin.readline()
print(json.dumps(upgrade(engine, plugins).applied))
engine.dispose()
"""


def test_a_database_that_is_migrated_while_one_looks_at_it_is_not_unknown(
    empty_database_url, empty_engine, plugins
):
    other = open_engine(empty_database_url)

    def migrate_meanwhile(*_args: object) -> None:
        upgrade(other, plugins)

    event.listen(Engine, "after_cursor_execute", migrate_meanwhile, once=True)
    applied = upgrade(empty_engine, plugins).applied
    other.dispose()

    assert applied == []
    check_schema(empty_engine, plugins, "x")


def test_a_crowd_on_an_empty_database_applies_each_revision_once(
    empty_database_url, empty_engine, plugins
):
    url = empty_database_url.render_as_string(hide_password=False)
    crowd = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", PROGRAM, url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(CROWD)
    ]
    for process in crowd:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in crowd:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    outputs = [process.communicate()[0] for process in crowd]

    assert [process.returncode for process in crowd] == [0] * CROWD
    applied = sorted(json.loads(output) for output in outputs)
    assert applied == [[]] * (CROWD - 1) + [revisions_of(plugins)]
    check_schema(empty_engine, plugins, "x")
