"""``quetz add-user-roles``."""

from typing import TYPE_CHECKING

import typer

from quetz.cli import options
from quetz.cli.operators import opened

if TYPE_CHECKING:
    from quetz.deployment import Deployment

commands = typer.Typer()


@commands.command()
def add_user_roles(path: options.Deployment) -> None:
    r"""Give users the roles that \[users] admins, maintainers and members list.

    Only users who have no role, or the default_role, get one, and only a higher one.
    """
    with opened(path) as deployment:
        give_roles(deployment)


def give_roles(deployment: "Deployment") -> None:
    """Give the listed roles, and warn of those who are not known yet."""
    from quetz.services.identities import give_listed_roles

    users = deployment.settings.users
    if not (users.admins or users.maintainers or users.members):
        return
    with deployment.transaction(write=True) as session:
        unknown = give_listed_roles(session, users)
    for entry in unknown:
        typer.echo(
            f"Warning: no user '{entry}' is known; whoever first logs in so gets the role then",
            err=True,
        )
