"""Shows what a migration does: in words on a terminal, as JSON lines elsewhere."""

import json
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import typer

from quetz.cli.redaction import redact

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
        line = progress.sentence
    else:
        document = {"event": progress.event, **progress.facts}
        line = json.dumps(document | {"message": progress.sentence.strip()})
    with suppress(OSError, ValueError):
        typer.echo(redact(line), err=True)
