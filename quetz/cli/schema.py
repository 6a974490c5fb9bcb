"""``quetz migrations``: looks at a database, and changes nothing."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from quetz.cli import options
from quetz.cli.migrations import BEHIND, AsJson, settings_of
from quetz.cli.redaction import json_of

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from quetz.migrations.ledger import Entry
    from quetz.migrations.status import OwnerStatus, Status

commands = typer.Typer(no_args_is_help=True, help="Look at migrations, and keep backups.")

FOREIGN = 6
BROKEN = 12
LOOK_SECONDS = 1.0


@commands.command()
def status(
    path: options.Deployment,
    wait: Annotated[
        float,
        typer.Option(metavar="SECONDS", min=0, help="How long to wait until nothing is missing."),
    ] = 0,
    as_json: AsJson = False,
) -> None:
    """Print what is applied and what is missing, of quetz and of each plugin.

    Ends with 3 if migrations are missing, with 6 if the database is of another version, with 12
    if all is up to date but plugins that are broken.
    No plugin is imported; "quetz migrations check" names those that cannot be.
    """
    from quetz.migrations.status import read_status
    from quetz.plugins import find_plugins

    with _opened(path) as engine:
        plugins = find_plugins(settings_of(path).plugins.enabled)
        deadline = time.monotonic() + wait
        found = read_status(engine, plugins, with_edited=True)
        while found.state in _WAITING and time.monotonic() < deadline:
            time.sleep(min(LOOK_SECONDS, max(deadline - time.monotonic(), 0)))
            found = read_status(engine, plugins, with_edited=True)
    if as_json:
        typer.echo(json_of(found.document()))
    else:
        _print_status(found, path)
    if found.state in _WAITING:
        raise typer.Exit(BEHIND)
    if found.state != "current":
        raise typer.Exit(FOREIGN)
    if _has_broken(found):
        raise typer.Exit(BROKEN)


_WAITING = ("behind", "empty", "missing")


def _has_broken(found: "Status") -> bool:
    return any(owner.state == "broken" for owner in found.owners)


def _addition(found: "Status", path: Path) -> str:
    if found.state in _WAITING:
        return f": run quetz init-db {quote(str(path))}"
    if found.state == "current" and _has_broken(found):
        return ", except for plugins that are broken"
    return ""


def _print_status(found: "Status", path: Path) -> None:
    from quetz.migrations.positions import warning_of_edited

    typer.echo(f"The database is {_STATES[found.state]}{_addition(found, path)}")
    if found.reason:
        typer.echo(found.reason)
    width = max((len(owner.owner) for owner in found.owners), default=0)
    for owner in found.owners:
        typer.echo(f"  {owner.owner:{width}}  {_told(owner)}")
        for revision in owner.pending:
            typer.echo(f"  {'':{width}}  missing: {revision}")
    if found.edited:
        typer.echo(warning_of_edited(found.edited))
    if found.holder:
        typer.echo(f"{found.holder} is migrating it now")
    if found.last_run:
        typer.echo(f"Last: {_line(found.last_run)}")


_STATES = {
    "current": "up to date",
    "behind": "behind",
    "empty": "empty",
    "missing": "missing",
    "ahead": "ahead of the software that is installed",
    "unknown": "not one of this version",
}


def _told(owner: "OwnerStatus") -> str:
    counts = f"{len(owner.applied)} applied, {len(owner.pending)} missing"
    if owner.state == "orphaned":
        counts = f"{len(owner.orphaned)} orphaned (not installed, or not enabled)"
    if owner.state == "broken":
        counts = f"broken: {owner.reason}"
    return f"{owner.version or '?'}: {counts}"


@commands.command()
def check(
    path: options.Deployment,
    deep: Annotated[bool, typer.Option("--deep", help="Read all that is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Compare the database with its migrations and with the models.

    Ends with 4 if it differs, with 7 if a migration was edited after it had been applied. If that
    is all that was found, with 12 if a plugin could not be checked, with 3 if migrations are
    missing.
    """
    from quetz.errors.migrations import SchemaUnknown
    from quetz.migrations.checks import check_database
    from quetz.plugins import load_plugins

    with _opened(path) as engine:
        plugins = load_plugins(settings_of(path).plugins.enabled)
        try:
            report = check_database(engine, plugins, deep=deep)
        except SchemaUnknown as error:
            error.args = (error.seen,)
            raise
    document = report.document()
    if as_json:
        typer.echo(json_of(document))
    else:
        del document["broken"]  # what is unchecked tells of them, and why
        for what, findings in document.items():
            for finding in findings:
                typer.echo(f"{what.replace('_', ' ')}: {finding}")
    report.verdict(path)
    typer.echo(f"Nothing {'else ' if report.unchecked else ''}is wrong", err=True)


@commands.command()
def history(
    path: options.Deployment,
    limit: Annotated[
        int, typer.Option(metavar="COUNT", min=1, help="Print the newest COUNT entries.")
    ] = 100,
    as_json: AsJson = False,
) -> None:
    """Print who applied which migration when, the newest last."""
    from quetz.migrations.ledger import read_entries
    from quetz.migrations.positions import file_of, looking

    with _opened(path) as engine:
        file = file_of(engine)
        entries: list[Entry] = []
        if file is None or file.exists():
            with looking(engine) as connection:
                entries = read_entries(connection)[-limit:]
    if as_json:
        typer.echo(json_of([entry.document() for entry in entries]))
        return
    for entry in entries:
        typer.echo(_line(entry))
    if not entries:
        typer.echo("Nothing is on record", err=True)


def _line(entry: "Entry") -> str:
    when = datetime.fromtimestamp(entry.started_at / 1000, tz=UTC)
    took = "" if entry.seconds is None else f", {entry.seconds:.2f} s, {entry.rows or 0} rows"
    backup = f", backup {entry.backup}" if entry.backup else ""
    return (
        f"{when:%Y-%m-%d %H:%M:%S}Z {entry.direction} {entry.revision} {entry.owner} "
        f"{entry.dist_version} ({entry.message}): {entry.state}, by {entry.actor} on "
        f"{entry.host}{took}{backup}"
    )


@contextmanager
def _opened(path: Path) -> Iterator["Engine"]:
    from quetz.deployment import open_database

    engine = open_database(path.resolve(), settings_of(path), for_migrations=True)
    try:
        yield engine
    finally:
        engine.dispose()
