"""The command ``quetz``."""

from typing import Annotated

import typer

from quetz import __version__
from quetz.cli import (
    audit,
    backups,
    bulk,
    channels,
    collecting,
    deployments,
    fsck,
    keys,
    make_migrations,
    migrations,
    new_plugin,
    packages,
    plugins,
    schema,
    serving,
    user_roles,
    users,
    whole_backups,
)
from quetz.cli.outcomes import Commands

app = typer.Typer(
    cls=Commands, no_args_is_help=True, rich_markup_mode="rich", pretty_exceptions_enable=False
)
for module in (
    deployments,
    serving,
    migrations,
    make_migrations,
    user_roles,
    bulk,
    collecting,
    fsck,
    whole_backups,
):
    app.registered_commands += module.commands.registered_commands
app.add_typer(users.commands, name="user")
app.add_typer(channels.commands, name="channel")
app.add_typer(packages.commands, name="package")
app.add_typer(audit.commands, name="audit")
app.add_typer(keys.commands, name="key")
plugins.commands.registered_commands += new_plugin.commands.registered_commands
app.add_typer(plugins.commands, name="plugin")
schema.commands.registered_commands += backups.commands.registered_commands
app.add_typer(schema.commands, name="migrations")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"quetz {__version__}")
        raise typer.Exit


@app.callback()
def quetz(
    version: Annotated[  # its callback prints it
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
    debug: Annotated[  # read by Commands
        bool, typer.Option("--debug", help="Show the traceback of an error.")
    ] = False,
) -> None:
    """A self-hosted server for conda packages."""
