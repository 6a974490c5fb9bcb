"""``quetz gc``."""

from dataclasses import asdict
from typing import Annotated

import typer

from quetz.cli import options
from quetz.cli.operators import opened, tell

commands = typer.Typer()


@commands.command("gc")
def collect_garbage(
    path: options.InFolder = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would go; change nothing.")
    ] = False,
    grace_days: Annotated[
        int | None,
        typer.Option(
            "--grace-days",
            min=0,
            max=36_500,
            metavar="DAYS",
            help="Instead of [storage] object_grace_days. With 0 an upload under way may be "
            "answered with 503, and no restore of a backup finds what went.",
        ),
    ] = None,
    deployment: options.ByOption = None,
    as_json: options.AsJson = False,
) -> None:
    """Remove the bytes of packages that no channel has any more, and what crashes left behind.

    A server does it by itself, once an hour.
    """
    from quetz.errors.collecting import CollectionRunning
    from quetz.worker.collecting import collect, collect_index_files, collecting

    with opened(path, deployment) as server, collecting(server) as mine:
        if not mine:
            raise CollectionRunning(server.path)
        days = server.settings.storage.object_grace_days if grace_days is None else grace_days
        done = collect(server, grace_ms=days * 24 * 3600 * 1000, dry_run=dry_run)
        if not dry_run:
            collect_index_files(server)
    verb = "Would remove" if dry_run else "Removed"
    sentence = (
        f"{verb} {done.objects} objects of {done.bytes} bytes and {done.reservations} expired "
        f"reservations; index files that nothing names: {done.index_files}; objects of uploads "
        f"that were broken off, whose grace begins now: {done.adopted}"
    )
    tell({"dry_run": dry_run} | asdict(done), sentence, as_json=as_json)
