"""``quetz import``, ``quetz export`` and ``quetz reindex``."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quetz.cli import options
from quetz.cli.operators import opened, print_line, print_rows, tell
from quetz.cli.outcomes import FAILED
from quetz.errors import BadOption

if TYPE_CHECKING:
    from quetz.deployment import Deployment
    from quetz.services.publishing import Switch
    from quetz.worker.imports import Report

commands = typer.Typer()

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The folder of the static channel.")]
Channel = Annotated[str, typer.Argument(metavar="CHANNEL", help="The channel's name.")]


@commands.command("import")
def import_channel(
    folder: Folder,
    channel: Channel,
    path: options.InFolder = None,
    create: Annotated[
        bool, typer.Option("--create", help="Make the channel if there is none of the name.")
    ] = False,
    private: Annotated[
        bool | None,
        typer.Option(
            "--private/--public",
            help="Whether only members see a channel that is made; yes by default.",
        ),
    ] = None,
    deployment: options.ByOption = None,
    as_json: options.AsJson = False,
) -> None:
    """Make the packages of a static channel part of a channel, and publish its indexes.

    Files that break a rule are named at the end. What the channel has already is left as it is:
    an import that was interrupted goes on when it is run again.
    """
    from quetz.conda.channel_folders import read_channel_folder
    from quetz.services.permissions import OPERATOR
    from quetz.worker.catching_up import publish_channel
    from quetz.worker.imports import import_folder

    if private is not None and not create:
        raise BadOption("--private and --public are for a channel that is made: add --create")
    found = read_channel_folder(folder)
    with opened(path, deployment) as server:
        channel_id = _find_or_create(server, channel, create=create, private=private is not False)
        with progress_bar("Importing") as watch:
            report = import_folder(server, OPERATOR, channel, found, watch=watch)
        publish_channel(server, channel_id)
    _tell_report(report, channel, as_json=as_json)


@commands.command("export")
def export_channel(
    channel: Channel,
    folder: Folder,
    path: options.InFolder = None,
    force: Annotated[
        bool,
        typer.Option("--force/--no-force", help="Write into a folder that holds other things."),
    ] = False,
    delete: Annotated[
        bool,
        typer.Option(
            "--delete/--no-delete",
            help="Delete packages and shards from DIR that the channel does not have.",
        ),
    ] = False,
    deployment: options.ByOption = None,
    as_json: options.AsJson = False,
) -> None:
    """Write a channel to a folder, as a static channel that any client can use.

    What the folder has of the channel already is kept: an export that was interrupted goes on when
    it is run again.
    """
    from quetz.db.queries.channels import get_channel
    from quetz.worker import exports

    target = exports.Target(folder, force=force, delete=delete)
    with opened(path, deployment) as server:
        with server.transaction() as session:
            found = get_channel(session, channel)
        with progress_bar("Exporting") as watch:
            report = exports.export_channel(server, found, target, watch=watch)
    reasons = [{"path": place, "reason": str(error)} for place, error in report.failed]
    document = {
        "channel": found.name,
        "copied": report.copied,
        "kept": report.kept,
        "deleted": report.deleted,
        "failed": reasons,
    }
    sentence = (
        f"Exported '{found.name}' to '{folder}': copied {report.copied} files, kept {report.kept}, "
        f"deleted {report.deleted}"
    )
    if reasons:
        sentence = f"{len(reasons)} files could not be exported; the indexes are as they were"
    _tell_all(document, "failed", reasons, sentence, as_json=as_json)


@commands.command()
def reindex(
    channel: Channel,
    path: options.InFolder = None,
    deployment: options.ByOption = None,
    as_json: options.AsJson = False,
) -> None:
    """Build every index file of a channel anew from the database, and publish it."""
    from quetz.db.queries.channels import get_channel
    from quetz.services.publishing import mark_channel_for_rebuild
    from quetz.worker.catching_up import publish_channel

    with opened(path, deployment) as server:
        with server.transaction(write=True) as session:
            channel_id = get_channel(session, channel).id
            switches = mark_channel_for_rebuild(session, channel_id)
        here = publish_channel(server, channel_id)
    rows = [_switch_document(switch, here=switch in here) for switch in switches]
    print_rows(rows, _switch_cells, nothing="The channel has no files", as_json=as_json)


def _find_or_create(server: "Deployment", name: str, *, create: bool, private: bool) -> int:
    from quetz.db.queries.channels import find_channel
    from quetz.services.channels import NewChannel, create_channel
    from quetz.services.permissions import OPERATOR

    with server.transaction() as session:
        found = find_channel(session, name)
    if found is None and not create:
        raise BadOption(f"there is no channel '{name}'; check the name, or make it with --create")
    if found is None:
        quota = server.settings.quotas.channel_quota
        with server.transaction(write=True) as session:
            found = create_channel(
                session, OPERATOR, NewChannel(name, private=private), quota=quota
            )
    return found.id


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show on standard error how many files are done, while somebody looks at it."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _tell_report(report: "Report", channel: str, *, as_json: bool) -> None:
    reasons = [{"path": one.path, "reason": str(one.error)} for one in report.refused]
    document = {
        "channel": channel.lower(),
        "imported": report.imported,
        "yanked": report.yanked,
        "unchanged": report.unchanged,
        "refused": reasons,
    }
    yanked = f", {report.yanked} of them yanked," if report.yanked else ""
    sentence = (
        f"Imported {report.imported} files{yanked} into '{channel}'; "
        f"{report.unchanged} were there, {len(reasons)} refused"
    )
    _tell_all(document, "refused", reasons, sentence, as_json=as_json)


def _tell_all(
    document: Any, what: str, reasons: Sequence[dict[str, str]], sentence: str, *, as_json: bool
) -> None:
    """Tell what was done, and of each file why not; end with 1 if there are any of these."""
    if not as_json:
        for reason in reasons:
            print_line(f"{what}: {reason['path']}: {reason['reason']}", err=True)
    tell(document, sentence, as_json=as_json)
    if reasons:
        raise typer.Exit(FAILED)


def _switch_document(switch: "Switch", *, here: bool) -> dict[str, Any]:
    return {"subdir": switch.subdir or None, "family": switch.family, "built_here": here}


def _switch_cells(row: dict[str, Any]) -> Sequence[object]:
    return row["subdir"], row["family"], "built" if row["built_here"] else "built by a server"
