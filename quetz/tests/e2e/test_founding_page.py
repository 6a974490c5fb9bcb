"""The page that this project began with: a test for each of its sentences, R1 to R20.

Its commands are run as they stand there. Each row also has what goes wrong most often.
"""

import ast
import re
import shutil
import sqlite3
import subprocess
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, inspect, text

from quetz.db.engine import open_engine
from quetz.migrations.ledger import read_entries
from quetz.migrations.seeds import seed
from quetz.migrations.trees import HOME, load_tree
from quetz.plugins import CORE, find_plugins
from quetz.testing.migrations.snapshots import Snapshot, lost_rows
from quetz.tests.e2e.workplaces import Ended, Workplace

PLUGINS = Path(__file__).parents[1] / "plugins"

INIT_DB = "quetz init-db deployment_dir"
MAKE = 'quetz make-migrations deployment_dir --message "my revision message"'
INITIALIZE = (
    'quetz make-migrations deployment_dir --message "initial revision" --initialize '
    "--plugin quetz-plugin_name"
)
SECOND = (
    'quetz make-migrations deployment_dir --message "second revision"  --plugin quetz-plugin_name'
)

MODELS = """\
from sqlalchemy.orm import Mapped, mapped_column

from quetz.db_models import Base


class Thing(Base):
    __tablename__ = "quetz_plugin_name_things"

    id: Mapped[int] = mapped_column(primary_key=True)
"""
COLUMN = '    note: Mapped[str] = mapped_column(server_default="")\n'
PYPROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "quetz-plugin_name"
version = "1.0"

[project.entry-points.quetz]
"quetz-plugin_name" = "quetz_plugin_name.hooks"
"""
SUITE = """\
from sqlalchemy import inspect
from quetz.migrations.ledger import has_ledger

def test_tables(session):
    assert inspect(session.connection()).has_table("quetz_plugin_name_things")

def test_migrated(session):
    assert has_ledger(session.connection())
"""


@pytest.fixture
def head() -> str:
    """The newest revision of quetz."""
    return load_tree(find_plugins([])).heads_of(CORE)[0]


@pytest.fixture
def place(tmp_path) -> Workplace:
    return with_deployment(Workplace.make(tmp_path))


@pytest.fixture
def checkout(tmp_path) -> Workplace:
    """A place where quetz is being developed."""
    return with_deployment(Workplace.checkout(tmp_path))


@pytest.fixture
def engine(empty_database_url):
    """The database of ``on_either``."""
    engine = open_engine(empty_database_url)
    yield engine
    engine.dispose()


def with_deployment(place: Workplace, settings: str = "") -> Workplace:
    folder = place.folder / "deployment_dir"
    folder.mkdir(exist_ok=True)
    (folder / "config.toml").write_text(settings)
    return place


def on_database(place: Workplace, engine: Engine) -> Workplace:
    url = engine.url.render_as_string(hide_password=False)
    return with_deployment(place, f"[sqlalchemy]\ndatabase_url = '{url}'\n")


def add_plugin(place: Workplace, models: str = MODELS, *, install: str = "pip install -e") -> Path:
    """Write the plugin ``quetz-plugin_name``, install it, and return the folder of its package."""
    package = place.folder / "plugin/quetz_plugin_name"
    package.mkdir(parents=True)
    (package.parent / "pyproject.toml").write_text(PYPROJECT)
    (package / "__init__.py").touch()
    (package / "hooks.py").touch()
    (package / "db_models.py").write_text(models)
    place.run(f"{install} ./plugin")
    return package


def add_column(models: Path, line: str = COLUMN) -> None:
    models.write_text(models.read_text() + line)


def change_core(checkout: Workplace) -> None:
    add_column(checkout.folder / "quetz/db/models/channels.py", "    motto: Mapped[str | None]\n")


def written(ended_or_out: str) -> Path:
    """Return the file that make-migrations printed."""
    [line] = ended_or_out.splitlines()
    return Path(line)


def names_in(revision: Path) -> dict[str, object]:
    """Return the values that a revision gives its names: ``{"down_revision": None, ...}``."""
    return {
        node.target.id: ast.literal_eval(node.value)
        for node in ast.parse(revision.read_text()).body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value
    }


def body_of(revision: Path) -> str:
    """Return the code of ``upgrade``."""
    return revision.read_text().partition("def upgrade")[2].partition("def downgrade")[0]


def fill(engine: Engine) -> Snapshot:
    with engine.execution_options(write=True).begin() as connection:
        seed(connection)
    return look(engine)


def look(engine: Engine) -> Snapshot:
    with engine.connect() as connection:
        return Snapshot.of(connection)


def assert_refused(ended: Ended, code: int, sentence: str) -> None:
    assert ended.code == code, ended
    assert ended.sentence.startswith("quetz: "), ended
    assert re.search(sentence, ended.sentence), ended


def test_r01_the_database_is_upgraded_while_keeping_the_stored_data(checkout, engine):
    on_database(checkout, engine).run(INIT_DB)
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


def test_r02_it_is_done_automatically_by_one_of_many(place, engine, head):
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
    outputs = [process.communicate()[0] for process in crowd]

    assert [process.returncode for process in crowd] == [0, 0, 0, 0]
    assert sorted(outputs) == ["", "", "", f"{head}\n"]


def test_r03_alembic_reads_the_scripts_and_the_database(place, engine, head):
    on_database(place, engine).run(INIT_DB)

    scripts = ScriptDirectory(str(HOME))
    with engine.connect() as connection:
        recorded = MigrationContext.configure(connection).get_current_heads()
        table = connection.scalar(text("SELECT version_num FROM alembic_version"))

    assert scripts.get_current_head() == head
    assert recorded == (head,)
    assert table == head


def test_r04_the_database_is_backed_up_before_it_is_changed(place):
    place.run(INIT_DB)
    add_plugin(place)
    place.run(INITIALIZE)

    ended = place.attempt(INIT_DB)

    [backup] = (place.folder / "deployment_dir/backups").glob("*.sqlite")
    assert str(backup) in ended.err
    with closing(sqlite3.connect(backup)) as database:
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
    assert "channels" in tables
    assert "quetz_plugin_name_things" not in tables


def test_r04_without_room_for_a_backup_nothing_is_changed(place):
    place.run(INIT_DB)
    add_plugin(place)
    place.run(INITIALIZE)
    (place.folder / "deployment_dir/backups").write_text("not a folder")

    ended = place.attempt(INIT_DB)

    assert ended.code == 8
    assert "no backup could be made" in ended.err.splitlines()[-1]
    assert place.attempt("quetz migrations status deployment_dir").code == 3


def test_r05_one_command_applies_the_migrations_of_quetz_and_of_all_plugins(place, engine, head):
    on_database(place, engine)
    place.run(f"pip install -e {PLUGINS}/quetz-reviews -e {PLUGINS}/quetz-licenses")

    applied = place.run(INIT_DB).split()

    with engine.connect() as connection:
        owners = [entry.owner for entry in read_entries(connection)]
    assert applied[0] == head
    assert owners == ["quetz", *["quetz-licenses"] * 2, *["quetz-reviews"] * 2]


def test_r05_a_plugin_that_is_not_enabled_is_left_out(place):
    with_deployment(place, '[plugins]\nenabled = ["quetz-licenses"]\n')
    place.run(f"pip install -e {PLUGINS}/quetz-reviews -e {PLUGINS}/quetz-licenses")

    applied = place.run(INIT_DB).split()

    assert len(applied) == 3


def test_r06_init_db_makes_the_schema_and_may_be_repeated(place, engine, head):
    on_database(place, engine)

    first, second = place.attempt(INIT_DB), place.attempt(INIT_DB)

    assert (first.code, first.out) == (0, f"{head}\n")
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
    change_more = checkout.folder / "quetz/db/models/channels.py"
    add_column(change_more, "    greeting: Mapped[str | None]\n")
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
    assert ended.sentence == "Nothing changed: no migration is needed"
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

    output = suite.run("pytest suite -k tables")

    assert "1 passed" in output


def test_r12_tests_run_with_the_migrations(suite):
    output = suite.run("QUETZ_TEST_DBINIT=Use-Migrations pytest suite")

    assert "2 passed" in output


def test_r12_any_other_value_is_refused_before_any_test(suite):
    ended = suite.attempt("QUETZ_TEST_DBINIT=by-hand pytest suite")

    assert ended.code != 0
    assert "QUETZ_TEST_DBINIT must be create-tables or use-migrations" in ended.out + ended.err
    assert "passed" not in ended.out


def test_r13_a_plugin_has_to_be_initialized(place):
    package = add_plugin(place)

    ended = place.attempt(SECOND)

    assert_refused(ended, 2, "'quetz-plugin_name': has no migration yet; add --initialize")
    assert not list(package.rglob("versions/*.py"))


def test_r14_the_template_makes_the_backbone(place):
    template = PLUGINS.parents[2] / "plugin-template"
    place.run(f"cookiecutter {template} --no-input plugin_name=plugin_name")
    package = place.folder / "quetz-plugin-name/quetz_plugin_name"
    (package / "db_models.py").write_text(MODELS)
    place.run("pip install -e quetz-plugin-name")

    file = written(place.run(INITIALIZE))

    assert file.parent == package / "migrations/versions"
    place.run("pip wheel -w wheels ./quetz-plugin-name")
    [wheel] = (place.folder / "wheels").iterdir()
    assert f"migrations/versions/{file.name}" in place.run(f"python -m zipfile -l {wheel}")


def test_r15_models_are_found_in_db_models(place):
    add_plugin(place)
    place.run(f"pip install -e {PLUGINS}/quetz-licenses")

    file = written(place.run(INITIALIZE))

    assert re.findall(r'create_table\(\s*"(\w+)"', body_of(file)) == ["quetz_plugin_name_things"]


def test_r15_a_model_that_cannot_be_imported_is_told_in_a_sentence(place):
    add_plugin(place, "import nowhere")

    ended = place.attempt(INITIALIZE)

    assert_refused(ended, 2, "'quetz-plugin_name': cannot import .*No module named 'nowhere'")


def test_r16_initialize_makes_a_root(place, engine, head):
    on_database(place, engine)
    add_plugin(place)

    file = written(place.run(INITIALIZE))

    assert names_in(file) == {
        "revision": file.name.partition("_")[0],
        "down_revision": None,
        "branch_labels": ("quetz-plugin_name",),
        "depends_on": head,
    }


def test_r16_a_second_root_is_refused_and_does_no_harm(place):
    package = add_plugin(place)
    file = written(place.run(INITIALIZE))

    ended = place.attempt(INITIALIZE)

    revision = names_in(file)["revision"]
    assert_refused(ended, 2, f"is initialised already at {revision}; leave out --initialize")
    assert list(package.rglob("versions/*.py")) == [file]
    place.run(INIT_DB)


def test_r16_quetz_itself_is_initialized_already(checkout, head):
    ended = checkout.attempt(f"{MAKE} --initialize")

    assert_refused(ended, 2, f"'quetz': is initialised already at {head}")


def test_r17_the_script_is_in_the_plugins_own_folder(place):
    package = add_plugin(place)

    file = written(place.run(INITIALIZE))

    assert file.parent == package / "migrations/versions"
    assert re.fullmatch(r"[0-9a-f]{12}_initial_revision\.py", file.name)


def test_r17_a_package_without_an_init_file_has_a_folder_too(place):
    package = add_plugin(place)
    (package / "__init__.py").unlink()

    file = written(place.run(INITIALIZE))

    assert file.parent == package / "migrations/versions"


def test_r18_a_plugin_has_to_be_installed_in_development_mode(place):
    package = add_plugin(place, install="pip install")

    ended = place.attempt(INITIALIZE)

    assert_refused(ended, 2, "is installed as a copy in .*pip install -e, or .*--output")
    assert not list(place.folder.parent.rglob("*_initial_revision.py"))
    place.run(f"{INITIALIZE} --output {package}/migrations/versions")
    assert len(list(package.glob("migrations/versions/*_initial_revision.py"))) == 1


def test_r19_init_db_makes_what_the_models_of_the_plugin_say(place, engine):
    on_database(place, engine)
    add_plugin(place)
    file = written(place.run(INITIALIZE))

    applied = place.run(INIT_DB).split()

    assert applied[-1] == names_in(file)["revision"]
    columns = inspect(engine).get_columns("quetz_plugin_name_things")
    assert [column["name"] for column in columns] == ["id"]


def test_r20_a_change_of_the_plugins_models_makes_its_second_migration(place, engine):
    on_database(place, engine)
    package = add_plugin(place)
    first = written(place.run(INITIALIZE))
    place.run(INIT_DB)
    before = fill(engine)
    add_column(package / "db_models.py")

    second = written(place.run(SECOND))

    assert names_in(second)["down_revision"] == names_in(first)["revision"]
    assert names_in(second)["branch_labels"] is None
    assert re.findall(r'"(quetz_\w+)"', body_of(second)) == ["quetz_plugin_name_things"]
    place.run(INIT_DB)
    assert list(lost_rows(before, look(engine))) == []
    assert look(engine).tables["quetz_plugin_name_things"].rows == [{"id": 1, "note": ""}]
