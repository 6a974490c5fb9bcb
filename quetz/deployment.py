"""All that one running server owns, opened once by the server, a worker, a command or a test."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from quetz.db.changes import Changes, watch_changes
from quetz.db.engine import open_engine
from quetz.errors import BadConfig, DatabaseUnavailable, DeploymentNotFound, StorageFull
from quetz.migrations import check_schema
from quetz.plugins import Plugins, load_plugins
from quetz.services.publishing import has_marked
from quetz.services.tallies import Tallies
from quetz.settings import Settings, load_settings
from quetz.storage import ObjectStore
from quetz.storage.local import LocalStore

STORE_FOLDER = "store"
LOCK_FOLDER = "locks"


def database_url(path: Path, settings: Settings) -> URL:
    """Return the database's URL; a relative SQLite path is relative to the deployment.

    Raises:
        BadConfig: the URL is malformed, or names another database than SQLite or PostgreSQL.
    """
    try:
        url = make_url(settings.sqlalchemy.database_url.get_secret_value())
    except Exception:  # noqa: BLE001  whatever it is, its text may hold the password
        raise BadConfig("[sqlalchemy] database_url is not a database URL") from None
    backend = url.get_backend_name()
    if backend == "postgresql":
        return url.set(drivername="postgresql+psycopg")
    if backend != "sqlite":
        raise BadConfig(
            f"[sqlalchemy] database_url names '{backend}'; use sqlite:/// or postgresql://"
        )
    if url.database in (None, "", ":memory:"):
        raise BadConfig("[sqlalchemy] database_url names no file; use sqlite:///quetz.sqlite")
    return url.set(drivername="sqlite", database=str(path / str(url.database)))


def open_database(path: Path, settings: Settings) -> Engine:
    """Open the engine of a deployment without looking at its schema."""
    return open_engine(
        database_url(path, settings),
        echo=settings.sqlalchemy.echo_sql,
        pool_size=settings.sqlalchemy.postgres_pool_size,
        max_overflow=settings.sqlalchemy.postgres_max_overflow,
    )


def is_deployment(path: Path) -> bool:
    return (path / "config.toml").is_file()


@dataclass
class Deployment:
    """A deployment's settings, database, store and plugins, while a process uses them."""

    path: Path
    settings: Settings
    engine: Engine
    store: ObjectStore
    plugins: Plugins
    changes: Changes
    tallies: Tallies = field(default_factory=Tallies)
    marked: list[threading.Event] = field(default_factory=list)
    """Set after a commit that left index marks: what publishes waits for one of these."""

    @classmethod
    def open(cls, path: Path) -> "Deployment":
        """Open the deployment in the folder ``path``.

        Raises:
            DeploymentNotFound: there is no config.toml.
            BadConfig: the configuration breaks a rule.
            SchemaBehind: migrations have to be applied first.
            SchemaUnknown: the database is not one of this version.
        """
        path = path.resolve()
        if not is_deployment(path):
            raise DeploymentNotFound(path)
        settings = load_settings(path)
        plugins = load_plugins(settings.plugins.enabled)
        engine = open_database(path, settings)
        try:
            check_schema(engine, plugins, path)
            store = LocalStore.open(path / STORE_FOLDER)
        except BaseException:
            engine.dispose()
            raise
        return cls(path, settings, engine, store, plugins, watch_changes(engine))

    def __post_init__(self) -> None:
        self._writer = self.engine.execution_options(write=True)

    @contextmanager
    def transaction(self, *, write: bool = False) -> Iterator[Session]:
        """Open a session for one transaction: committed at the end, rolled back on an error.

        This is the only commit outside the migrations. Without ``write`` the session must
        not change anything. Write transactions of one thread must not nest.

        Raises:
            DatabaseUnavailable: the database is away, or busy for too long.
            StorageFull: the database's disk is full.
        """
        bind = self._writer if write else self.engine
        try:
            with Session(bind, expire_on_commit=False) as session:
                yield session
                if not write:
                    return
                session.flush()
                self.changes.announce(session)
                session.commit()
        except (OperationalError, InterfaceError, PoolTimeout) as error:
            raise _translated(error) from error
        self.changes.committed()
        if has_marked(session):
            for event in self.marked:
                event.set()

    def close(self) -> None:
        self.changes.close()
        self.store.close()
        self.engine.dispose()


def _translated(error: OperationalError | InterfaceError | PoolTimeout) -> Exception:
    if isinstance(error, PoolTimeout):
        return DatabaseUnavailable()
    text = str(error.orig)
    if "disk is full" in text or "No space left" in text:
        return StorageFull()
    if "no such" in text:  # a fault of ours, not of the database
        return error
    return DatabaseUnavailable()
