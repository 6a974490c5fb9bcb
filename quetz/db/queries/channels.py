"""Channels."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Row, bindparam, delete, func, select, update
from sqlalchemy.orm import Session

from quetz.conda.names import normal_channel_name
from quetz.db.models import Channel, ChannelMember, User
from quetz.db.queries.windows import Window, contains
from quetz.errors import BadName, ChannelNotFound

# Built once: every upload asks them, and building one takes longer than SQLite takes to answer.
_BY_NAME = select(Channel).where(Channel.name == bindparam("name"))
_LOCKED = (
    select(Channel)
    .where(Channel.id == bindparam("channel_id"))
    .with_for_update(key_share=True)
    .execution_options(populate_existing=True)
)
_COUNT_UP = (
    update(Channel)
    .where(Channel.id == bindparam("channel_id"))
    .values(
        size=Channel.size + bindparam("more_size"),
        packages_count=Channel.packages_count + bindparam("more_packages"),
    )
)


@dataclass(frozen=True)
class ChannelFilter:
    """Which channels to list: ``seen`` is the condition that the caller sees one."""

    seen: ColumnElement[bool]
    text: str = ""

    @property
    def condition(self) -> ColumnElement[bool]:
        return self.seen & contains(Channel.name, self.text) if self.text else self.seen


def find_channel(session: Session, name: str) -> Channel | None:
    """Return the channel of this name, written in any case."""
    try:
        stored = normal_channel_name(name)
    except BadName:
        return None  # no channel has such a name, and PostgreSQL refuses to compare some
    return session.scalar(_BY_NAME, {"name": stored})


def get_channel(session: Session, name: str) -> Channel:
    """Raises ChannelNotFound."""
    channel = find_channel(session, name)
    if channel is None:
        raise ChannelNotFound(name)
    return channel


def lock_channel(session: Session, channel: Channel) -> None:
    """Hold the channel against other changes until this transaction ends.

    SQLite has one writer at a time anyway. On PostgreSQL, whoever changes the files, counters
    or members of a channel takes this lock first, so that no two wait for each other.

    Raises:
        ChannelNotFound: it was deleted meanwhile.
    """
    if session.scalar(_LOCKED, {"channel_id": channel.id}) is None:
        raise ChannelNotFound(channel.name)


def list_channels(
    session: Session, wanted: ChannelFilter, window: Window, *, after: str = ""
) -> Sequence[Row[Channel, int]]:
    """Return (channel, number of its members) by name; ``after`` begins behind a name."""
    members = (
        select(func.count())
        .select_from(ChannelMember)
        .join(User, User.id == ChannelMember.user_id)
        .where(ChannelMember.channel_id == Channel.id, User.disabled_at.is_(None))
        .correlate(Channel)
        .scalar_subquery()
    )
    query = select(Channel, members).where(wanted.condition).order_by(Channel.name)
    if after:
        query = query.where(Channel.name > after)
    return session.execute(window.of(query)).all()


def list_channel_ids(session: Session) -> Sequence[int]:
    return session.scalars(select(Channel.id).order_by(Channel.id)).all()


def count_channels(session: Session, wanted: ChannelFilter) -> int:
    query = select(func.count()).select_from(Channel).where(wanted.condition)
    return session.scalar(query) or 0


def count_up(session: Session, channel_id: int, *, size: int = 0, packages: int = 0) -> None:
    """Add to the channel's counters; negative numbers take away."""
    values = {"channel_id": channel_id, "more_size": size, "more_packages": packages}
    session.connection().execute(_COUNT_UP, values)
    session.expire(session.get_one(Channel, channel_id), ["size", "packages_count"])


def remove_channel(session: Session, channel: Channel) -> None:
    """Delete the channel; the database deletes all that belongs to it."""
    session.execute(delete(Channel).where(Channel.id == channel.id))
