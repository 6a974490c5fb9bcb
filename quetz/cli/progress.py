"""Shows what a migration does: in words on a terminal, as JSON lines elsewhere."""

import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import typer

from quetz.cli.redaction import json_of, redact

if TYPE_CHECKING:
    from quetz.migrations.progress import Progress


def show(progress: "Progress") -> None:
    """Write to standard error, as somebody looks at it or not.

    ``{"event": "stepped", "message": "...", "revision": "91c2...", "rows": 3, "seconds": 0.2}``.
    A reader that went away stops no migration.
    """
    if sys.stderr is None:  # it was closed
        return
    if sys.stderr.isatty():
        line = redact(progress.sentence)
    else:
        document = {"event": progress.event, **progress.facts}
        line = json_of(document | {"message": progress.sentence.strip()})
    with suppress(OSError, ValueError):
        typer.echo(line, err=True)
