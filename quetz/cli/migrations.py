"""``quetz init-db`` and ``quetz make-migrations``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quetz.cli import options
from quetz.errors import DeploymentNotFound

if TYPE_CHECKING:
    from quetz.settings import Settings

commands = typer.Typer()


@commands.command()
def init_db(path: options.Deployment) -> None:
    """Bring the database to the schema of this version, and print the migrations applied."""
    from quetz.deployment import open_database
    from quetz.migrations import upgrade
    from quetz.plugins import load_plugins

    settings = _settings(path)
    plugins = load_plugins(settings.plugins.enabled)
    engine = open_database(path.resolve(), settings)
    try:
        applied = upgrade(engine, plugins).applied
    finally:
        engine.dispose()
    for revision in applied:
        typer.echo(revision)
    typer.echo(
        f"{len(applied)} migrations applied" if applied else "The database is up to date", err=True
    )


@commands.command()
def make_migrations(
    path: options.Deployment,
    message: Annotated[str, typer.Option("--message", help="What the migration does.")],
    plugin: Annotated[
        str, typer.Option("--plugin", help="The plugin whose tables changed, or quetz.")
    ] = "quetz",
    initialize: Annotated[
        bool,
        typer.Option("--initialize/--no-initialize", help="Write the plugin's first migration."),
    ] = False,
) -> None:
    """Write a migration for what changed in the models, and print its path."""
    from quetz.migrations import make_migration
    from quetz.plugins import load_plugins

    plugins = load_plugins(_settings(path).plugins.enabled)
    file = make_migration(plugins, message=message, owner=plugin, initialize=initialize)
    if file is None:
        typer.echo("Nothing changed: no migration is needed", err=True)
    else:
        typer.echo(file)


def _settings(path: Path) -> "Settings":
    from quetz.deployment import is_deployment
    from quetz.settings import load_settings

    if not is_deployment(path):
        raise DeploymentNotFound(path)
    return load_settings(path.resolve())
