"""Copies SQLite databases that are in use, by SQLite's own backup."""

import os
import re
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from sqlalchemy import Engine

from quetz.crashpoints import crashpoint
from quetz.db.engine import sqlite_uri
from quetz.errors.migrations import BackupFailed
from quetz.migrations.positions import file_of
from quetz.storage.folders import sync

SUFFIX = ".sqlite"

_PAGES = 2048
_BUSY_SECONDS = 30
_LOGS = ("-wal", "-shm", "-journal")
_UNKNOWN = re.compile(
    r"no such collation sequence: (?P<collation>.+)"
    r"|(?:no such|unknown) function: (?P<function>[^(]+)"
)
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def name_of(engine: Engine) -> str:
    return str(_file(engine))


def needed_bytes(engine: Engine) -> int:
    """Raises FileNotFoundError: the database is missing."""
    file = _file(engine)
    log = _beside(file, "-wal")
    return file.stat().st_size + (log.stat().st_size if log.exists() else 0)


def copy(engine: Engine, target: Path) -> dict[str, int]:
    """Copy what is committed, check the copy, and return its rows per table.

    Reads on a connection of its own: whoever holds the write lock keeps it.
    """
    target.touch(mode=0o600, exist_ok=False)
    with closing(_open(_file(engine), "ro")) as source, closing(sqlite3.connect(target)) as copied:
        # A crash leaves nothing to recover: the next backup removes a part.
        copied.execute("PRAGMA journal_mode=OFF")
        copied.execute("PRAGMA synchronous=OFF")
        source.execute("BEGIN")  # one state, however many steps the copy takes
        source.execute("SELECT count(*) FROM sqlite_master").fetchone()
        _transfer(source, copied, lambda: crashpoint("backup.copying"))
        copied.execute("PRAGMA journal_mode=DELETE")  # one file, without a log beside it
        _check(copied)
        return _rows(copied)


def verify(file: Path) -> None:
    """Raises sqlite3.Error: the file is damaged."""
    with closing(_open_unchanging(file)) as connection:
        _check(connection)


def restore(engine: Engine, file: Path, _rows: Mapping[str, int]) -> None:
    """Write a backup into a database that may be in use: all of it, or nothing."""
    database = _file(engine)
    with (
        closing(_open(database, "rw")) as live,
        _with_pages(file, _page_size(live), _beside(database, ".restoring")) as fitting,
        closing(_open_unchanging(fitting)) as source,
    ):
        _transfer(source, live, lambda: crashpoint("restore.copying"))
        live.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        _check(live)
    sync(database)


def is_lost(engine: Engine) -> bool:
    """Tell whether the database is missing, damaged, or none; not whether it is busy.

    Raises:
        sqlite3.Error: that cannot be told.
    """
    try:
        # Who may write would clear the log away, of which a damaged database may need all.
        with closing(_open(_file(engine), "ro")) as connection:
            _check(connection)
    except sqlite3.Error as error:
        return not _file(engine).exists() or _is_damage(error)
    return False


def replace_lost(engine: Engine, file: Path, aside: Path) -> Path | None:
    """Put a backup in the place of a lost database, and return the copy of what was there."""
    database = _file(engine)
    part = _beside(database, ".restoring")
    part.unlink(missing_ok=True)
    part.touch(mode=0o600)
    kept = _keep_broken(database, aside)
    if kept is not None:
        shutil.copymode(database, part)
        with suppress(PermissionError):
            os.chown(part, database.stat().st_uid, database.stat().st_gid)
    shutil.copyfile(file, part)
    sync(part)
    crashpoint("restore.copied")
    engine.dispose()
    for suffix in _LOGS:  # they would be taken for those of the new file
        _beside(database, suffix).unlink(missing_ok=True)
    part.replace(database)
    sync(database.parent)
    return kept


def _keep_broken(database: Path, aside: Path) -> Path | None:
    if not database.exists():
        return None
    for suffix in ("", *_LOGS):
        if (origin := _beside(database, suffix)).exists():
            target = _beside(aside, suffix)
            target.touch(mode=0o600)
            shutil.copyfile(origin, target)
            sync(target)
    sync(aside.parent)
    return aside


def _transfer(
    source: sqlite3.Connection, target: sqlite3.Connection, step: Callable[[], None]
) -> None:
    """Copy all pages in one transaction; Python itself would wait for ever for a lock."""
    free = time.monotonic()

    def look(status: int, _remaining: int, _total: int) -> None:
        nonlocal free
        step()
        if status not in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
            free = time.monotonic()
        elif time.monotonic() > free + _BUSY_SECONDS:
            raise sqlite3.OperationalError("the database is locked")

    source.backup(target, pages=_PAGES, progress=look)


@contextmanager
def _with_pages(file: Path, size: int, part: Path) -> Iterator[Path]:
    """Give a backup with pages of ``size`` bytes: a database with a log cannot take others."""
    with closing(_open_unchanging(file)) as connection:
        is_fitting = _page_size(connection) == size
    if is_fitting:
        yield file
        return
    part.unlink(missing_ok=True)
    part.touch(mode=0o600)
    try:
        shutil.copyfile(file, part)
        with closing(_open(part, "rw")) as connection:
            connection.execute(f"PRAGMA page_size={size}")
            connection.execute("VACUUM")
        yield part
    finally:
        part.unlink()


def _page_size(connection: sqlite3.Connection) -> int:
    size: int = connection.execute("PRAGMA page_size").fetchone()[0]
    return size


def _check(connection: sqlite3.Connection) -> None:
    (answer,) = _execute(connection, "PRAGMA quick_check(1)").fetchone()
    if answer != "ok":
        raise sqlite3.DatabaseError(answer)


def _execute(connection: sqlite3.Connection, statement: str) -> sqlite3.Cursor:
    """Run a statement though the tables use what only another program defines."""
    while True:
        try:
            return connection.execute(statement)
        except sqlite3.OperationalError as error:
            unknown = _UNKNOWN.match(str(error))
            if unknown is None:
                raise
            if unknown["collation"]:
                connection.create_collation(unknown["collation"], _compare)
            else:
                connection.create_function(unknown["function"], -1, _answer, deterministic=True)


def _compare(one: str, other: str) -> int:
    return (one > other) - (one < other)


def _answer(*_values: object) -> None:
    """Be a function that is only named: a quick check reads what it made, and a null passes."""


def _is_damage(error: sqlite3.Error) -> bool:
    """Tell damage from a lock, a right or a disk; what ``_check`` raises has no code."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
    return code in _DAMAGE or str(error) == "unsupported file format"


def _file(engine: Engine) -> Path:
    file = file_of(engine)
    if file is None:
        raise BackupFailed("the database is in memory")
    return file.resolve()  # the log of SQLite is beside the file that a link leads to


def _beside(file: Path, suffix: str) -> Path:
    return file.with_name(file.name + suffix)


def _open(file: Path, mode: str) -> sqlite3.Connection:
    """Open a file that exists."""
    return sqlite3.connect(sqlite_uri(file, mode), uri=True, timeout=_BUSY_SECONDS)


def _open_unchanging(file: Path) -> sqlite3.Connection:
    return _open(file, "ro&immutable=1")


def _rows(connection: sqlite3.Connection) -> dict[str, int]:
    query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    names = [name for (name,) in connection.execute(query)]
    count = 'SELECT count(*) FROM "{}"'
    return {
        name: _execute(connection, count.format(name.replace('"', '""'))).fetchone()[0]
        for name in names
    }
