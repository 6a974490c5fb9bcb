"""Channels: made, listed, changed and deleted."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

from sqlalchemy import Row, false
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from quetz.conda.names import normal_channel_name
from quetz.crashpoints import crashpoint
from quetz.db.models import Channel
from quetz.db.queries import channels as queries
from quetz.db.queries import files, members
from quetz.db.queries.channels import ChannelFilter
from quetz.db.queries.windows import EVERYTHING, Window
from quetz.errors import BothLists, ChannelExists
from quetz.services.collecting import forget_channel
from quetz.services.events import record_event
from quetz.services.objects import end_references
from quetz.services.permissions import Operation, Principal, Role, authorize, visible_channels

TTL_SECONDS = 36000


@dataclass(frozen=True)
class NewChannel:
    """What a channel begins with; sizes in bytes, times in seconds."""

    name: str
    description: str | None = None
    private: bool = True
    size_limit: int | None = None
    ttl: int = TTL_SECONDS
    metadata: Mapping[str, Any] = field(default_factory=dict)


class ChannelChanges(TypedDict, total=False):
    """The settings to change; a ``size_limit`` of None is no limit."""

    private: bool
    size_limit: int | None
    ttl: int
    metadata: Mapping[str, Any]


def create_channel(
    session: Session, principal: Principal, new: NewChannel, *, quota: int | None = None
) -> Channel:
    """Add an empty channel whose owner is the caller.

    ``quota`` is its size limit where ``new`` names none.

    Raises:
        BadName: the name breaks the rule of channel names.
        ChannelExists: the name is taken, in any case.
        RoleRequired: the caller may not set a size limit.
        BothLists: the metadata have an includelist and an excludelist.
    """
    channel = Channel(
        name=normal_channel_name(new.name),
        description=new.description,
        private=new.private,
        size_limit=quota,
        ttl=new.ttl,
        channel_metadata=_merged({}, new.metadata),
    )
    try:
        with session.begin_nested():
            session.add(channel)
    except IntegrityError:
        raise ChannelExists(channel.name) from None
    if principal.user_id is not None:
        members.set_channel_role(session, principal.user_id, channel.id, Role.OWNER)
    if new.size_limit is not None:
        authorize(session, principal, Operation.CHANNEL_SET_SIZE_LIMIT, channel)
        channel.size_limit = new.size_limit
    record_event(session, principal, Operation.CHANNEL_CREATE, channel=channel)
    session.flush()
    return channel


def channels_to_list(principal: Principal, *, public: bool = True, text: str = "") -> ChannelFilter:
    """Return the filter for the channels that the caller sees.

    Without ``public``, for those only in which he has a role himself.
    """
    seen = visible_channels(principal)
    if not public:
        own = false() if principal.user_id is None else members.channels_of(principal.user_id)
        seen = seen & own
    return ChannelFilter(seen, text)


def list_channels(
    session: Session, wanted: ChannelFilter, window: Window = EVERYTHING
) -> Sequence[Row[Channel, int]]:
    """Return (channel, number of its members) by name."""
    return queries.list_channels(session, wanted, window)


def list_channels_after(
    session: Session, wanted: ChannelFilter, name: str, *, limit: int
) -> tuple[Sequence[Row[Channel, int]], list[str] | None]:
    """Return (channel, number of its members) by name, from behind a name.

    The name behind which more follow comes second.
    """
    rows = queries.list_channels(session, wanted, Window(limit=limit + 1), after=name)
    following = [rows[limit - 1][0].name] if len(rows) > limit else None
    return rows[:limit], following


def patch_channel(
    session: Session, principal: Principal, channel: Channel, changes: ChannelChanges
) -> Channel:
    """Change settings of a channel. Metadata are merged key by key; None takes a key away.

    Raises:
        RoleRequired: the caller may not make the channel public, or set its size limit.
        BothLists: the metadata would have an includelist and an excludelist.
    """
    queries.lock_channel(session, channel)
    if channel.private and not changes.get("private", True):
        authorize(session, principal, Operation.CHANNEL_MAKE_PUBLIC, channel)
    if "size_limit" in changes:
        authorize(session, principal, Operation.CHANNEL_SET_SIZE_LIMIT, channel)
    former = {key: _setting(channel, key) for key in changes}
    for key, value in changes.items():
        if key == "metadata":
            channel.channel_metadata = _merged(former[key], changes["metadata"])
        else:
            setattr(channel, key, value)
    # As texts, for Python takes true for 1.
    before = json.dumps(former)
    after = json.dumps({key: _setting(channel, key) for key in changes})
    if after == before:
        return channel
    record_event(
        session,
        principal,
        Operation.CHANNEL_PATCH,
        channel=channel,
        before=before,
        after=after,
    )
    session.flush()
    return channel


def delete_channel(
    session: Session, principal: Principal, channel: Channel, *, keep: bool = False
) -> None:
    """Delete a channel and all that belongs to it; a new one may take its name.

    ``keep`` keeps the objects of its files for good.

    Raises:
        ChannelNotFound: it was deleted meanwhile.
    """
    queries.lock_channel(session, channel)
    forget_channel(session, channel)
    end_references(session, files.list_hashes(session, channel.id), keep=keep)
    crashpoint("channel.deleting")
    queries.remove_channel(session, channel)
    record_event(session, principal, Operation.CHANNEL_DELETE, channel=channel)
    session.flush()


def _setting(channel: Channel, key: str) -> Any:
    return json.loads(channel.channel_metadata) if key == "metadata" else getattr(channel, key)


def _merged(stored: Mapping[str, Any], given: Mapping[str, Any]) -> str:
    merged = {key: value for key, value in {**stored, **given}.items() if value is not None}
    if "includelist" in merged and "excludelist" in merged:
        raise BothLists
    return json.dumps(merged)
