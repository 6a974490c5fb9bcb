"""An empty database, the plugins in use, and folders of revisions to add to."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy.engine import URL

from quetz.db.engine import open_engine
from quetz.migrations.backups import Backups
from quetz.plugins import Plugins, load_plugins


@pytest.fixture
def plugins() -> Plugins:
    return load_plugins([])


@pytest.fixture
def empty_engine(empty_database_url):
    engine = open_engine(empty_database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def sqlite_engine(tmp_path):
    engine = open_engine(URL.create("sqlite", database=str(tmp_path / "quetz.sqlite")))
    yield engine
    engine.dispose()


@pytest.fixture
def copied(plugins, tmp_path) -> Plugins:
    """The plugins, with a copy of the core's revisions that a test may add to."""
    folder = tmp_path / "versions"
    shutil.copytree(plugins.migrations["quetz"], folder)
    return replace(plugins, migrations={"quetz": folder})


@pytest.fixture
def none_yet(plugins, tmp_path) -> Plugins:
    """The plugins, with an empty folder for the core's revisions."""
    (tmp_path / "none").mkdir()
    return replace(plugins, migrations={"quetz": Path(tmp_path, "none")})


@pytest.fixture
def backups(tmp_path) -> Backups:
    return Backups(tmp_path / "backups")
