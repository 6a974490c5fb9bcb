"""How a command ends: one table from error to exit code, one sentence on standard error."""

import select
import sys
import traceback
from contextlib import suppress
from typing import Any

import typer
from typer.core import TyperGroup

from quetz.cli.redaction import plain, redact
from quetz.errors import (
    BadOption,
    ChannelNotFound,
    Conflict,
    DatabaseMissing,
    Invalid,
    NotAllowed,
    NotFound,
    NotLoggedIn,
    QuetzError,
    TooLarge,
    Unavailable,
)
from quetz.errors.migrations import (
    BackupFailed,
    BackupUnsound,
    MigrationEdited,
    MigrationHalfDone,
    MigrationLocked,
    PluginsSkipped,
    RestoreFailed,
    SchemaBehind,
    SchemaDrifted,
    SchemaUnknown,
    VerificationFailed,
)

FAILED = 1
REPAIRED = 1  # of quetz fsck, as of programs that check file systems
ERRORS_LEFT = 2
INTERRUPTED = 130  # 128 and the number of SIGINT, as shells say it

EXIT_CODES: dict[type[QuetzError], int] = {
    NotFound: 2,
    Conflict: FAILED,
    Invalid: 2,
    NotLoggedIn: FAILED,
    NotAllowed: FAILED,
    TooLarge: 2,
    Unavailable: FAILED,
    DatabaseMissing: 3,
    SchemaBehind: 3,
    SchemaDrifted: 4,
    MigrationLocked: 5,
    SchemaUnknown: 6,
    MigrationEdited: 7,
    BackupFailed: 8,
    BackupUnsound: 8,
    RestoreFailed: 8,
    VerificationFailed: 10,
    MigrationHalfDone: 11,
    PluginsSkipped: 12,
}


def exit_code(error: QuetzError) -> int:
    return next(EXIT_CODES[kind] for kind in type(error).__mro__ if kind in EXIT_CODES)


class Commands(TyperGroup):
    """The root of all commands: turns what they raise into a sentence and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort, typer.TyperException):
            raise
        except KeyboardInterrupt as error:
            typer.echo(": ".join(["quetz: interrupted", *map(str, error.args)]), err=True)
            raise typer.Exit(INTERRUPTED) from None
        except Exception as error:  # whatever it is, the user gets a sentence
            if isinstance(error, BrokenPipeError) and not _is_read():
                raise  # typer ends in silence, as any program does in ``| head``
            sentence, code = _outcome(error)
            if ctx.params["debug"]:
                typer.echo(redact(traceback.format_exc()), err=True)
            typer.echo(f"quetz: {plain(redact(sentence))}", err=True)
            raise typer.Exit(code) from None


def _is_read() -> bool:
    """Tell whether the pipes that are written to are still open at their other end."""
    poll = select.poll()
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):  # there is none, it is closed
            poll.register(stream, 0)
    return not poll.poll(0)


def _outcome(error: Exception) -> tuple[str, int]:
    if isinstance(error, UnicodeEncodeError) and error.reason == "surrogates not allowed":
        # How Python takes bytes of an argument that it cannot decode (PEP 383).
        error = BadOption(f"{error.object!r} holds bytes that are not UTF-8; write it in UTF-8")
    if isinstance(error, ChannelNotFound):  # an operator sees all there are
        return f"there is no channel '{error.name}'; check the name", exit_code(error)
    if isinstance(error, QuetzError):
        return str(error), exit_code(error)
    if isinstance(error, OSError) and error.filename:
        return f"'{error.filename}': {error.strerror}", FAILED
    if driver_error := getattr(error, "orig", None):  # of SQLAlchemy's errors
        from quetz.migrations.failures import unreachable

        if away := unreachable(error):
            return str(away), FAILED
        return f"the database says: {_first_line(driver_error)}", FAILED
    kind = type(error).__name__
    hint = "run quetz --debug for the traceback"
    return f"unexpected error: {kind}: {_first_line(error)}; {hint}", FAILED


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
