"""Two plugins, one of which refers to the other, are installed, tested, and come and go.

Their migrations were made by ``quetz make-migrations`` alone, as the founding page says.
"""

import json
import shutil
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from quetz.db.engine import open_engine
from quetz.migrations.authoring.seeds import seed
from quetz.testing.fixtures import FOLDER, SHARED_FOLDER
from quetz.testing.migrations.snapshots import Snapshot
from quetz.tests.e2e.workplaces import Workplace

INSTALL = "pip install -e ./quetz-licenses -e ./quetz-reviews"
INIT_DB = "quetz init-db deployment_dir"


@pytest.fixture(scope="module")
def shared_place(request, tmp_path_factory) -> Workplace:
    """A place with copies of both, whose tests use the PostgreSQL server of this run."""
    variables = {SHARED_FOLDER: str(request.config.stash[FOLDER])}
    place = Workplace.make(tmp_path_factory.mktemp("plugins"), variables)
    for plugin in Path(__file__).parent.glob("quetz-*"):
        copy = place.folder / plugin.name
        shutil.copytree(plugin, copy, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    return place


@pytest.fixture
def place(shared_place) -> Workplace:
    """A place where both are installed in development mode, and nothing else is."""
    if len(list(shared_place.commands.parent.glob("lib/*/site-packages/quetz_*.dist-info"))) < 2:
        shared_place.run(INSTALL)
    shutil.rmtree(shared_place.folder / "deployment_dir", ignore_errors=True)
    return shared_place


@pytest.fixture
def engine(place, empty_database_url):
    """The database of ``deployment_dir``."""
    folder = place.folder / "deployment_dir"
    folder.mkdir()
    url = empty_database_url.render_as_string(hide_password=False)
    (folder / "config.toml").write_text(f"[sqlalchemy]\ndatabase_url = '{url}'\n")
    engine = open_engine(empty_database_url)
    yield engine
    engine.dispose()


def fill(engine: Engine) -> Snapshot:
    with engine.execution_options(write=True).begin() as connection:
        seed(connection)
    return look(engine)


def look(engine: Engine) -> Snapshot:
    with engine.connect() as connection:
        return Snapshot.of(connection)


def states(place: Workplace) -> dict[str, str]:
    ended = place.attempt("quetz migrations status deployment_dir --json")
    return {owner["owner"]: owner["state"] for owner in json.loads(ended.out)["owners"]}


@pytest.mark.parametrize("plugin", ["quetz-licenses", "quetz-reviews"])
def test_the_tests_of_a_plugin_pass(place, plugin):
    output = place.run(f"cd {plugin} && pytest -rA")

    assert "tests/test_uploads.py" in output
    assert "PASSED quetz.testing.migrations::test_a_kill_at_any_statement" in output
    assert "skipped" not in output


def test_a_plugin_that_goes_and_comes_back_finds_its_rows(place, engine):
    place.run(INIT_DB)
    before = fill(engine)

    place.run("pip uninstall --yes quetz-reviews")

    assert place.run(INIT_DB) == ""
    assert states(place) == {
        "quetz": "current",
        "quetz-licenses": "current",
        "quetz-reviews": "orphaned",
    }
    assert look(engine) == before
    place.run(INSTALL)
    assert place.run(INIT_DB) == ""
    assert set(states(place).values()) == {"current"}
    assert look(engine) == before


def test_a_plugin_without_the_one_it_refers_to_is_named_and_stops_nobody(place, engine):
    place.run(INIT_DB)
    before = fill(engine)

    place.run("pip uninstall --yes quetz-licenses")
    ended = place.attempt(INIT_DB)

    assert ended.code == 12
    assert "'quetz-reviews': cannot import" in ended.err.splitlines()[-1]
    assert states(place)["quetz"] == "current"
    place.run(INSTALL)
    assert place.run(INIT_DB) == ""
    assert look(engine) == before


def test_a_migration_made_meanwhile_is_applied_when_a_plugin_comes_back(place, engine):
    first = "--to quetz-reviews@937c"
    place.run(f"{INIT_DB} {first} && pip uninstall --yes quetz-reviews && {INIT_DB}")
    assert states(place)["quetz-reviews"] == "orphaned"
    place.run(INSTALL)

    applied = place.run(INIT_DB).split()

    assert applied == ["2ed163b01265"]
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(comment) FROM quetz_reviews")) == 0
