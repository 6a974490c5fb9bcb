"""The page that this project began with: a test for each sentence on quetz, R1 to R12.

Its commands are run as they stand there. Each row also has what goes wrong most often.
"""

import os
import re
import shutil
import subprocess
from dataclasses import replace

import pytest
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from quetz.migrations.ledger import read_entries
from quetz.migrations.trees import HOME
from quetz.testing.migrations.snapshots import lost_rows
from quetz.testing.postgresql import client_programs
from quetz.tests.e2e.founding_page.steps import (
    INIT_DB,
    INITIALIZE,
    MAKE,
    PLUGINS,
    add_plugin,
    assert_refused,
    body_of,
    change_core,
    fill,
    look,
    names_in,
    on_database,
    with_deployment,
    written,
)
from quetz.tests.e2e.workplaces import Workplace

SUITE = """\
from sqlalchemy import inspect
from quetz.migrations.ledger import has_ledger

def test_tables(session):
    assert inspect(session.connection()).has_table("quetz_plugin_name_things")

def test_migrated(session):
    assert has_ledger(session.connection())
"""


def test_r01_the_database_is_upgraded_while_keeping_the_stored_data(checkout, engine):
    on_database(checkout.apart(), engine).run(INIT_DB)
    before = fill(engine)
    change_core(checkout)
    file = written(checkout.run(MAKE))

    applied = checkout.run(INIT_DB)

    assert applied.split() == [names_in(file)["revision"]]
    after = look(engine)
    assert list(lost_rows(before, after)) == []
    assert "motto" in after.tables["channels"].types
    assert all(contents.rows for contents in after.tables.values())


def test_r01_a_migration_that_fails_half_way_leaves_the_stored_data_as_it_was(checkout, engine):
    on_database(checkout, engine).run(INIT_DB)
    before = fill(engine)
    change_core(checkout)
    file = written(checkout.run(MAKE))
    file.write_text(file.read_text().replace("def downgrade", "    1 / 0\n\n\ndef downgrade"))

    ended = checkout.attempt(INIT_DB)

    assert ended.code == 1
    said = ended.err.splitlines()[-1]
    assert re.match(r"quetz: migration '\w+ \(my revision message\)' failed and was rolled", said)
    assert look(engine) == before


def test_r02_it_is_done_automatically_by_one_of_many(place, engine, revisions):
    on_database(place, engine)
    command = ["sh", "-c", INIT_DB]

    crowd = [
        subprocess.Popen(
            command,
            cwd=place.folder,
            env=place.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for _ in range(4)
    ]
    outputs = [process.communicate()[0].split() for process in crowd]

    assert [process.returncode for process in crowd] == [0, 0, 0, 0]
    assert sorted(outputs) == [[], [], [], revisions]


def test_r03_alembic_reads_the_scripts_and_the_database(place, engine, head):
    on_database(place, engine).run(INIT_DB)

    scripts = ScriptDirectory(str(HOME))
    with engine.connect() as connection:
        recorded = MigrationContext.configure(connection).get_current_heads()
        table = connection.scalar(text("SELECT version_num FROM alembic_version"))

    assert scripts.get_current_head() == head
    assert recorded == (head,)
    assert table == head


def test_r04_the_database_is_backed_up_before_it_is_changed(place, engine):
    path = f"{place.commands}:{client_programs()}:{os.environ['PATH']}"
    place = replace(on_database(place, engine), variables={"PATH": path})
    place.run(INIT_DB)
    before = fill(engine)
    add_plugin(place)
    place.run(INITIALIZE)

    ended = place.attempt(INIT_DB)

    [backup] = place.run("quetz migrations backups deployment_dir").split()[:1]
    assert backup in ended.err
    engine.dispose()
    place.run(f"quetz migrations restore deployment_dir {backup} --yes")
    assert look(engine) == before


def test_r04_without_room_for_a_backup_nothing_is_changed(place):
    place.run(INIT_DB)
    add_plugin(place)
    place.run(INITIALIZE)
    (place.folder / "deployment_dir/backups").write_text("not a folder")

    ended = place.attempt(INIT_DB)

    assert ended.code == 8
    assert "no backup could be made" in ended.err.splitlines()[-1]
    assert place.attempt("quetz migrations status deployment_dir").code == 3


def test_r05_one_command_applies_the_migrations_of_quetz_and_of_all_plugins(
    place, engine, revisions
):
    on_database(place, engine)
    place.run(f"pip install -e {PLUGINS}/quetz-reviews -e {PLUGINS}/quetz-licenses")

    applied = place.run(INIT_DB).split()

    with engine.connect() as connection:
        owners = [entry.owner for entry in read_entries(connection)]
    assert [revision for revision in applied if revision in revisions] == revisions
    assert (owners[0], owners.count("quetz")) == ("quetz", len(revisions))
    plugins = [owner for owner in owners if owner != "quetz"]
    assert plugins == [*["quetz-licenses"] * 2, *["quetz-reviews"] * 2]


def test_r05_a_plugin_that_is_not_enabled_is_left_out(place, revisions):
    with_deployment(place, '[plugins]\nenabled = ["quetz-licenses"]\n')
    place.run(f"pip install -e {PLUGINS}/quetz-reviews -e {PLUGINS}/quetz-licenses")

    applied = place.run(INIT_DB).split()

    assert len(applied) == len(revisions) + 2


def test_r06_init_db_makes_the_schema_and_may_be_repeated(place, engine, revisions):
    on_database(place, engine)

    first, second = place.attempt(INIT_DB), place.attempt(INIT_DB)

    assert (first.code, first.out.splitlines()) == (0, revisions)
    assert (second.code, second.out) == (0, "")
    assert "The database is up to date" in second.sentence
    assert {"users", "channels", "files"} <= set(inspect(engine).get_table_names())


@pytest.mark.parametrize("make", ["", "mkdir nowhere; "], ids=["no folder", "an empty folder"])
def test_r06_what_is_no_deployment_is_told_in_a_sentence(place, make):
    ended = place.attempt(f"{make}quetz init-db nowhere")

    assert_refused(ended, 2, "'nowhere' is not a quetz deployment.*make one with: quetz create")


def test_r07_a_change_of_the_models_of_quetz_makes_a_migration_of_just_that(checkout, engine):
    on_database(checkout, engine)
    add_plugin(checkout)  # whose tables have no migration yet
    change_core(checkout)

    file = written(checkout.run(MAKE))

    assert re.findall(r"\bop\.(?!f\()\w+|batch_op\.\w+", body_of(file)) == [
        "op.batch_alter_table",
        "batch_op.add_column",
    ]
    assert re.search(r'batch_alter_table\(\s*"channels".*"motto"', body_of(file), re.DOTALL)


def test_r08_the_database_is_brought_up_to_date_before(checkout):
    checkout.run(INIT_DB)
    change_core(checkout)

    file = written(checkout.run(f"{INIT_DB}\n{MAKE}"))

    assert file.read_text().startswith('"""my revision message\n')


def test_r08_a_database_that_is_behind_is_in_nobodys_way(checkout):
    change_core(checkout)

    first = written(checkout.run(MAKE))
    change_core(checkout, "greeting")
    second = written(checkout.run(MAKE))

    assert names_in(second)["down_revision"] == names_in(first)["revision"]
    assert "motto" not in body_of(second)


def test_r08_without_a_message_there_is_no_migration(checkout):
    change_core(checkout)

    ended = checkout.attempt("quetz make-migrations deployment_dir")

    assert ended.code == 2
    assert "--message" in ended.err
    assert "say what the migration does" in ended.err


def test_r09_the_file_is_in_quetz_migrations_versions(checkout, head):
    change_core(checkout)

    file = written(checkout.run(MAKE))

    assert file.parent == checkout.folder / "quetz/migrations/versions"
    assert re.fullmatch(r"[0-9a-f]{12}_my_revision_message\.py", file.name)
    names = names_in(file)
    assert file.name.startswith(f"{names.pop('revision')}_")
    assert names == {"down_revision": head, "branch_labels": None, "depends_on": None}


def test_r09_when_nothing_changed_there_is_no_file(checkout):
    versions = checkout.folder / "quetz/migrations/versions"
    before = set(versions.glob("*.py"))

    ended = checkout.attempt(MAKE)

    assert (ended.code, ended.out) == (0, "")
    assert ended.sentence == "Nothing changed in quetz: no migration is needed"
    assert set(versions.glob("*.py")) == before


def test_r09_nothing_is_written_into_an_installed_copy(checkout):
    copies = checkout.folder / "site-packages"
    change_core(checkout)
    copies.mkdir()
    (checkout.folder / "quetz").rename(copies / "quetz")
    before = set(copies.rglob("versions/*.py"))

    ended = checkout.attempt(f"PYTHONPATH={copies} {MAKE}")

    assert_refused(ended, 2, "'quetz': is installed as a copy in .*pip install -e")
    assert set(copies.rglob("versions/*.py")) == before


def test_r10_init_db_applies_the_new_migration_and_names_it(checkout, engine):
    on_database(checkout, engine).run(INIT_DB)
    change_core(checkout)
    file = written(checkout.run(MAKE))

    ended = checkout.attempt(INIT_DB)

    assert ended.out.split() == [names_in(file)["revision"]]
    assert "my revision message" in ended.err
    assert "motto" in {column["name"] for column in inspect(engine).get_columns("channels")}


@pytest.fixture
def suite(place) -> Workplace:
    """Tests of a plugin whose tables are made by one migration."""
    add_plugin(place)
    place.run(INITIALIZE)
    folder = place.folder / "suite"
    folder.mkdir()
    (folder / "conftest.py").write_text('pytest_plugins = ["quetz.testing.fixtures"]\n')
    (folder / "test_suite.py").write_text(SUITE)
    return replace(
        place, variables={"QUETZ_TEST_DATABASE": f"sqlite:///{place.folder}/test.sqlite"}
    )


def test_r11_tests_need_no_migrations(suite):
    shutil.rmtree(suite.folder / "plugin/quetz_plugin_name/migrations")

    output = suite.run("env --unset=QUETZ_TEST_DBINIT pytest suite -k tables")

    assert "1 passed" in output


def test_r12_tests_run_with_the_migrations(suite):
    output = suite.apart().run("QUETZ_TEST_DBINIT=Use-Migrations pytest suite")

    assert "2 passed" in output


def test_r12_any_other_value_is_refused_before_any_test(suite):
    ended = suite.attempt("QUETZ_TEST_DBINIT=by-hand pytest suite")

    assert ended.code != 0
    assert "QUETZ_TEST_DBINIT must be create-tables or use-migrations" in ended.out + ended.err
    assert "passed" not in ended.out
