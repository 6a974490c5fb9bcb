"""``quetz make-migrations``."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quetz.cli import options

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from quetz.plugins import Plugins
    from quetz.settings import Settings

commands = typer.Typer()

Message = Annotated[str, typer.Option("--message", help="What the migration does.")]
Plugin = Annotated[str, typer.Option("--plugin", help="The plugin whose tables changed, or quetz.")]
Initialize = Annotated[
    bool, typer.Option("--initialize/--no-initialize", help="Write the plugin's first migration.")
]
Empty = Annotated[
    bool, typer.Option("--empty", help="Write a migration to be filled in, if nothing changed too.")
]
Check = Annotated[
    bool, typer.Option("--check", help="Write nothing; end with 4 if a migration is needed.")
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        metavar="DIR",
        file_okay=False,
        help="Write to DIR, not to the plugin's own folder.",
    ),
]
RevisionId = Annotated[
    str | None, typer.Option("--rev-id", metavar="ID", help="The migration's id, not a random one.")
]


@commands.command()
def make_migrations(
    path: options.Deployment,
    message: Message = "",
    plugin: Plugin = "quetz",
    initialize: Initialize = False,
    empty: Empty = False,
    check: Check = False,
    output: Output = None,
    rev_id: RevisionId = None,
) -> None:
    """Write a migration for what changed in the models, and print its path.

    It is tried out first, on SQLite in memory and, if the deployment's database is on PostgreSQL,
    in a schema of its own there.
    """
    from quetz.migrations import make_migration
    from quetz.plugins import load_plugins

    if not message and not check:
        raise typer.BadParameter("say what the migration does", param_hint="--message")
    settings = _settings(path)
    plugins = load_plugins(settings.plugins.enabled)
    with _database(path.resolve(), settings) as engine:
        _warn_of_drift(engine, plugins)
        file = make_migration(
            plugins,
            message=message,
            owner=plugin,
            initialize=initialize,
            empty=empty,
            output=output,
            rev_id=rev_id,
            check=check,
            like=engine,
            warn=_warn,
        )
    if file is None:
        typer.echo(f"Nothing changed in {plugin}: no migration is needed", err=True)
    else:
        typer.echo(file)


@contextmanager
def _database(path: Path, settings: "Settings") -> Iterator["Engine"]:
    from quetz.deployment import open_database

    engine = open_database(path, settings, for_migrations=True)
    try:
        yield engine
    finally:
        engine.dispose()


def _warn_of_drift(engine: "Engine", plugins: "Plugins") -> None:
    """Tell how the deployment's database differs from its migrations; a new one needs not know."""
    from sqlalchemy.exc import DBAPIError

    from quetz.errors import DatabaseMissing, QuetzError
    from quetz.migrations.checks import check_database

    try:
        report = check_database(engine, plugins)
    except DatabaseMissing:
        return  # there is no drift where nothing is
    except (QuetzError, DBAPIError) as error:
        _warn(f"the deployment's database was not looked at: {getattr(error, 'orig', error)}")
        return
    for line in report.drift:
        _warn(f"the deployment's database {line}, unlike what its migrations make")


def _warn(sentence: str) -> None:
    from quetz.cli.redaction import redact

    typer.echo(f"Warning: {redact(' '.join(sentence.split()))}", err=True)


def _settings(path: Path) -> "Settings":
    from quetz.deployment import is_deployment
    from quetz.errors import DeploymentNotFound
    from quetz.settings import load_settings

    if not is_deployment(path):
        raise DeploymentNotFound(path)
    return load_settings(path.resolve())
