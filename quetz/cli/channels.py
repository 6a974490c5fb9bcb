"""``quetz channel``."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from quetz.cli import options
from quetz.cli.operators import (
    changing,
    confirm,
    opened,
    print_document,
    print_members,
    print_rows,
    reading,
    tell,
)
from quetz.errors import BadOption
from quetz.services.texts import CHANNEL_DESCRIPTION_LENGTH

if TYPE_CHECKING:
    from quetz.db.models import Channel
    from quetz.services.channels import ChannelChanges

commands = typer.Typer(help="Channels of a deployment.", no_args_is_help=True)
members = typer.Typer(help="Members of a channel.", no_args_is_help=True)
commands.add_typer(members, name="members")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The channel's name.")]
SizeLimit = Annotated[
    int | None,
    typer.Option("--size-limit", metavar="BYTES", min=0, max=2**63 - 1, help="What it may hold."),
]
Ttl = Annotated[
    int | None,
    typer.Option("--ttl", metavar="SECONDS", min=0, max=2**31 - 1, help="Its ttl in seconds."),
]


@commands.command("list")
def list_channels(
    path: options.InFolder = None,
    text: options.Query = "",
    deployment: options.ByOption = None,
    as_json: options.AsJson = False,
) -> None:
    """List all channels by name: who sees them, packages, members, size and limit in bytes."""
    from quetz.services import channels as service
    from quetz.services.permissions import OPERATOR

    with reading(path, deployment) as session:
        wanted = service.channels_to_list(OPERATOR, text=text)
        rows = [_document(*row) for row in service.list_channels(session, wanted)]
    print_rows(rows, _cells, nothing="There is no such channel", as_json=as_json)


@commands.command()
def show(
    name: Name,
    path: options.InFolder = None,
    deployment: options.ByOption = None,
    as_json: options.AsJson = False,
) -> None:
    """Show a channel and its settings, one a line."""
    from quetz.db.queries.channels import get_channel
    from quetz.db.queries.members import count_channel_members

    with reading(path, deployment) as session:
        channel = get_channel(session, name)
        document = _document(channel, count_channel_members(session, channel.id))
    lines = (
        f"{key.replace('_', ' ')}: {'-' if value is None else value}"
        for key, value in document.items()
    )
    print_document(document, lines, as_json=as_json)


@commands.command()
def create(
    name: Name,
    path: options.InFolder = None,
    description: Annotated[
        str | None,
        typer.Option(
            "--description",
            metavar="TEXT",
            help="What it is for.",
            callback=options.at_most(CHANNEL_DESCRIPTION_LENGTH),
        ),
    ] = None,
    private: Annotated[
        bool, typer.Option("--private/--public", help="Whether only members see it.")
    ] = True,
    size_limit: SizeLimit = None,
    ttl: Ttl = None,
    deployment: options.ByOption = None,
    as_json: options.AsJson = False,
) -> None:
    """Add an empty channel without members; a private one unless --public is given."""
    from quetz.services import channels as service
    from quetz.services.permissions import OPERATOR

    new = service.NewChannel(
        name,
        description=description,
        private=private,
        size_limit=size_limit,
        ttl=service.TTL_SECONDS if ttl is None else ttl,
    )
    with opened(path, deployment) as found, found.transaction(write=True) as session:
        quota = found.settings.quotas.channel_quota
        document = _document(service.create_channel(session, OPERATOR, new, quota=quota), 0)
    tell(document, f"Created the channel '{document['name']}'", as_json=as_json)


@commands.command("set")
def set_channel(
    name: Name,
    path: options.InFolder = None,
    private: Annotated[
        bool | None, typer.Option("--private/--public", help="Whether only members see it.")
    ] = None,
    size_limit: SizeLimit = None,
    no_size_limit: Annotated[
        bool, typer.Option("--no-size-limit", help="Let it hold any number of bytes.")
    ] = False,
    ttl: Ttl = None,
    deployment: options.ByOption = None,
    as_json: options.AsJson = False,
) -> None:
    """Change settings of a channel; those that are left out stay as they are."""
    from quetz.db.queries.channels import get_channel
    from quetz.db.queries.members import count_channel_members
    from quetz.services import channels as service
    from quetz.services.permissions import OPERATOR

    changes = _changes(private, size_limit, no_size_limit, ttl)
    with changing(path, deployment) as session:
        channel = get_channel(session, name)
        service.patch_channel(session, OPERATOR, channel, changes)
        document = _document(channel, count_channel_members(session, channel.id))
    tell(document, f"Changed the channel '{document['name']}'", as_json=as_json)


@commands.command()
def delete(
    name: Name,
    path: options.InFolder = None,
    yes: options.Yes = False,
    deployment: options.ByOption = None,
    as_json: options.AsJson = False,
) -> None:
    """Delete a channel with all its packages."""
    from quetz.db.queries.channels import get_channel
    from quetz.services.channels import delete_channel
    from quetz.services.permissions import OPERATOR

    confirm(f"the channel '{name}' with all its packages", yes=yes)
    with opened(path, deployment) as server, server.transaction(write=True) as session:
        keep = server.settings.storage.soft_delete_channel
        delete_channel(session, OPERATOR, get_channel(session, name), keep=keep)
    tell({"deleted": name}, f"Deleted the channel '{name}'", as_json=as_json)


@members.command("list")
def list_members(
    name: Name,
    path: options.InFolder = None,
    deployment: options.ByOption = None,
    as_json: options.AsJson = False,
) -> None:
    """List who has a role in a channel, and which, by name."""
    from quetz.db.queries.channels import get_channel
    from quetz.services import members as service

    with reading(path, deployment) as session:
        rows = service.list_members(session, get_channel(session, name))
    print_members(rows, as_json=as_json)


@members.command("set")
def set_member(
    name: Name,
    username: options.Username,
    role: options.GivenRole,
    path: options.InFolder = None,
    deployment: options.ByOption = None,
    as_json: options.AsJson = False,
) -> None:
    """Give a user a role in a channel, in place of the one he may have."""
    from quetz.db.queries.channels import get_channel
    from quetz.services import members as service
    from quetz.services.permissions import OPERATOR

    with changing(path, deployment) as session:
        channel = get_channel(session, name)
        service.set_member(session, OPERATOR, channel, username, role)
    sentence = f"'{username}' has the role {role} in the channel '{name}'"
    tell({"username": username, "role": role}, sentence, as_json=as_json)


@members.command("remove")
def remove_member(
    name: Name,
    username: options.Username,
    path: options.InFolder = None,
    deployment: options.ByOption = None,
    as_json: options.AsJson = False,
) -> None:
    """Take a user's role in a channel away."""
    from quetz.db.queries.channels import get_channel
    from quetz.services import members as service
    from quetz.services.permissions import OPERATOR

    with changing(path, deployment) as session:
        service.remove_member(session, OPERATOR, get_channel(session, name), username)
    sentence = f"'{username}' has no role in the channel '{name}' any more"
    tell({"removed": username}, sentence, as_json=as_json)


def _changes(
    private: bool | None, size_limit: int | None, no_size_limit: bool, ttl: int | None
) -> "ChannelChanges":
    if size_limit is not None and no_size_limit:
        raise BadOption("--size-limit and --no-size-limit contradict each other; choose one")
    changes: ChannelChanges = {}
    if private is not None:
        changes["private"] = private
    if size_limit is not None or no_size_limit:
        changes["size_limit"] = size_limit
    if ttl is not None:
        changes["ttl"] = ttl
    if not changes:
        raise BadOption(
            "nothing is to be changed; give --public, --private, --size-limit, --no-size-limit "
            "or --ttl"
        )
    return changes


def _document(channel: "Channel", members_count: int) -> dict[str, Any]:
    return {
        "name": channel.name,
        "description": channel.description,
        "private": channel.private,
        "size": channel.size,
        "size_limit": channel.size_limit,
        "ttl": channel.ttl,
        "packages_count": channel.packages_count,
        "members_count": members_count,
    }


def _cells(row: dict[str, Any]) -> tuple[object, ...]:
    return (
        row["name"],
        "private" if row["private"] else "public",
        f"{row['packages_count']} packages",
        f"{row['members_count']} members",
        row["size"],
        row["size_limit"],
    )
