"""``quetz package``."""

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
from quetz.services.texts import YANK_REASON_LENGTH

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from quetz.db.models import Channel, File, Package

commands = typer.Typer(help="Packages of a deployment.", no_args_is_help=True)
members = typer.Typer(help="Members of a package.", no_args_is_help=True)
commands.add_typer(members, name="members")

InChannel = Annotated[str, typer.Argument(metavar="CHANNEL", help="The channel's name.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The package's name.")]
OneFile = Annotated[
    str, typer.Argument(metavar="FILE", help="Such as linux-64/numpy-2.1.0-0.conda.")
]


@commands.command("list")
def list_packages(
    channel: InChannel,
    path: options.InFolder = None,
    text: options.Query = "",
    deployment: options.ByOption = None,
    as_json: options.AsJson = False,
) -> None:
    """List the packages of a channel by name, with the newest version and the number of files."""
    from quetz.db.queries import packages
    from quetz.db.queries.channels import get_channel
    from quetz.db.queries.windows import EVERYTHING
    from quetz.services.packages import packages_to_list

    with reading(path, deployment) as session:
        wanted = packages_to_list(get_channel(session, channel), text=text)
        rows = [_document(found) for found in packages.list_packages(session, wanted, EVERYTHING)]
    print_rows(rows, _cells, nothing="There is no such package", as_json=as_json)


@commands.command()
def show(
    channel: InChannel,
    name: Name,
    path: options.InFolder = None,
    deployment: options.ByOption = None,
    as_json: options.AsJson = False,
) -> None:
    """Show a package and its files, the newest version first."""
    from quetz.db.queries.channels import get_channel
    from quetz.db.queries.packages import get_package
    from quetz.services import files

    with reading(path, deployment) as session:
        package = get_package(session, get_channel(session, channel), name)
        ids = files.list_file_ids(session, package, files.FileFilter())
        found = [_file_document(row[0]) for row in files.list_files(session, ids)]
        document = _document(package) | {"files": found}
    shown = ("name", "summary", "url", "current_version")
    lines = (f"{key.replace('_', ' ')}: {document[key] or '-'}" for key in shown)
    print_document(document, lines, as_json=as_json)
    if not as_json:
        print_rows(found, _file_cells, nothing="It has no files", as_json=False)


@commands.command()
def delete(
    channel: InChannel,
    name: Name,
    path: options.InFolder = None,
    yes: options.Yes = False,
    deployment: options.ByOption = None,
    as_json: options.AsJson = False,
) -> None:
    """Delete a package with all its files, whose names stay reserved for their bytes."""
    from quetz.db.queries.channels import get_channel
    from quetz.db.queries.packages import get_package
    from quetz.services.packages import delete_package
    from quetz.services.permissions import OPERATOR

    confirm(f"the package '{channel}/{name}' with all its files", yes=yes)
    with opened(path, deployment) as server, server.transaction(write=True) as session:
        place = get_channel(session, channel)
        keep = server.settings.storage.soft_delete_package
        delete_package(session, OPERATOR, place, get_package(session, place, name), keep=keep)
    tell({"deleted": name}, f"Deleted the package '{channel}/{name}'", as_json=as_json)


@commands.command("yank")
def yank_file(
    channel: InChannel,
    file: OneFile,
    path: options.InFolder = None,
    reason: Annotated[
        str | None,
        typer.Option(
            "--reason",
            metavar="TEXT",
            help="Why; for all who may read the channel.",
            callback=options.at_most(YANK_REASON_LENGTH),
        ),
    ] = None,
    deployment: options.ByOption = None,
    as_json: options.AsJson = False,
) -> None:
    """Take a file out of the indexes; it can still be downloaded."""
    from quetz.services import yanks as service
    from quetz.services.permissions import OPERATOR

    with changing(path, deployment) as session:
        place, found = _find(session, channel, file)
        service.yank_file(session, OPERATOR, place, found, reason=reason)
        document = _file_document(found)
    tell(document, f"'{channel}/{file}' is yanked", as_json=as_json)


@commands.command("restore")
def restore_file(
    channel: InChannel,
    file: OneFile,
    path: options.InFolder = None,
    deployment: options.ByOption = None,
    as_json: options.AsJson = False,
) -> None:
    """Put a file that was yanked back into the indexes."""
    from quetz.services import yanks as service
    from quetz.services.permissions import OPERATOR

    with changing(path, deployment) as session:
        place, found = _find(session, channel, file)
        service.restore_file(session, OPERATOR, place, found)
        document = _file_document(found)
    tell(document, f"'{channel}/{file}' is in the indexes", as_json=as_json)


@commands.command("copy")
def copy_file(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="The channel to copy from.")],
    file: OneFile,
    channel: Annotated[str, typer.Argument(metavar="CHANNEL", help="The channel to copy to.")],
    path: options.InFolder = None,
    force: Annotated[
        bool, typer.Option("--force/--no-force", help="Replace a file of the same name.")
    ] = False,
    deployment: options.ByOption = None,
    as_json: options.AsJson = False,
) -> None:
    """Make a file of one channel part of another as well; no bytes are moved."""
    from quetz.services import copies as service
    from quetz.services.objects import check_stored
    from quetz.services.permissions import OPERATOR

    named = service.Source(source, *_parts(file))
    with opened(path, deployment) as found:
        with found.transaction() as session:
            asked = service.find_source(session, found.plugins, OPERATOR, channel, named)
        with found.transaction(write=True) as session:
            outcome = service.copy_file(
                session, found.plugins, OPERATOR, channel, named, asked=asked, force=force
            )
            check_stored(found.store, [outcome.sha256])
    copied = outcome.change is not None
    sentence = f"Copied '{source}/{file}' to '{channel}'"
    if not copied:
        sentence = f"'{channel}' has the same bytes as '{file}' already"
    tell({"sha256": outcome.sha256, "copied": copied}, sentence, as_json=as_json)


@members.command("list")
def list_members(
    channel: InChannel,
    name: Name,
    path: options.InFolder = None,
    deployment: options.ByOption = None,
    as_json: options.AsJson = False,
) -> None:
    """List who has a role in a package, and which, by name."""
    from quetz.db.queries.channels import get_channel
    from quetz.db.queries.packages import get_package
    from quetz.services import package_members as service

    with reading(path, deployment) as session:
        package = get_package(session, get_channel(session, channel), name)
        rows = service.list_members(session, package)
    print_members(rows, as_json=as_json)


@members.command("add")
def add_member(
    channel: InChannel,
    name: Name,
    username: options.Username,
    role: options.GivenRole,
    path: options.InFolder = None,
    deployment: options.ByOption = None,
    as_json: options.AsJson = False,
) -> None:
    """Give a user a role in a package; refuse one who has a role in it already."""
    from quetz.db.queries.channels import get_channel
    from quetz.services import package_members as service
    from quetz.services.permissions import OPERATOR

    with changing(path, deployment) as session:
        place = get_channel(session, channel)
        service.add_member(session, OPERATOR, place, name, username, role=role)
    sentence = f"'{username}' has the role {role} in the package '{channel}/{name}'"
    tell({"username": username, "role": role}, sentence, as_json=as_json)


@members.command("remove")
def remove_member(
    channel: InChannel,
    name: Name,
    username: options.Username,
    path: options.InFolder = None,
    deployment: options.ByOption = None,
    as_json: options.AsJson = False,
) -> None:
    """Take a user's role in a package away."""
    from quetz.db.queries.channels import get_channel
    from quetz.services import package_members as service
    from quetz.services.permissions import OPERATOR

    with changing(path, deployment) as session:
        place = get_channel(session, channel)
        service.remove_member(session, OPERATOR, place, name, username)
    sentence = f"'{username}' has no role in the package '{channel}/{name}' any more"
    tell({"removed": username}, sentence, as_json=as_json)


def _find(session: "Session", channel: str, file: str) -> "tuple[Channel, File]":
    from quetz.db.queries.channels import get_channel
    from quetz.services.files import get_file

    place = get_channel(session, channel)
    return place, get_file(session, place, *_parts(file))


def _parts(file: str) -> tuple[str, str, str]:
    """Return the name of the package, the subdir and the name of the file."""
    from quetz.conda.filenames import PackageFilename

    subdir, _, filename = file.rpartition("/")
    return PackageFilename.parse(filename).name, subdir, filename


def _document(package: "Package") -> dict[str, Any]:
    return {
        "name": package.name,
        "summary": package.summary,
        "description": package.description,
        "url": package.url,
        "platforms": package.platforms.split(),
        "current_version": package.current_version,
        "changed_at": package.latest_change,
        "files_count": package.files_count,
    }


def _cells(row: dict[str, Any]) -> tuple[object, ...]:
    platforms = ", ".join(row["platforms"])
    return row["name"], row["current_version"], f"{row['files_count']} files", platforms


def _file_document(file: "File") -> dict[str, Any]:
    return {
        "platform": file.subdir,
        "filename": file.filename,
        "version": file.version,
        "size": file.size,
        "sha256": file.sha256,
        "uploaded_at": file.uploaded_at,
        "yanked_at": file.yanked_at,
        "yank_reason": file.yank_reason,
    }


def _file_cells(row: dict[str, Any]) -> tuple[object, ...]:
    yanked = (
        "" if row["yanked_at"] is None else f"yanked: {row['yank_reason'] or 'no reason given'}"
    )
    return f"{row['platform']}/{row['filename']}", row["size"], yanked
