"""``quetz create`` and ``quetz delete``."""

import sys
from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from quetz.cli import options
from quetz.errors import BadOption, DeploymentNotFound, NotDeletable

commands = typer.Typer()


@commands.command()
def create(
    path: options.Deployment,
    copy_conf: options.CopyConf = None,
    create_conf: options.CreateConf = False,
    delete: options.Delete = False,
    exists_ok: Annotated[
        bool,
        typer.Option("--exists-ok/--no-exists-ok", help="Leave an existing deployment alone."),
    ] = False,
    dev: options.Dev = False,
) -> None:
    """Make a deployment: a folder with config.toml, the database and the package store.

    PATH may hold nothing but a config.toml.
    """
    if delete and exists_ok:
        raise BadOption("--delete and --exists-ok contradict each other; choose one")
    create_deployment(path, copy_conf, create_conf, delete, keep=exists_ok, dev=dev)


def create_deployment(
    path: Path, copy_conf: Path | None, create_conf: bool, delete: bool, *, keep: bool, dev: bool
) -> bool:
    """Create the deployment, and print the API key of a --dev one; return False if it is kept."""
    from quetz.cli.creation import Creation
    from quetz.cli.removal import is_complete
    from quetz.settings import load_settings

    if keep and is_complete(path):
        if dev and not load_settings(path).general.dev:
            raise BadOption(f"'{path}' was not created with --dev; leave the option out")
        typer.echo(f"'{path}' is a deployment already; left as it is", err=True)
        return False
    key = Creation(path, copy_conf, create_conf=create_conf, replace=delete, dev=dev).run()
    typer.echo(f"Created the deployment '{path}'", err=True)
    if key:
        print_key(key)
    return True


def print_key(key: str) -> None:
    typer.echo(f"QUETZ_API_KEY={key}")


@commands.command()
def delete(
    path: options.Deployment,
    force: Annotated[bool, typer.Option("--force/--no-force", help="Do not ask.")] = False,
) -> None:
    """Delete a deployment: its folder with config.toml, database, packages and log.

    A folder that holds anything else is left alone, and so is what lies outside.
    """
    from quetz.cli.locks import changing
    from quetz.cli.removal import check_removable, remove_deployment
    from quetz.deployment import is_deployment

    if not is_deployment(path):
        raise DeploymentNotFound(path)
    if path.is_symlink():
        command = f"quetz delete {quote(str(path.resolve()))}"
        raise NotDeletable(path, f"is a link; delete the folder it leads to: {command}")
    check_removable(path)
    if not force:
        if not sys.stdin.isatty():
            raise BadOption(f"to delete '{path}' without being asked, add --force")
        typer.confirm(f"Delete '{path}' with all its packages?", abort=True, err=True)
    with changing(path):
        check_removable(path)  # again: an answer takes its time
        remove_deployment(path.resolve())
    typer.echo(f"Deleted '{path}'", err=True)
