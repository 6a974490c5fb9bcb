"""Places to follow the founding page at."""

import pytest

from quetz.db.engine import open_engine
from quetz.migrations.trees import load_tree
from quetz.plugins import CORE, find_plugins
from quetz.tests.e2e.founding_page.steps import (
    with_deployment,
)
from quetz.tests.e2e.workplaces import Workplace


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
    """The database that ``on_database`` names to a deployment."""
    engine = open_engine(empty_database_url)
    yield engine
    engine.dispose()
