"""Restoring a deployment from a backup of it, in a new folder or over what is there.

The bytes of packages come first, then the database in one step, then what follows from it. A mark
in the folder says that this is under way: until it is gone nothing else uses the deployment, and
the same restore finishes what a crash broke off. No object is removed; one with wrong bytes is
replaced.
"""

import hashlib
import re
from collections.abc import Callable, Collection
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

import quetz
from quetz.crashpoints import crashpoint
from quetz.db.base import now_ms
from quetz.deployment import (
    RESTORED,
    RESTORING,
    STORE_FOLDER,
    Deployment,
    backups_of,
    database_url,
    is_database_in_use,
    is_deployment,
    migrate,
    open_database,
)
from quetz.errors import BadOption
from quetz.errors.backups import NotRestorable
from quetz.errors.migrations import BackupUnsound
from quetz.migrations.backups import Backups
from quetz.migrations.locks import alone
from quetz.migrations.progress import Watch, silent
from quetz.migrations.trees import load_tree
from quetz.plugins import check_usable, load_plugins
from quetz.services.restores import begin_epoch
from quetz.settings import CONFIG_FILE, Settings, load_settings
from quetz.storage import ObjectStore, StagedFile
from quetz.storage.folders import sync, write_private
from quetz.storage.keys import object_key, parse_index_key
from quetz.storage.local import LocalStore
from quetz.worker.backup_folders import State, reading

_AT_ONCE = 200
_PIECE = 1 << 20
_URL = re.compile(r"^([ \t]*database_url[ \t]*=).*$", re.MULTILINE)
_SECTION = re.compile(r"^[ \t]*\[[ \t]*sqlalchemy[ \t]*\].*$", re.MULTILINE)


@dataclass(frozen=True)
class Report:
    """``former`` is a copy of what the database held before; None if there was none."""

    copied: int
    kept: int
    former: Path | None


@dataclass(frozen=True)
class Restore:
    """A restore of ``state`` to the deployment's folder ``path``, of which nobody else makes use.

    ``database`` is a URL that takes the place of that in the configuration of the backup.
    """

    state: State
    path: Path
    database: str | None = None

    def run(self, watch: Callable[[int, int], None], told: Watch = silent) -> Report:
        """Make the deployment what the backup is.

        Raises:
            BackupRunning: another command writes to the folder of backups.
            BackupUnsound: a file of the backup is damaged.
            NotRestorable: the folder or the database holds other things.
            RestoreFailed: the database could not be replaced.
            QuetzError: as ``load_settings``, ``load_plugins`` and ``migrate``.
        """
        with reading(self.state.folder.parent):
            return self._run(watch, told)

    def _run(self, watch: Callable[[int, int], None], told: Watch) -> Report:
        self.state.check()
        database = Backups(self.state.folder).verify(self.state.database)
        self._begin(database.heads)
        if not is_deployment(self.path):
            _write_anew(self.path / CONFIG_FILE, self._config())
        settings = load_settings(self.path)
        plugins = load_plugins(settings.plugins.enabled)
        check_usable(plugins, settings.plugins.enabled)
        with closing(LocalStore.create(self.path / STORE_FOLDER)) as store:
            copied, kept = _bring_objects(self.state, store, watch)
        crashpoint("restoring.objects")
        engine = open_database(self.path, settings, for_migrations=True)
        try:
            lock = alone(engine, watch=told)
            former = backups_of(self.path, settings).restore(engine, database, lock)
        finally:
            engine.dispose()
        crashpoint("restoring.database")
        migrate(self.path, settings, plugins, backup="none", watch=told)
        crashpoint("restoring.migrated")
        with closing(Deployment.open(self.path, restoring=True)) as deployment:
            with deployment.transaction(write=True) as session:
                begin_epoch(session, self.state.name)
            crashpoint("restoring.begun")
            _remove_indexes(deployment.store)
        # A second later: dates that clients were told have no more than seconds.
        _write_anew(self.path / RESTORED, str(now_ms() + 1000))
        (self.path / RESTORING).unlink()
        sync(self.path)
        return Report(copied, kept, former)

    def _begin(self, heads: Collection[str]) -> None:
        """Look whether all is well, and leave the mark; before it nothing is changed.

        A restore that goes on may be another one than was begun, or lack an option that it had.
        """
        if is_deployment(self.path):
            settings = load_settings(self.path)
            named = settings.sqlalchemy.database_url.get_secret_value()
            if self.database not in {None, named}:
                raise BadOption(
                    f"'{self.path}' names another database in config.toml; leave out --database-url"
                )
        else:
            self._check_folder()
            settings = self._check_database()
        self._check_heads(heads, settings)
        mark = msgspec.json.encode({"backup": str(self.state.folder)}).decode()
        _write_anew(self.path / RESTORING, mark)
        crashpoint("restoring.marked")

    def _check_heads(self, heads: Collection[str], settings: Settings) -> None:
        made_by = self.state.manifest.app_version
        unknown = set(heads) - load_tree(load_plugins(settings.plugins.enabled), []).owners.keys()
        # With the same version they are of plugins that are gone, which is no reason to refuse.
        if unknown and made_by != quetz.__version__:
            raise NotRestorable(
                self.path,
                f"the backup was made by quetz {made_by}, and this is {quetz.__version__}, which "
                f"does not know its migrations {', '.join(sorted(unknown))}; install that version "
                "or a newer one, and its plugins",
            )

    def _check_folder(self) -> None:
        if self.path.is_relative_to(self.state.folder.parent):
            raise NotRestorable(self.path, "it lies in the folder of backups; choose another one")
        names = {entry.name for entry in self.path.iterdir()}
        if RESTORING not in names and names:
            raise NotRestorable(
                self.path,
                f"it is no deployment, and holds '{min(names)}'; choose an empty or a new folder",
            )

    def _config(self) -> str:
        text = self.state.config.read_text(encoding="utf-8")
        if self.database is None:
            return text
        line = f"database_url = {msgspec.json.encode(self.database).decode()}"  # a TOML string, too
        if _URL.search(text):
            return _URL.sub(lambda _: line, text, count=1)
        if _SECTION.search(text):
            return _SECTION.sub(lambda match: f"{match[0]}\n{line}", text, count=1)
        return f"{text.rstrip()}\n\n[sqlalchemy]\n{line}\n"

    def _check_database(self) -> Settings:
        """The configuration may name the database that is in use where the backup was made."""
        with TemporaryDirectory() as trial:
            write_private(Path(trial) / CONFIG_FILE, self._config().encode())
            settings = load_settings(Path(trial))
        if self.database not in {None, settings.sqlalchemy.database_url.get_secret_value()}:
            raise NotRestorable(
                self.path,
                "the config.toml of the backup has no line database_url in [sqlalchemy] that "
                "--database-url could replace",
            )
        if is_database_in_use(database_url(self.path, settings)):
            raise NotRestorable(
                self.path,
                "the database that the config.toml of the backup names holds users or channels; "
                "name an empty one by --database-url",
            )
        return settings


def _write_anew(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}")
    part.unlink(missing_ok=True)
    write_private(part, text.encode())
    part.rename(path)
    sync(path.parent)


def _bring_objects(
    state: State, store: ObjectStore, watch: Callable[[int, int], None]
) -> tuple[int, int]:
    """Let the store have each object of the state; return how many it lacked and had."""
    objects = state.read_objects()
    copied = kept = 0
    while some := list(islice(objects, _AT_ONCE)):
        lacking = [(sha256, size) for sha256, size in some if not _is_sound(store, sha256, size)]
        kept += len(some) - len(lacking)
        if lacking:
            store.put_many([_stage(state, store, sha256) for sha256, _ in lacking])
            copied += len(lacking)
        watch(copied + kept, state.manifest.objects)
        crashpoint("restoring.copying")
    return copied, kept


def _is_sound(store: ObjectStore, sha256: str, size: int) -> bool:
    """Say whether the store has an object, and the bytes are those that its name says."""
    key = object_key(sha256)
    if store.size(key) != size:
        return False
    with store.open_file(key) as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == sha256  # type: ignore[arg-type]


def _stage(state: State, store: ObjectStore, sha256: str) -> StagedFile:
    path = state.object_path(sha256)
    try:
        with store.stage() as stage, path.open("rb") as file:
            while piece := file.read(_PIECE):
                stage.write(piece)
            if stage.sha256 != sha256:
                raise BackupUnsound(path, "it is damaged")
            return stage.leave()
    except FileNotFoundError:
        raise BackupUnsound(path, "it is missing") from None


def _remove_indexes(store: ObjectStore) -> None:
    for key in list(store.list_index()):
        store.delete_index(parse_index_key(key))
