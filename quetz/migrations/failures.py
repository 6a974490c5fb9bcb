"""Says why a migration failed, and where; and that a database cannot be reached."""

import traceback
from collections.abc import Iterable
from pathlib import Path

from psycopg import Error as DriverError
from sqlalchemy.exc import OperationalError

from quetz.errors import DatabaseUnreachable
from quetz.migrations.schemas.integrity import TEMPORARY


class Unsound(Exception):
    """The work of migrations is not to be committed."""


def reason_of(error: BaseException, folders: Iterable[Path] = ()) -> str:
    """Return what was raised, after file and line if those are of a revision in ``folders``."""
    return f"{_place_of(error, folders)}{_said_by(error)}"


def unreachable(error: BaseException) -> DatabaseUnreachable | None:
    """Return what to tell of an error of SQLAlchemy's, if PostgreSQL gave no connection."""
    driver_error = getattr(error, "orig", None)
    if not isinstance(error, OperationalError) or error.statement is not None:
        return None
    if not isinstance(driver_error, DriverError) or driver_error.sqlstate is not None:
        return None
    lines = [line.strip().removeprefix("- ") for line in str(driver_error).splitlines()]
    # The last line of libpq asks whether the server is running; so do we, in one sentence.
    told = [line for line in lines if line and not line.endswith("?")]
    return DatabaseUnreachable("; ".join(told).replace(":; ", ": "))


def _said_by(error: BaseException) -> str:
    kind = type(error)
    if isinstance(error, SystemExit):
        return f"SystemExit: {error}"
    said = " ".join(str(getattr(error, "orig", None) or error).split())
    if hasattr(error, "orig"):
        return said.replace(TEMPORARY, "")  # SQLite names the copy of a table
    if said and kind.__module__.startswith("quetz."):
        return said
    return f"{kind.__name__}: {said}" if said else kind.__name__


def _place_of(error: BaseException, folders: Iterable[Path]) -> str:
    known = {folder.absolute() for folder in folders}
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if Path(frame.filename).absolute().parent in known:
            return f"{frame.filename}, line {frame.lineno}: "
    return ""
