"""Remove a deployment, and nothing else that its folder may hold."""

import re
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy.engine import URL

from quetz.deployment import (
    LOCK_FOLDER,
    RESTORED,
    RESTORING,
    STORE_FOLDER,
    backups_of,
    database_url,
)
from quetz.errors import NotDeletable
from quetz.migrations.locks import LOCK_SUFFIX
from quetz.settings import CONFIG_FILE, load_settings
from quetz.storage.local import INDEX, OBJECTS, STAGING

_BACKUP = re.compile(r"\d{8}T\d{12}Z-")

WORK_PREFIX = ".quetz-create-"
"""Of the folder in which a deployment is made; it is left if the power fails."""


def is_complete(path: Path) -> bool:
    """Tell a deployment from a folder that only has a ``config.toml``, ours or of another."""
    store = path / STORE_FOLDER
    return (path / CONFIG_FILE).is_file() and all(
        (store / name).is_dir() for name in (OBJECTS, INDEX, STAGING)
    )


def sqlite_file(url: URL) -> Path | None:
    """Return the file of an SQLite database, which may be a link, in a folder without links."""
    if url.get_backend_name() != "sqlite":
        return None
    file = Path(str(url.database))
    return file.parent.resolve() / file.name


def check_removable(path: Path) -> None:
    """Return if the folder is a deployment with nothing else in it.

    Raises:
        NotDeletable: it is not.
        BadConfig: the configuration does not tell what the deployment's files are.
    """
    if not is_complete(path):
        raise NotDeletable(
            path,
            "has a config.toml but no package store, so it may be something else; "
            "delete it by hand",
        )
    for other in _others(path.resolve(), set(_own(path.resolve()))):
        raise NotDeletable(
            path,
            f"holds '{other.relative_to(path.resolve())}', which is not of the deployment; "
            "move it away, or delete the folder by hand",
        )


def remove_deployment(path: Path) -> None:
    """Remove the folder; one whose removal failed is still a deployment, to be removed again."""
    store, config = path / STORE_FOLDER, path / CONFIG_FILE
    if not store.is_symlink():
        for folder in store.iterdir():
            if not folder.is_symlink() and folder.is_dir():
                _remove_below(folder)
    for entry in path.iterdir():
        if entry not in (store, config):
            remove(entry)
    remove(store)
    remove(config)
    path.rmdir()


def remove(entry: Path) -> None:
    """Remove a file, a link, or a folder with all it holds; an error names the whole path."""
    if entry.is_symlink() or not entry.is_dir():
        entry.unlink()
    else:
        _remove_below(entry)
        entry.rmdir()


def _remove_below(folder: Path) -> None:
    for entry in folder.iterdir():
        remove(entry)


def _own(path: Path) -> Iterator[Path]:
    settings = load_settings(path)
    for name in (CONFIG_FILE, STORE_FOLDER, LOCK_FOLDER, RESTORING, RESTORED):
        yield path / name
    if settings.logging.file:
        log = path / settings.logging.file
        yield log.parent.resolve() / log.name
    if file := sqlite_file(database_url(path, settings)):
        for suffix in ("", "-wal", "-shm", "-journal", LOCK_SUFFIX):
            yield file.with_name(file.name + suffix)
    yield from _own_backups(backups_of(path, settings).folder)


def _own_backups(folder: Path) -> Iterator[Path]:
    """Yield the backups, finished or not; somebody may keep other things beside them."""
    folder = folder.parent.resolve() / folder.name
    if folder.is_symlink():
        yield folder
        return
    yield folder / ".lock"
    if folder.is_dir():
        yield from (entry for entry in folder.iterdir() if _BACKUP.match(entry.name))


def _others(folder: Path, own: set[Path]) -> Iterator[Path]:
    """Yield what is neither ours nor leads to what is."""
    for entry in sorted(folder.iterdir()):
        if entry in own or entry.name.startswith(WORK_PREFIX):
            continue
        if entry.is_dir() and any(file.is_relative_to(entry) for file in own):
            yield from _others(entry, own)
        else:
            yield entry
