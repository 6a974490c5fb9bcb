"""Make a deployment so that a failure leaves nothing behind.

Everything is built in a folder inside the target, so that it is on the same file system, and
moved into place at the end.
"""

import os
import re
import signal
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import URL

from quetz.cli.dev_users import add_dev_users
from quetz.cli.locks import changing
from quetz.cli.removal import WORK_PREFIX, check_removable, is_complete, remove, sqlite_file
from quetz.cli.user_roles import give_roles
from quetz.crashpoints import crashpoint
from quetz.db.changes import watch_changes
from quetz.db.engine import open_engine
from quetz.deployment import STORE_FOLDER, Deployment, database_url, is_database_in_use, migrate
from quetz.errors import BadConfig, BadOption, DeploymentExists
from quetz.migrations.locks import LOCK_SUFFIX
from quetz.migrations.status import Status
from quetz.migrations.watching import SchemaWatch
from quetz.plugins import check_usable, load_plugins
from quetz.settings import CONFIG_FILE, Settings, load_settings
from quetz.storage.folders import sync, write_private
from quetz.storage.local import LocalStore

_NEW_CONFIG = """\
# Settings of this deployment; docs/reference/settings.md explains them all.

[general]
dev = {dev}

[sqlalchemy]
database_url = "sqlite:///quetz.sqlite"  # relative to this folder

[session]
https_only = {https_only}
"""


@dataclass(frozen=True)
class Creation:
    """A deployment to make in ``path``; ``replace`` takes the place of one that exists."""

    path: Path
    copy_conf: Path | None = None
    create_conf: bool = False
    replace: bool = False
    dev: bool = False

    def run(self) -> str | None:
        """Make the deployment; return the API key of alice if it is for development.

        Raises:
            BadOption: options contradict each other, or the folder.
            BadConfig: the configuration breaks a rule.
            DeploymentExists: the folder holds a deployment, or other things; or the database is
                in use.
            NotDeletable: the folder to replace holds other things, too.
            DeploymentBusy: somebody else is at work in the folder.
        """
        self._check_options()
        self._check_folder()
        with _ended_by_sigterm(), made_folder(self.path) as path, changing(path):
            self._check_folder()  # again: another command may have been quicker
            _remove_remains(path)
            source, text = self._config()
            with _work_folder(path) as work:
                return self._make(path, work, source, text)

    def _make(self, path: Path, work: Path, source: Path, text: str) -> str | None:
        new, old = work / "new", work / "old"
        new.mkdir()
        old.mkdir()
        write_private(new / CONFIG_FILE, text.encode())
        try:
            settings = load_settings(new)
            url = self._database(path, new, settings)
        except BadConfig as error:
            raise BadConfig(str(error).replace(str(new / CONFIG_FILE), str(source))) from None
        with _new_database(url):
            key = _build(new, settings, url, dev=self.dev)
            crashpoint("create.built")
            _put_in_place(path, work, replace=self.replace)
        return key

    def _database(self, path: Path, new: Path, settings: Settings) -> URL:
        """Return where to build the database; a file in the deployment is moved there later."""
        url = database_url(path, settings)
        file = sqlite_file(url)
        if file is not None and file.is_relative_to(path):
            return url.set(database=str(new / file.relative_to(path)))
        if is_database_in_use(url):
            raise DeploymentExists(
                self.path,
                "names a database in [sqlalchemy] database_url that holds users or channels "
                "already; choose an empty one",
            )
        return url

    def _check_options(self) -> None:
        if self.copy_conf and self.create_conf:
            raise BadOption("--copy-conf and --create-conf contradict each other; choose one")
        if self.replace and not (self.copy_conf or self.create_conf):
            raise BadOption("--delete replaces config.toml too; add --create-conf or --copy-conf")

    def _check_folder(self) -> None:
        if not os.path.lexists(self.path):
            return
        if not self.path.is_dir():
            raise DeploymentExists(self.path, "is not a folder; choose another path")
        if is_complete(self.path):
            if self.replace:
                check_removable(self.path)
                return
            raise DeploymentExists(
                self.path,
                "is a deployment already; leave it alone with --exists-ok "
                "(of quetz run: --skip-if-exists), or replace it with --delete",
            )
        names = sorted(entry.name for entry in self.path.iterdir() if entry.name != CONFIG_FILE)
        others = [name for name in names if not name.startswith(WORK_PREFIX)]
        if others:
            raise DeploymentExists(
                self.path, f"holds '{others[0]}', which is not of a deployment; choose another path"
            )
        if (self.path / CONFIG_FILE).exists() and (self.copy_conf or self.create_conf):
            raise DeploymentExists(
                self.path, "has a config.toml already; leave out --copy-conf and --create-conf"
            )

    def _config(self) -> tuple[Path, str]:
        """Return the file that a bad setting is in, and the text of the configuration."""
        own = self.path / CONFIG_FILE
        if self.copy_conf:
            text = _read_text(self.copy_conf)
            return self.copy_conf, self._with_dev(self.copy_conf, text)
        if own.exists() and not self.replace:
            text = _read_text(own)
            if self._with_dev(own, text) != text:
                raise BadConfig(f"'{own}': --dev needs [general] dev = true; add it")
            return own, text
        dev = "true" if self.dev else "false"
        https_only = "false" if self.dev else "true"
        return own, _NEW_CONFIG.format(dev=dev, https_only=https_only)

    def _with_dev(self, source: Path, text: str) -> str:
        if not self.dev:
            return text
        try:
            general = tomllib.loads(text).get("general", {})
        except tomllib.TOMLDecodeError:
            return text  # load_settings says what is wrong
        if "dev" in general:
            if general["dev"] is not True:
                raise BadConfig(f"'{source}': --dev contradicts [general] dev; leave one out")
            return text
        header = re.compile(r"^[ \t]*\[[ \t]*general[ \t]*\].*$", re.MULTILINE)
        if header.search(text):
            return header.sub(lambda match: f"{match[0]}\ndev = true", text, count=1)
        return f"{text.rstrip()}\n\n[general]\ndev = true\n"


def _build(new: Path, settings: Settings, url: URL, *, dev: bool) -> str | None:
    """Make the database and the store; for development the users too, and a key of alice.

    Users get the roles that the settings list for them.
    """
    plugins = load_plugins(settings.plugins.enabled)
    check_usable(plugins, settings.plugins.enabled)
    file = sqlite_file(url)
    place = None if file is None else url
    outcome = migrate(new, settings, plugins, backup="none", url=place)
    if file is not None and file.is_relative_to(new.resolve()):
        file.with_name(file.name + LOCK_SUFFIX).unlink()  # nobody else knows this folder
    engine = open_engine(url)
    try:
        store = LocalStore.create(new / STORE_FOLDER)
    except BaseException:
        engine.dispose()
        raise
    changes = watch_changes(engine)
    schema = SchemaWatch(engine, Status("current", heads=tuple(outcome.heads)))
    with closing(Deployment(new, settings, engine, store, plugins, changes, schema)) as deployment:
        key = add_dev_users(deployment) if dev else None
        give_roles(deployment)
        return key


class _Terminated(BaseException):
    """SIGTERM came. Not SystemExit: that one is taken for a fault of the plugin whose code runs."""


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM take away what is half done, as Ctrl-C does."""

    def end(_signal: int, _frame: object) -> None:
        raise _Terminated

    former = signal.signal(signal.SIGTERM, end)
    try:
        yield
    except _Terminated:
        raise SystemExit(128 + signal.SIGTERM) from None
    finally:
        signal.signal(signal.SIGTERM, former)


@contextmanager
def made_folder(path: Path) -> Iterator[Path]:
    """Make the folder and its parents, and remove those that were missing after a failure."""
    path = path.resolve()
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    made: list[Path] = []
    try:
        for folder in reversed(missing):
            with suppress(FileExistsError):  # that of somebody else is not ours to remove
                folder.mkdir()
                made.append(folder)
                sync(folder.parent)
        yield path
    except BaseException:
        for folder in reversed(made):
            with suppress(OSError):  # somebody else put something there
                folder.rmdir()
        raise


@contextmanager
def _work_folder(path: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=path, prefix=WORK_PREFIX) as work:
        yield Path(work)


def _remove_remains(path: Path) -> None:
    """Remove the work folders of commands that were killed."""
    for entry in path.glob(f"{WORK_PREFIX}*"):
        remove(entry)


@contextmanager
def _new_database(url: URL) -> Iterator[None]:
    """Make room for an SQLite file, and remove it after a failure unless it was there before."""
    file = Path(url.database or "") if url.get_backend_name() == "sqlite" else None
    existed = file is None or file.exists()
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        if file is not None and not existed:
            for suffix in ("", "-wal", "-shm", LOCK_SUFFIX):
                file.with_name(file.name + suffix).unlink(missing_ok=True)
        raise


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise BadConfig(f"'{path}' is not UTF-8 text") from None


def _put_in_place(path: Path, work: Path, *, replace: bool) -> None:
    """Move what is new up to ``path``, the store last: with it the deployment is complete.

    What is there is moved to ``work`` before, or, after a failure, back.
    """
    new, old = work / "new", work / "old"
    with ExitStack() as undo:
        if replace:
            for entry in path.iterdir():
                if entry != work:
                    _move(entry, old / entry.name, undo)
        elif (path / CONFIG_FILE).exists():
            (new / CONFIG_FILE).unlink()  # it was made of the one that stays
        for entry in sorted(new.iterdir(), key=lambda entry: entry.name == STORE_FOLDER):
            if os.path.lexists(path / entry.name):
                raise DeploymentExists(path, f"got a '{entry.name}' meanwhile; try again")
            _move(entry, path / entry.name, undo)
            crashpoint("create.moved")
        sync(path)  # what is uploaded now must not be lost for the name of its database
        undo.pop_all()


def _move(source: Path, target: Path, undo: ExitStack) -> None:
    def move_back() -> None:
        if os.path.lexists(target):
            target.rename(source)

    undo.callback(move_back)
    source.rename(target)
