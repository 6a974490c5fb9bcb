"""``quetz user``."""

from contextlib import closing
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

commands = typer.Typer(help="Users of a deployment.", no_args_is_help=True)


class ServerRole(StrEnum):
    OWNER = "owner"
    MAINTAINER = "maintainer"
    MEMBER = "member"


@commands.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The new user's name.")],
    path: Annotated[
        Path, typer.Argument(metavar="[PATH]", help="The deployment's folder.", show_default=False)
    ] = Path(),
    role: Annotated[
        ServerRole | None,
        typer.Option("--role", help="A role on the server; \\[users] default_role if left out."),
    ] = None,
    deployment: Annotated[
        Path | None, typer.Option("--deployment", metavar="PATH", help="The same as PATH.")
    ] = None,
) -> None:
    """Add a user and print an API key with all his rights, which is not shown again.

    This is how the first owner of a server is made.
    """
    from quetz.deployment import Deployment
    from quetz.services.accounts import create_user
    from quetz.services.api_keys import create_api_key
    from quetz.services.permissions import OPERATOR, Role

    with (
        closing(Deployment.open(deployment or path)) as opened,
        opened.transaction(write=True) as session,
    ):
        given = role or opened.settings.users.default_role
        user = create_user(session, OPERATOR, name, role=Role(given) if given else None)
        new = create_api_key(
            session, OPERATOR, user, description="quetz user create", expires_at=None, scopes=None
        )
    typer.echo(
        f"Created the user '{name}' with {f'the role {given}' if given else 'no role'} on the "
        "server; keep the key, it is not shown again",
        err=True,
    )
    typer.echo(new.key)
