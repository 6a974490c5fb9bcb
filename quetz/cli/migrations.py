"""``quetz init-db``."""

from pathlib import Path
from typing import TYPE_CHECKING

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


def _settings(path: Path) -> "Settings":
    from quetz.deployment import is_deployment
    from quetz.settings import load_settings

    if not is_deployment(path):
        raise DeploymentNotFound(path)
    return load_settings(path.resolve())
