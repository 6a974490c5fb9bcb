"""All that one running server owns, opened once by the server, a worker, a command or a test."""

import json
import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from pydantic import SecretStr
from sqlalchemy import Connection, Engine
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from quetz.crashpoints import crashpoint
from quetz.db.changes import Changes, watch_changes
from quetz.db.engine import open_engine
from quetz.errors import (
    BadConfig,
    DatabaseUnavailable,
    DeploymentNotFound,
    PluginError,
    StorageFull,
)
from quetz.errors.backups import RestoreUnfinished
from quetz.errors.migrations import BackupFailed, BackupToolMissing, SchemaChanged
from quetz.migrations import is_in_use, upgrade
from quetz.migrations.backups import Backups
from quetz.migrations.gate import Gate
from quetz.migrations.locks import LOCK_SECONDS
from quetz.migrations.progress import Progress, Watch, silent
from quetz.migrations.runs import Outcome
from quetz.migrations.status import Status
from quetz.migrations.watching import SchemaWatch
from quetz.plugins import Plugins, check_usable, load_plugins
from quetz.plugins.leaving import leave_out
from quetz.services.bells import Bell
from quetz.services.events import has_recorded
from quetz.services.index_waits import IndexWaits
from quetz.services.publishing import marks_of
from quetz.services.tallies import Tallies
from quetz.settings import Settings, load_settings
from quetz.storage import ObjectStore
from quetz.storage.local import LocalStore

STORE_FOLDER = "store"
LOCK_FOLDER = "locks"
BELL = "changed"
RESTORING = "restoring.json"
"""In a deployment's folder while a backup is restored to it, and after that was broken off."""

RESTORED = "restored"
"""In a deployment's folder: when a backup was restored to it last, in Unix milliseconds."""

POSTGRESQL_DISK_FULL = "53100"
"""An SQLSTATE; the messages are in the language of the server."""

_WITHOUT_BACKUP = "quetz init-db --no-backup goes on without one"
BackupChoice = Literal["default", "none", "require"] | Path
"""Back up if there is a means to, not at all, surely, or surely and to another folder."""

_log = logging.getLogger("quetz.deployment")


def database_url(path: Path, settings: Settings, *, for_migrations: bool = False) -> URL:
    """Return the database's URL; a relative SQLite path is relative to the deployment.

    Raises:
        BadConfig: the URL is malformed, or names another database than SQLite or PostgreSQL.
    """
    url = _parsed("database_url", settings.sqlalchemy.database_url)
    if settings.sqlalchemy.migration_url is not None:
        direct = _parsed("migration_url", settings.sqlalchemy.migration_url)
        if "sqlite" in {url.drivername, direct.drivername}:
            raise BadConfig(
                "[sqlalchemy] migration_url leads past a pooler of PostgreSQL, so it and "
                "database_url have to be postgresql:// URLs; remove it"
            )
        return _whole("migration_url", direct) if for_migrations else _whole("database_url", url)
    if url.drivername != "sqlite":
        return _whole("database_url", url)
    if url.database in (None, "", ":memory:"):
        raise BadConfig("[sqlalchemy] database_url names no file; use sqlite:///quetz.sqlite")
    return url.set(database=str(path / str(url.database)))


def _whole(key: str, url: URL) -> URL:
    """Refuse a part of a password for a host: it would be named in errors."""
    if "@" in f"{url.host}{url.database}":
        raise BadConfig(f"[sqlalchemy] {key} has several @; write one of the password as %40")
    return url


def _parsed(key: str, secret: SecretStr) -> URL:
    try:
        url = make_url(secret.get_secret_value())
    except Exception:  # noqa: BLE001  whatever it is, its text may hold the password
        raise BadConfig(f"[sqlalchemy] {key} is not a database URL") from None
    backend = url.get_backend_name()
    if backend == "sqlite":
        if url.host or url.username or url.password:
            raise BadConfig(f"[sqlalchemy] {key} names a server; use sqlite:///quetz.sqlite")
        return url.set(drivername="sqlite")
    if backend == "postgresql":
        return url.set(drivername="postgresql+psycopg")
    raise BadConfig(f"[sqlalchemy] {key} names '{backend}'; use sqlite:/// or postgresql://")


def open_database(path: Path, settings: Settings, *, for_migrations: bool = False) -> Engine:
    """Open the engine of a deployment without looking at its schema.

    Raises:
        BadConfig: as ``database_url``.
    """
    return _open(database_url(path, settings, for_migrations=for_migrations), settings)


def _open(url: URL, settings: Settings, *, makes_file: bool = False) -> Engine:
    return open_engine(
        url,
        makes_file=makes_file,
        echo=settings.sqlalchemy.echo_sql,
        pool_size=settings.sqlalchemy.postgres_pool_size,
        max_overflow=settings.sqlalchemy.postgres_max_overflow,
    )


def backups_of(path: Path, settings: Settings) -> Backups:
    """Return the backups of the deployment in the folder ``path``."""
    return Backups(path / settings.migrations.backup_dir, settings.migrations.backups_kept)


def migrate(
    path: Path,
    settings: Settings,
    plugins: Plugins,
    *,
    to: str | None = None,
    lock_seconds: float = LOCK_SECONDS,
    backup: BackupChoice = "default",
    watch: Watch = silent,
    url: URL | None = None,
) -> Outcome:
    """Bring a deployment's database up to date, after a backup of what it holds.

    ``url`` is of a database that is not yet where the settings say.

    Raises:
        BadConfig: as ``database_url``.
        BackupToolMissing: there is no means to make the backup, which is not the default one.
        QuetzError: as ``upgrade``.
    """
    backups = backups_of(path, settings)
    if isinstance(backup, Path):
        backups = replace(backups, folder=backup)

    def take(connection: Connection, heads: Sequence[str]) -> Path | None:
        try:
            return backups.take(engine, connection, heads)
        except BackupFailed as error:
            if backup != "default" or not isinstance(error, BackupToolMissing):
                raise type(error)(error.reason, _WITHOUT_BACKUP) from error
            watch(Progress("warning", f"Going on without a backup: {error.reason}"))
            return None

    url = url or database_url(path, settings, for_migrations=True)
    engine = _open(url, settings, makes_file=True)
    try:
        outcome = upgrade(
            engine,
            plugins,
            to=to,
            lock_seconds=lock_seconds,
            backup=None if backup == "none" else take,
            watch=watch,
        )
    finally:
        engine.dispose()
        # After a failure too, which may come again and again; another folder is not ours.
        if backups.folder.is_dir() and not isinstance(backup, Path):
            _retire(backups, watch)
    return outcome


def _retire(backups: Backups, watch: Watch) -> None:
    try:
        backups.retire()
    except OSError as error:
        watch(Progress("warning", f"Old backups were not removed: {error}"))


def is_database_in_use(url: URL) -> bool:
    """Tell whether a database holds users, channels or objects; no SQLite file is made for it."""
    if url.get_backend_name() == "sqlite" and not Path(str(url.database)).exists():
        return False
    engine = open_engine(url, makes_file=False)
    try:
        return is_in_use(engine)
    finally:
        engine.dispose()


def is_deployment(path: Path) -> bool:
    return (path / "config.toml").is_file()


def check_restored(path: Path) -> None:
    """Raises RestoreUnfinished."""
    with suppress(FileNotFoundError):
        mark = json.loads((path / RESTORING).read_bytes() or b"{}")
        raise RestoreUnfinished(path, str(mark.get("backup", "DIR")))


@dataclass
class Deployment:
    """A deployment's settings, database, store and plugins, while a process uses them."""

    path: Path
    settings: Settings
    engine: Engine
    store: ObjectStore
    plugins: Plugins
    changes: Changes
    schema: SchemaWatch
    tallies: Tallies = field(default_factory=Tallies)
    waits: IndexWaits = field(default_factory=IndexWaits)
    sleepers: list[threading.Event] = field(default_factory=list)
    """Set after a commit that left index marks or events: what publishes or seals waits for it."""

    @classmethod
    def open(cls, path: Path, *, restoring: bool = False) -> "Deployment":
        """Open the deployment in the folder ``path``; ``restoring`` is for who restores it.

        Raises:
            DeploymentNotFound: there is no config.toml.
            RestoreUnfinished: a backup is being restored, or that was broken off.
            BadConfig: the configuration breaks a rule.
            PluginError: a plugin named in ``[plugins] enabled`` is broken.
            QuetzError: as ``Gate.enter``.
        """
        path = path.resolve()
        if not is_deployment(path):
            raise DeploymentNotFound(path)
        if not restoring:
            check_restored(path)
        settings = load_settings(path)
        plugins = load_plugins(settings.plugins.enabled)
        check_usable(plugins, settings.plugins.enabled)
        engine = open_database(path, settings)
        try:
            gate = Gate(engine, plugins, path, lambda: _migrate_at_start(path, settings, plugins))
            status = gate.enter(settings.sqlalchemy.on_mismatch)
            plugins = _without_unsound(plugins, status, settings.plugins.enabled)
        except BaseException:
            engine.dispose()
            raise
        return cls.on(path, settings, engine, plugins, status)

    @classmethod
    def on(
        cls, path: Path, settings: Settings, engine: Engine, plugins: Plugins, status: Status
    ) -> "Deployment":
        """Open a deployment on a database that was found to fit, in the state ``status``."""
        try:
            store = LocalStore.open(path / STORE_FOLDER)
        except BaseException:
            engine.dispose()
            raise
        schema = SchemaWatch(engine, status)
        return cls(path, settings, engine, store, plugins, watch_changes(engine), schema)

    def __post_init__(self) -> None:
        restored = self.path / RESTORED
        self.restored_at = int(restored.read_text()) if restored.is_file() else 0
        self.bell = Bell(self.path / LOCK_FOLDER / BELL)
        self._writer = self.engine.execution_options(write=True)
        self._reader = self.engine
        if self.engine.dialect.name == "postgresql":  # SQLite's readers see one state anyway
            self._reader = self.engine.execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            )

    @contextmanager
    def transaction(self, *, write: bool = False) -> Iterator[Session]:
        """Open a session for one transaction: committed at the end, rolled back on an error.

        This is the only commit outside the migrations. Without ``write`` the session sees one
        state of the database, and must not change anything. Write transactions of one thread
        must not nest.

        Raises:
            SchemaChanged: the database was migrated meanwhile, so it must not be written to.
            DatabaseUnavailable: the database is away, or busy for too long.
            StorageFull: the database's disk is full.
        """
        if write:
            self.check_writable()
        bind = self._writer if write else self._reader
        with database_failures(), Session(bind, expire_on_commit=False) as session:
            yield session
            if not write:
                return
            session.flush()
            self.changes.announce(session)
            crashpoint("transaction.committing")
            session.commit()
        crashpoint("transaction.committed")
        self.changes.committed()
        if marks_of(session) or has_recorded(session):
            self.wake()
            if not self.sleepers:
                self.bell.ring()

    def wake(self) -> None:
        """Wake what publishes and seals in this process."""
        for event in self.sleepers:
            event.set()

    def check_writable(self) -> None:
        """Raises SchemaChanged: the database was migrated while this process ran."""
        if self.schema.changed:
            raise SchemaChanged

    def close(self) -> None:
        self.changes.close()
        self.store.close()
        self.engine.dispose()


def _without_unsound(plugins: Plugins, status: Status, enabled: Sequence[str]) -> Plugins:
    """Leave out plugins whose migrations are unsound: their tables may be of any version.

    Raises:
        PluginError: one is enabled by name.
    """
    unsound = {
        owner.owner: PluginError(owner.owner, owner.reason)
        for owner in status.owners
        if owner.state == "broken" and owner.owner not in plugins.broken
    }
    check_usable(replace(plugins, broken=unsound), enabled)
    return leave_out(plugins, unsound) if unsound else plugins


def _migrate_at_start(path: Path, settings: Settings, plugins: Plugins) -> None:
    # As warnings: a server sets up its log later, and until then nothing less is shown.
    _log.warning("the database of '%s' lacks migrations, which are applied now", path)
    outcome = migrate(path, settings, plugins, watch=lambda told: _log.warning(told.sentence))
    _log.warning("%d migrations were applied in %.1f s", len(outcome.applied), outcome.seconds)


@contextmanager
def database_failures() -> Iterator[None]:
    """Translate what the database's driver reports.

    Raises:
        DatabaseUnavailable: the database is away, or busy for too long.
        StorageFull: its disk is full.
    """
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeout) as error:
        raise _translated(error) from error


def _translated(error: OperationalError | InterfaceError | PoolTimeout) -> Exception:
    if isinstance(error, PoolTimeout):
        return DatabaseUnavailable()
    text = str(error.orig)
    if "disk is full" in text or getattr(error.orig, "sqlstate", None) == POSTGRESQL_DISK_FULL:
        return StorageFull()
    if "no such" in text:  # a fault of ours, not of the database
        return error
    return DatabaseUnavailable()
