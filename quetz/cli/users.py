"""``quetz user``."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quetz.cli.operators import (
    changing,
    confirm,
    opened,
    print_document,
    print_new_key,
    print_rows,
    reading,
    tell,
)
from quetz.cli.options import AsJson, ByOption, InFolder, Query, Username, Yes
from quetz.services.operations import Role

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from quetz.db.models import User

commands = typer.Typer(help="Users of a deployment.", no_args_is_help=True)


class AnyRole(StrEnum):
    OWNER = "owner"
    MAINTAINER = "maintainer"
    MEMBER = "member"
    NONE = "none"


@commands.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The new user's name.")],
    path: InFolder = None,
    role: Annotated[
        Role | None,
        typer.Option("--role", help="A role on the server; \\[users] default_role if left out."),
    ] = None,
    deployment: ByOption = None,
    as_json: AsJson = False,
) -> None:
    """Add a user and print an API key with all his rights, which is not shown again.

    This is how the first owner of a server is made.
    """
    with opened(path, deployment) as place, place.transaction(write=True) as session:
        given = role or place.settings.users.default_role
        made = _create(session, name, given, service=False)
    _print_created("user", made, as_json=as_json)


@commands.command()
def service(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The new account's name.")],
    path: InFolder = None,
    role: Annotated[
        Role | None, typer.Option("--role", help="A role on the server; none if left out.")
    ] = None,
    deployment: ByOption = None,
    as_json: AsJson = False,
) -> None:
    """Add a service account, which nobody logs in by, and print an API key with all its rights."""
    with changing(path, deployment) as session:
        made = _create(session, name, role, service=True)
    _print_created("service account", made, as_json=as_json)


@commands.command("list")
def list_users(
    path: InFolder = None,
    text: Query = "",
    deployment: ByOption = None,
    as_json: AsJson = False,
) -> None:
    """List the users by name, with their roles on the server. Deleted ones are left out."""
    from quetz.db.queries.users import UserFilter
    from quetz.services import accounts

    with reading(path, deployment) as session:
        rows = [_document(user) for user in accounts.list_users(session, UserFilter(text=text))]
    nothing = "There is no such user" if text else "There is no user yet"
    print_rows(rows, lambda row: (row["username"], _told(row)), nothing=nothing, as_json=as_json)


@commands.command()
def show(
    name: Username, path: InFolder = None, deployment: ByOption = None, as_json: AsJson = False
) -> None:
    """Show a user: his role on the server, and those in channels and packages."""
    from quetz.db.queries.users import get_user
    from quetz.services import accounts
    from quetz.services.permissions import principal_of

    with reading(path, deployment) as session:
        user = get_user(session, name)
        own = principal_of(user)
        row = _document(user)
        row["channels"] = [
            {"name": channel.name, "role": role}
            for channel, role in accounts.list_channels_of(session, own, user)
        ]
        row["packages"] = [
            {"name": package.name, "channel_name": channel.name, "role": role}
            for package, channel, role in accounts.list_packages_of(session, own, user)
        ]
    lines = [f"{row['username']}  {_told(row)}"]
    lines += [f"channel {place['name']}: {place['role']}" for place in row["channels"]]
    lines += [
        f"package {place['channel_name']}/{place['name']}: {place['role']}"
        for place in row["packages"]
    ]
    print_document(row, lines, as_json=as_json)


@commands.command("role")
def set_role(
    name: Username,
    role: Annotated[AnyRole, typer.Argument(metavar="ROLE", help="The role, or none.")],
    path: InFolder = None,
    deployment: ByOption = None,
    as_json: AsJson = False,
) -> None:
    """Give a user a role on the server: owner, maintainer, member, or none."""
    from quetz.services.accounts import set_role
    from quetz.services.permissions import OPERATOR

    given = None if role is AnyRole.NONE else Role(role)
    with changing(path, deployment) as session:
        set_role(session, OPERATOR, name, given)
    sentence = f"'{name}' has {_role_told(given)} on the server"
    tell({"username": name, "role": given}, sentence, as_json=as_json)


@commands.command()
def delete(
    name: Username,
    path: InFolder = None,
    yes: Yes = False,
    deployment: ByOption = None,
    as_json: AsJson = False,
) -> None:
    """Delete a user for good: his sessions and API keys end at once, his name stays taken."""
    from quetz.services.accounts import delete_user
    from quetz.services.permissions import OPERATOR

    confirm(f"the user '{name}'", yes=yes)
    with changing(path, deployment) as session:
        delete_user(session, OPERATOR, name)
    tell({"deleted": name}, f"Deleted the user '{name}'", as_json=as_json)


def _create(
    session: "Session", name: str, role: str | None, *, service: bool
) -> tuple[dict[str, Any], str]:
    """Add a user; return what there is to say of him, and a new key of his."""
    from quetz.services.accounts import create_user
    from quetz.services.api_keys import create_api_key
    from quetz.services.permissions import OPERATOR

    given = Role(role) if role else None
    user = create_user(session, OPERATOR, name, role=given, service=service)
    made_by = "quetz user service" if service else "quetz user create"
    new = create_api_key(session, OPERATOR, user, description=made_by, expires_at=None, scopes=None)
    return _document(user), new.key


def _print_created(kind: str, made: tuple[dict[str, Any], str], *, as_json: bool) -> None:
    document, key = made
    role = _role_told(document["role"])
    sentence = f"Created the {kind} '{document['username']}' with {role} on the server"
    print_new_key(document, key, sentence, as_json=as_json)


def _document(user: "User") -> dict[str, Any]:
    return {
        "id": user.public_id,
        "username": user.username,
        "name": user.name,
        "role": user.role,
        "service": user.service,
        "created_at": user.created_at,
    }


def _told(row: dict[str, Any]) -> str:
    parts = [row["role"] or "no role", "service account" if row["service"] else ""]
    return ", ".join(filter(None, parts))


def _role_told(role: str | None) -> str:
    return f"the role {role}" if role else "no role"
