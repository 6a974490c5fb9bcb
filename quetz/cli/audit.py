"""``quetz audit``."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quetz.cli.operators import print_document, reading
from quetz.cli.options import AsJson, ByOption, InFolder
from quetz.cli.redaction import json_of
from quetz.errors.audit import SealBroken

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from quetz.db.models import Event

commands = typer.Typer(help="The audit log: who changed what.", no_args_is_help=True)

Since = Annotated[
    int | None,
    typer.Option(
        metavar="POSITION",
        min=0,
        max=2**63 - 1,
        help="Only events after it, the oldest first.",
    ),
]
Action = Annotated[str | None, typer.Option(help="Only these, such as file.upload.")]
Actor = Annotated[str | None, typer.Option(metavar="USER", help="Only what this user did.")]
ChannelName = Annotated[
    str | None, typer.Option("--channel", metavar="NAME", help="Only of channels of this name.")
]


@commands.command("list")
def list_events(
    path: InFolder = None,
    since: Since = None,
    limit: Annotated[
        int, typer.Option(metavar="COUNT", min=1, max=2**31 - 1, help="Print no more.")
    ] = 100,
    action: Action = None,
    actor: Actor = None,
    channel: ChannelName = None,
    deployment: ByOption = None,
    as_json: AsJson = False,
) -> None:
    """Print events, the newest first."""
    from quetz.db.queries.events import EventFilter
    from quetz.services import events as service

    with _opened(path, deployment) as session:
        actions = () if action is None else (action,)
        wanted = EventFilter(actions=actions, actor=actor, channel=channel)
        found = service.list_events(session, wanted, since=since, limit=limit).events
    documents = [_document(event) for event in found]
    print_document(
        documents, map(_line, found), nothing="There is no such sealed event", as_json=as_json
    )


@commands.command()
def verify(path: InFolder = None, deployment: ByOption = None, as_json: AsJson = False) -> None:
    """Compute the seal of every event anew; end with 1 if one is not as it was sealed."""
    from quetz.db.queries.events import find_last_seal
    from quetz.services.seals import verify_seals

    with _opened(path, deployment) as session:
        broken = verify_seals(session)
        last = find_last_seal(session)
    position, seal = (0, None) if last is None else (last[0] or 0, last[1])
    if as_json:
        typer.echo(json_of({"broken": broken, "last_position": position, "last_seal": seal}))
    if broken is not None:
        raise SealBroken(broken)
    if not as_json:
        sealed = f"; the last of them has the seal {seal}" if seal else ""
        typer.echo(f"The audit log is sound: {position:,} events{sealed}")


@commands.command()
def export(
    path: InFolder = None,
    since: Since = None,
    deployment: ByOption = None,
    as_json: Annotated[  # noqa: ARG001  (commands of this kind take it)
        bool, typer.Option("--json", help="Print JSON lines, which is the only form.")
    ] = True,
) -> None:
    """Print all events in order, as a JSON document a line, exactly as they were sealed."""
    from quetz.services.seals import all_sealed

    with _opened(path, deployment) as session:
        for event in all_sealed(session, since=since or 0):
            typer.echo(json.dumps(_document(event), ensure_ascii=False))


@contextmanager
def _opened(path: Path | None, deployment: Path | None) -> Iterator["Session"]:
    """Open the deployment for reading; say what the log does not show yet."""
    from quetz.db.queries.events import count_unsealed

    with reading(path, deployment) as session:
        yield session
        waiting = count_unsealed(session)
    if waiting:
        typer.echo(
            f"{waiting:,} events are not sealed yet, and not shown; a running server seals them",
            err=True,
        )


def _document(event: "Event") -> dict[str, Any]:
    """Return an event with the fields of its seal, in their order, and the seal."""
    return {
        "position": event.position,
        "id": event.public_id,
        "at": event.at,
        "actor": event.actor,
        "api_key": event.api_key,
        "address": event.address,
        "action": event.action,
        "channel": event.channel,
        "channel_id": event.channel_id,
        "subject": event.subject,
        "before": event.before,
        "after": event.after,
        "seal": event.seal,
    }


def _line(event: "Event") -> str:
    at = datetime.fromtimestamp(event.at / 1000, tz=UTC)
    place = "/".join(part for part in (event.channel, event.subject) if part)
    key = f" with the key {event.api_key}" if event.api_key else ""
    address = f" from {event.address}" if event.address else ""
    return (
        f"{event.position:>8}  {at:%Y-%m-%d %H:%M:%S}Z  {event.action:22}  {place or '-'}  "
        f"by {event.actor}{key}{address}"
    )
