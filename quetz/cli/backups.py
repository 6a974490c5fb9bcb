"""``quetz migrations backup``, ``backups``, ``restore`` and ``verify-backup``."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quetz.cli import options
from quetz.cli.redaction import json_of
from quetz.errors import BadOption, DeploymentNotFound

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from quetz.migrations.backups import Backups, Manifest
    from quetz.migrations.progress import Progress

commands = typer.Typer()

AsJson = Annotated[bool, typer.Option("--json/--no-json", help="Print JSON.")]


@commands.command()
def backup(
    path: options.Deployment,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--backup-dir",
            metavar="FOLDER",
            help="Where to; \\[migrations] backup_dir by default. Nothing is removed there.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Back up the database, which may be in use, and print the path of the backup."""
    with _opened(path) as (engine, backups):
        chosen = replace(backups, folder=folder) if folder else backups
        file = chosen.take(engine)
        if chosen is backups:
            backups.retire()
        if as_json:
            _print_json(chosen.find(file).document())
        else:
            typer.echo(file)


@commands.command("backups")
def list_backups(path: options.Deployment, as_json: AsJson = False) -> None:
    """List the backups of the database, the newest first."""
    with _opened(path) as (_, backups):
        found, faults = backups.list(), backups.faults()
    for fault in faults:
        typer.echo(fault, err=True)
    if as_json:
        _print_json([manifest.document() for manifest in found])
    elif not found:
        typer.echo(f"There is no backup in '{backups.folder}'", err=True)
    else:
        width = max(len(manifest.file.name) for manifest in found)
        for manifest in found:
            typer.echo(_line(manifest, width))


@commands.command()
def restore(
    path: options.Deployment,
    name: Annotated[
        str, typer.Argument(metavar="BACKUP", help="A backup's name or path, or: latest")
    ],
    yes: Annotated[bool, typer.Option("--yes/--no-yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make the database what it was, and print where a copy of the present one is.

    The server has to be stopped.
    """
    from quetz.cli.locks import changing
    from quetz.migrations.locks import alone

    with _opened(path) as (engine, backups), changing(path):
        manifest = backups.find(name, engine)
        if not yes:
            _ask(path, manifest)
        former = backups.restore(engine, manifest, alone(engine, watch=_tell))
    if as_json:
        _print_json({"restored": manifest.document(), "former": former and str(former)})
        return
    before = "what the database held before is in" if former else "there was no database before"
    typer.echo(f"Restored '{manifest.file}' of {_time(manifest)}; {before}", err=True)
    if former:
        typer.echo(former)


@commands.command()
def verify_backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The backup.")],
    as_json: AsJson = False,
) -> None:
    """Read a backup, and tell whether it is as it was written."""
    from quetz.migrations.backups import Backups

    manifest = Backups(file.absolute().parent).verify(file.absolute())
    if as_json:
        _print_json(manifest.document())
    else:
        rows, tables = sum(manifest.rows.values()), len(manifest.rows)
        typer.echo(f"'{file}' of {_time(manifest)} is whole: {rows:,} rows in {tables} tables")


@contextmanager
def _opened(path: Path) -> Iterator["tuple[Engine, Backups]"]:
    from quetz.deployment import backups_of, is_deployment, open_database
    from quetz.settings import load_settings

    if not is_deployment(path):
        raise DeploymentNotFound(path)
    path = path.resolve()
    settings = load_settings(path)
    engine = open_database(path, settings, for_migrations=True)
    try:
        yield engine, backups_of(path, settings)
    finally:
        engine.dispose()


def _ask(path: Path, manifest: "Manifest") -> None:
    if not sys.stdin.isatty():
        raise BadOption(f"to restore the database of '{path}' without being asked, add --yes")
    question = f"Replace all that the database of '{path}' holds by the backup of"
    typer.confirm(f"{question} {_time(manifest)}?", abort=True, err=True)


def _tell(progress: "Progress") -> None:
    typer.echo(progress.sentence, err=True)


def _line(manifest: "Manifest", width: int) -> str:
    kind = "safety copy" if manifest.safety else "backup"
    state = "whole" if manifest.whole else "damaged" if manifest.file.exists() else "missing"
    heads = ", ".join(manifest.heads) or "no revision"
    return (
        f"{manifest.file.name:{width}}  {_time(manifest)}  {manifest.size:>15,} bytes  "
        f"{state:7}  {kind:11}  {heads}"
    )


def _time(manifest: "Manifest") -> str:
    return f"{manifest.created:%Y-%m-%d %H:%M:%S} UTC"


def _print_json(document: Any) -> None:
    typer.echo(json_of(document, indent=2))
