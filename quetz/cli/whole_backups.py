"""``quetz backup`` and ``quetz restore``: a deployment's database and packages together."""

import sys
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quetz.cli import options
from quetz.cli.bulk import progress_bar
from quetz.cli.operators import opened, print_line, tell
from quetz.cli.outcomes import FAILED
from quetz.errors import BadOption

if TYPE_CHECKING:
    from quetz.migrations.progress import Progress
    from quetz.worker.backup_folders import State
    from quetz.worker.backups import Report

commands = typer.Typer()


@commands.command()
def backup(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="The folder of backups; made if missing.")
    ],
    path: options.InFolder = None,
    keep: Annotated[
        int | None,
        typer.Option(
            "--keep",
            min=1,
            metavar="N",
            help="How many backups DIR keeps; \\[migrations] backups_kept by default.",
        ),
    ] = None,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Read all that DIR has, and copy what is damaged again."),
    ] = False,
    deployment: options.ByOption = None,
    as_json: options.AsJson = False,
) -> None:
    """Back up the database, the packages and config.toml, while servers may run.

    DIR keeps each package once, so that later backups only add what is new.
    """
    from quetz.worker.backups import back_up

    with opened(path, deployment) as server, progress_bar("Copying packages") as watch:
        kept = keep or server.settings.migrations.backups_kept
        report = back_up(server, folder, keep=kept, verify=verify, watch=watch)
    _tell_backup(report, as_json=as_json)


@commands.command()
def restore(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="The folder of backups, for the newest; or the folder of one."
        ),
    ],
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="The deployment's folder; made if missing.")
    ],
    database_url: Annotated[
        str | None,
        typer.Option(
            "--database-url",
            metavar="URL",
            help="For a new folder: an empty database, in place of that in config.toml.",
        ),
    ] = None,
    yes: options.Yes = False,
    as_json: options.AsJson = False,
) -> None:
    """Make a deployment what a backup is: in a new folder, or over the one that is there.

    No server may run on it. A restore that was broken off is finished by the same command.
    """
    from quetz.cli.creation import made_folder
    from quetz.cli.locks import changing
    from quetz.deployment import is_deployment
    from quetz.worker.backup_folders import find_state
    from quetz.worker.restores import Restore

    state = find_state(folder)
    if is_deployment(path) and not yes:
        _ask(path, state)
    progress = nullcontext(_unseen) if as_json else progress_bar("Restoring packages")
    with made_folder(path) as target, changing(target), progress as watch:
        report = Restore(state, target, database_url).run(watch, _tell_progress)
    document = {
        "backup": str(state.folder),
        "copied": report.copied,
        "kept": report.kept,
        "former": report.former and str(report.former),
    }
    former = f"; what the database held before is in '{report.former}'" if report.former else ""
    sentence = (
        f"Restored '{state.folder}' to '{path}': copied {report.copied} packages, "
        f"{report.kept} were there{former}. API keys and users are those of the backup: revoke "
        "again what was revoked since. The next start of a server builds all indexes"
    )
    tell(document, sentence, as_json=as_json)


def _tell_backup(report: "Report", *, as_json: bool) -> None:
    faults = [asdict(fault) for fault in report.faults]
    manifest = report.state.manifest
    document: dict[str, Any] = {
        "backup": str(report.state.folder),
        "objects": manifest.objects,
        "bytes": manifest.bytes,
        "copied": report.copied,
        "faults": faults,
        "warning": report.warning,
    }
    sentence = (
        f"Backed up to '{report.state.folder}': {manifest.objects} packages of {manifest.bytes} "
        f"bytes, {report.copied} of them copied now"
    )
    if faults and not as_json:
        for fault in faults:
            print_line(f"{fault['reason']} in the store: {', '.join(fault['files'])}", err=True)
        sentence += f"; {len(faults)} are not in the backup: see quetz fsck --deep"
    if report.warning and not as_json:
        print_line(f"older backups were not removed: {report.warning}", err=True)
    tell(document, sentence, as_json=as_json)
    if faults or report.warning:
        raise typer.Exit(FAILED)


def _ask(path: Path, state: "State") -> None:
    if not sys.stdin.isatty():
        raise BadOption(f"to restore '{path}' without being asked, add --yes")
    question = f"Replace all that the database of '{path}' holds by the backup '{state.name}'?"
    typer.confirm(question, abort=True, err=True)


def _tell_progress(progress: "Progress") -> None:
    typer.echo(progress.sentence, err=True)


def _unseen(_done: int, _total: int) -> None:
    """Show nothing."""
