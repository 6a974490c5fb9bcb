"""Make a deployment so that a failure leaves nothing behind.

Everything is built in a folder inside the target, so that it is on the same file system, and
moved into place at the end.
"""

import os
import re
import secrets
import shutil
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import URL

from quetz.cli.dev_users import add_dev_users
from quetz.deployment import STORE_FOLDER, Deployment, database_url, open_database
from quetz.errors import BadConfig, BadOption, DeploymentExists
from quetz.migrations import upgrade
from quetz.plugins import load_plugins
from quetz.settings import CONFIG_FILE, load_settings
from quetz.storage.local import LocalStore

_NEW_CONFIG = """\
# Settings of this deployment; docs/reference/settings.md explains them all.

[general]
dev = {dev}

[sqlalchemy]
database_url = "sqlite:///quetz.sqlite"  # relative to this folder

[session]
secret = "{secret}"
https_only = {https_only}
"""


def is_complete(path: Path) -> bool:
    """A folder with nothing but a config.toml is still to be made a deployment."""
    return (path / CONFIG_FILE).is_file() and (path / STORE_FOLDER).is_dir()


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
            DeploymentExists: the folder holds a deployment, or other things.
        """
        self._check_options()
        self._check_folder()
        source, text = self._config()
        with _made_folder(self.path) as path, _work_folder(path) as work:
            _write_private(work / CONFIG_FILE, text)
            try:
                url = database_url(work, load_settings(work))
            except BadConfig as error:
                raise BadConfig(str(error).replace(str(work / CONFIG_FILE), str(source))) from None
            with _new_database(url):
                key = _build(work, dev=self.dev)
                if self.replace:
                    _empty(path, keep=work)
                _move_up(work, path)
        return key

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
                return
            raise DeploymentExists(
                self.path,
                "is a deployment already; leave it alone with --exists-ok "
                "(of quetz run: --skip-if-exists), or replace it with --delete",
            )
        others = sorted(entry.name for entry in self.path.iterdir() if entry.name != CONFIG_FILE)
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
        secret = secrets.token_hex(32)
        return own, _NEW_CONFIG.format(dev=dev, https_only=https_only, secret=secret)

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


def _build(work: Path, *, dev: bool) -> str | None:
    """Make the database and the store; for development the users too, and a key of alice."""
    settings = load_settings(work)
    engine = open_database(work, settings)
    try:
        upgrade(engine, load_plugins(settings.plugins.enabled))
    finally:
        engine.dispose()
    LocalStore.create(work / STORE_FOLDER).close()
    with closing(Deployment.open(work)) as deployment:
        return add_dev_users(deployment) if dev else None


@contextmanager
def _made_folder(path: Path) -> Iterator[Path]:
    """Make the folder and its parents, and remove those that were missing after a failure."""
    path = path.resolve()
    made = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    try:
        yield path
    except BaseException:
        for folder in made:
            with suppress(OSError):  # somebody else put something there
                folder.rmdir()
        raise


@contextmanager
def _work_folder(path: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=path, prefix=".quetz-create-") as work:
        yield Path(work)


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
            for suffix in ("", "-wal", "-shm"):
                file.with_name(file.name + suffix).unlink(missing_ok=True)
        raise


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise BadConfig(f"'{path}' is not UTF-8 text") from None


def _write_private(path: Path, text: str) -> None:
    """Write a file that holds secrets: only its owner may read it."""
    with os.fdopen(
        os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
    ) as file:
        file.write(text)


def _empty(path: Path, *, keep: Path) -> None:
    for entry in path.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            if entry != keep:
                shutil.rmtree(entry)
        else:
            entry.unlink()


def _move_up(work: Path, path: Path) -> None:
    """Move all that is new to ``path``, the store last: with it the deployment is complete."""
    moved: list[Path] = []
    try:
        for entry in sorted(work.iterdir(), key=lambda entry: entry.name == STORE_FOLDER):
            target = path / entry.name
            if not target.exists():  # or it is the config.toml that was there before
                moved.append(entry.rename(target))
    except OSError:
        for target in moved:
            target.rename(work / target.name)
        raise
