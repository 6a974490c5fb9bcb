"""The commands as a user meets them."""

import os
import shutil
import signal
from contextlib import closing
from functools import cache

import pytest
import typer.testing
from typer.testing import CliRunner

from quetz.cli.app import app
from quetz.db.engine import open_engine
from quetz.deployment import Deployment, database_url
from quetz.settings import load_settings
from quetz.tests.architecture.sources import ROOT
from quetz.tests.cli.releases import Release
from quetz.tests.worker.soundness import fill

# CliRunner makes all commands at each call, which takes longer than most of them run.
typer.testing._get_command = cache(typer.main.get_command)  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def no_other_settings(tmp_path, monkeypatch):
    """Neither the user's files nor the variables of whoever runs the tests."""
    for name in ("XDG_CONFIG_DIRS", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "no-settings"))
    for name in list(os.environ):
        if name.startswith("QUETZ_") and not name.startswith("QUETZ_TEST_"):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def ctrl_c_is_heard():
    """Programs that a shell put into the background pass on that they ignore it."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, former)


@pytest.fixture
def quetz():
    """Run the command with the arguments; the result has exit_code, stdout and stderr."""

    def run(*arguments, **options):
        return CliRunner().invoke(app, [str(argument) for argument in arguments], **options)

    return run


@pytest.fixture(scope="session")
def _created(tmp_path_factory):
    return tmp_path_factory.mktemp("created") / "deployment"


@pytest.fixture
def path(quetz, no_other_settings, tmp_path, _created):
    """A deployment as ``quetz create`` makes it: a copy, which takes less time."""
    if not _created.exists():
        assert quetz("create", _created).exit_code == 0
    return shutil.copytree(_created, tmp_path / "d")


@pytest.fixture
def configured(tmp_path):
    """A folder with nothing but a configuration."""
    folder = tmp_path / "deployment"
    folder.mkdir()
    (folder / "config.toml").write_text("")
    return folder


@pytest.fixture
def on_each(configured, empty_database_url):
    """A deployment on an empty database of each kind."""
    url = empty_database_url.render_as_string(hide_password=False)
    (configured / "config.toml").write_text(f"[sqlalchemy]\ndatabase_url = '{url}'\n")
    return configured


@pytest.fixture
def engine_of():
    engines = []

    def engine_of(deployment):
        engines.append(open_engine(database_url(deployment, load_settings(deployment))))
        return engines[-1]

    yield engine_of
    for engine in engines:
        engine.dispose()


@pytest.fixture
def newer(tmp_path):
    release = Release(tmp_path / "newer")
    shutil.copytree(
        ROOT / "quetz", release.folder / "quetz", ignore=shutil.ignore_patterns("tests")
    )
    return release


@pytest.fixture
def filled_path(deployment_path, tmp_path):
    """The folder of a deployment in which everything happened that may happen."""
    folder = tmp_path / "packages"
    folder.mkdir()
    with closing(Deployment.open(deployment_path)) as deployment:
        fill(deployment, folder)
    return deployment_path
