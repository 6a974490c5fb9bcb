"""Places to follow the founding page at."""

import pytest

from quetz.db.engine import open_engine
from quetz.plugins import find_plugins
from quetz.tests.e2e.founding_page.steps import (
    with_deployment,
)
from quetz.tests.e2e.workplaces import Workplace
from quetz.tests.migrations.databases import revisions_of


@pytest.fixture
def head(revisions) -> str:
    """The newest revision of quetz."""
    return revisions[-1]


@pytest.fixture
def revisions() -> list[str]:
    """The revisions of quetz, the oldest first."""
    return revisions_of(find_plugins([]))


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
