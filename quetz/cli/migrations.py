"""``quetz init-db``, and ``quetz migrations`` to look at what it does."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quetz.cli import options
from quetz.cli.redaction import json_of
from quetz.errors import BadOption, DeploymentNotFound

if TYPE_CHECKING:
    from quetz.deployment import BackupChoice
    from quetz.errors import PluginError
    from quetz.migrations.plans import Step
    from quetz.migrations.runs import Outcome
    from quetz.settings import Settings

commands = typer.Typer()

AsJson = Annotated[bool, typer.Option("--json/--no-json", help="Print JSON.")]
LOCK_SECONDS = 300.0
BEHIND = 3
_INTERRUPTED = "what was not committed is rolled back; quetz init-db goes on from there"


@commands.command("migrate", help="The same as init-db.")
@commands.command()
def init_db(
    path: options.Deployment,
    plan: Annotated[
        bool,
        typer.Option("--plan", help="Only print what would be done; end with 3 if anything is."),
    ] = False,
    to: Annotated[
        str | None,
        typer.Option(
            metavar="REVISION",
            help="Stop at a revision, by the start of its id or as PLUGIN@head; "
            "apply what it needs, and no more.",
        ),
    ] = None,
    no_backup: Annotated[bool, typer.Option("--no-backup", help="Make no backup before.")] = False,
    backup_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            file_okay=False,
            help="Back up to this folder, in which nothing is removed.",
        ),
    ] = None,
    require_backup: Annotated[
        bool, typer.Option("--require-backup", help="Change nothing if there can be no backup.")
    ] = False,
    lock_timeout: Annotated[
        float,
        typer.Option(metavar="SECONDS", min=0, help="How long to wait for another migration."),
    ] = LOCK_SECONDS,
    as_json: AsJson = False,
) -> None:
    """Bring the database to the schema of this version, and print the migrations applied.

    It applies those of quetz and of all plugins in use, after a backup. A database that is up to
    date is left alone.
    """
    backup = _backup_choice(no_backup, require_backup, backup_dir)
    if plan:
        if backup != "default":
            raise BadOption("--plan changes nothing and makes no backup; leave out the other")
        _print_plan(path, to, as_json=as_json)
    else:
        _apply(path, to, backup, lock_timeout, as_json=as_json)


def _backup_choice(no_backup: bool, require: bool, folder: Path | None) -> "BackupChoice":
    if no_backup and (require or folder):
        raise BadOption("--no-backup contradicts --require-backup and --backup-dir; choose one")
    if folder is not None:
        return folder.resolve()
    return "none" if no_backup else "require" if require else "default"


def _apply(
    path: Path, to: str | None, backup: "BackupChoice", lock_timeout: float, *, as_json: bool
) -> None:
    from quetz.cli.progress import show
    from quetz.deployment import migrate
    from quetz.migrations.progress import Progress
    from quetz.plugins import load_plugins

    settings = settings_of(path)
    plugins = load_plugins(settings.plugins.enabled)
    try:
        outcome = migrate(
            path.resolve(),
            settings,
            plugins,
            to=to,
            lock_seconds=lock_timeout,
            backup=backup,
            watch=show,
        )
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_INTERRUPTED) from None
    if as_json:
        typer.echo(json_of(_document(outcome)))
    else:
        for revision in outcome.applied:
            typer.echo(revision)
    show(Progress("done", _said(outcome), {"applied": len(outcome.applied)}))
    _raise_broken(outcome.broken)


def _document(outcome: "Outcome") -> dict[str, Any]:
    return {
        "run_id": outcome.run_id,
        "applied": outcome.applied,
        "steps": [step.document() for step in outcome.steps],
        "heads": outcome.heads,
        "backup": outcome.backup and str(outcome.backup),
        "seconds": outcome.seconds,
        "already": outcome.already,
        "broken": {name: error.reason for name, error in outcome.broken.items()},
    }


def _said(outcome: "Outcome") -> str:
    count = len(outcome.applied)
    if count:
        return f"{count} migration{'s' if count > 1 else ''} applied in {outcome.seconds:.1f} s"
    return outcome.already or "The database is up to date"


def _raise_broken(broken: "dict[str, PluginError] | Any") -> None:
    from quetz.errors.migrations import PluginsSkipped

    if broken:
        raise PluginsSkipped([str(error) for error in broken.values()])


def _print_plan(path: Path, to: str | None, *, as_json: bool) -> None:
    from sqlalchemy.engine import make_url

    from quetz.db.engine import open_engine
    from quetz.deployment import database_url
    from quetz.migrations.plans import plan_upgrade
    from quetz.plugins import load_plugins

    settings = settings_of(path)
    url = database_url(path.resolve(), settings, for_migrations=True)
    if url.get_backend_name() == "sqlite" and not Path(str(url.database)).exists():
        url = make_url("sqlite://")  # to look at the file would make it; this one is as empty
    plugins = load_plugins(settings.plugins.enabled)
    engine = open_engine(url)
    try:
        planned = plan_upgrade(engine, plugins, to=to)
    finally:
        engine.dispose()
    for error in planned.broken.values():
        typer.echo(f"Left out: {error}", err=True)
    _print_steps(planned.steps, as_json=as_json)
    if planned.steps:
        raise typer.Exit(BEHIND)


def _print_steps(steps: "list[Step]", *, as_json: bool) -> None:
    if as_json:
        typer.echo(json_of([step.document() for step in steps]))
        return
    for step in steps:
        outside = "" if step.transactional else ", outside a transaction on PostgreSQL"
        typer.echo(f"{step.revision}  {step.owner}: {step.message}{outside}")
    typer.echo(f"{len(steps)} to apply" if steps else "The database is up to date", err=True)


def settings_of(path: Path) -> "Settings":
    """Raises DeploymentNotFound, BadConfig."""
    from quetz.deployment import is_deployment
    from quetz.settings import load_settings

    if not is_deployment(path):
        raise DeploymentNotFound(path)
    return load_settings(path.resolve())
