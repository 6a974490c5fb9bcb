"""``quetz key``."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quetz.cli.operators import changing, opened, print_document, print_new_key, reading, tell
from quetz.cli.options import AsJson, ByOption, InFolder, Username, at_most
from quetz.errors import BadOption
from quetz.services.operations import Role, Verb
from quetz.services.texts import KEY_DESCRIPTION_LENGTH

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from quetz.db.models import ApiKey
    from quetz.deployment import Deployment
    from quetz.services.api_keys import NamedScope

commands = typer.Typer(help="API keys of a deployment's users.", no_args_is_help=True)


Description = Annotated[
    str,
    typer.Option(
        "--description",
        help="What the key is for.",
        callback=at_most(KEY_DESCRIPTION_LENGTH),
    ),
]
Days = Annotated[
    int | None,
    typer.Option(
        "--days",
        min=0,
        max=36_500,
        help="How many days it is good for, 0 for ever; \\[keys] default_days if left out.",
    ),
]
Roles = Annotated[
    list[str] | None,
    typer.Option(
        "--role",
        metavar="PLACE=ROLE",
        help="A role that it may use, in a channel or package: forge=maintainer or "
        "forge/numpy=owner; may be repeated. All of the user's if left out.",
    ),
]
Verbs = Annotated[
    list[Verb] | None,
    typer.Option(
        "--verb", help="A kind of deeds that it is good for; may be repeated. All if left out."
    ),
]
ReadOnly = Annotated[bool, typer.Option("--read-only/--no-read-only", help="It changes nothing.")]


@commands.command()
def create(
    user: Username,
    path: InFolder = None,
    description: Description = "quetz key create",
    days: Days = None,
    roles: Roles = None,
    verbs: Verbs = None,
    read_only: ReadOnly = False,
    deployment: ByOption = None,
    as_json: AsJson = False,
) -> None:
    """Make an API key of a user, and print it; it is not shown again."""
    from quetz.db.queries.users import get_user
    from quetz.services import api_keys as service
    from quetz.services.permissions import OPERATOR, principal_of

    named = [_named_scope(text) for text in roles or ()]
    with opened(path, deployment) as place, place.transaction(write=True) as session:
        owner = get_user(session, user)
        new = service.create_api_key(
            session,
            OPERATOR,
            owner,
            description=description,
            expires_at=_expires_at(place, days),
            scopes=service.find_scopes(session, principal_of(owner), named) or None,
            read_only=read_only,
            verbs=verbs or None,
        )
        [shown] = _documents(session, [new.row])
    until = f"good until {shown['expire_at']}" if shown["expire_at"] else "good for ever"
    print_new_key(shown, new.key, f"Made a key of '{user}', {until}", as_json=as_json)


@commands.command("list")
def list_keys(
    user: Username, path: InFolder = None, deployment: ByOption = None, as_json: AsJson = False
) -> None:
    """List a user's API keys that were not revoked, the newest first, by their ids."""
    from quetz.db.queries.users import get_user
    from quetz.services.api_keys import list_keys_of

    with reading(path, deployment) as session:
        keys = _documents(session, list_keys_of(session, get_user(session, user)))
    nothing = f"'{user}' has no API key"
    print_document(keys, map(_line, keys), nothing=nothing, as_json=as_json)


@commands.command()
def revoke(
    key: Annotated[str, typer.Argument(metavar="KEY", help="The key's id, or its full text.")],
    path: InFolder = None,
    deployment: ByOption = None,
    as_json: AsJson = False,
) -> None:
    """Revoke an API key; a running server takes it no more within a second."""
    from quetz.services.api_keys import revoke_api_key
    from quetz.services.permissions import OPERATOR

    with changing(path, deployment) as session:
        public_id = revoke_api_key(session, OPERATOR, key)
    tell({"revoked": public_id}, f"Revoked the API key {public_id}", as_json=as_json)


def _named_scope(text: str) -> "NamedScope":
    from quetz.services.api_keys import NamedScope

    place, _, role = text.rpartition("=")
    channel, slash, package = place.partition("/")
    if not channel or role not in set(Role):
        raise BadOption(
            f"--role '{text}' is not a place and a role such as forge=maintainer or "
            "forge/numpy=owner; roles are member, maintainer and owner"
        )
    return NamedScope(channel, package if slash else None, Role(role))


def _expires_at(place: "Deployment", days: int | None) -> int | None:
    from quetz.services.api_keys import default_last_day, end_of_day

    if days is None:
        last_day = default_last_day(place.settings.keys)
    else:
        last_day = datetime.now(UTC).date() + timedelta(days=days) if days else None
    return None if last_day is None else end_of_day(last_day)


def _documents(session: "Session", keys: "Sequence[ApiKey]") -> list[dict[str, Any]]:
    from quetz.services import api_keys as service
    from quetz.services import authentication

    scopes = service.name_scopes(session, keys)
    return [
        {
            "id": key.public_id,
            "description": key.description,
            "created_at": key.created_at,
            "expire_at": _text_of(service.last_day(key)),
            "expired": authentication.has_expired(key),
            "last_used_at": key.last_used_at,
            "roles": _roles(scopes[key.public_id]),
            "verbs": authentication.verbs_of(key),
            "read_only": key.read_only,
        }
        for key in keys
    ]


def _roles(scopes: "Sequence[NamedScope] | None") -> list[dict[str, str | None]] | None:
    if scopes is None:
        return None
    return [
        {"channel": scope.channel, "package": scope.package, "role": scope.role} for scope in scopes
    ]


def _text_of(value: object) -> str | None:
    return None if value is None else str(value)


def _line(key: dict[str, Any]) -> str:
    limits = [
        "expired" if key["expired"] else f"until {key['expire_at'] or 'ever'}",
        "roles " + _places(key["roles"]),
        "verbs " + ("all" if key["verbs"] is None else ",".join(key["verbs"])),
        *(["read-only"] if key["read_only"] else []),
    ]
    return f"{key['id']}  {'; '.join(limits)}  {key['description']!r}"


def _places(roles: list[dict[str, str | None]] | None) -> str:
    if roles is None:
        return "all"
    return ",".join(
        "/".join(filter(None, (role["channel"], role["package"]))) + f"={role['role']}"
        for role in roles
    )
