"""Mirrors that others keep of channels."""

from collections.abc import Sequence

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from quetz.db.models import ChannelMirror


def list_mirrors(session: Session, channel_id: int) -> Sequence[ChannelMirror]:
    """Return a channel's mirrors in the order in which they were registered."""
    query = select(ChannelMirror).where(ChannelMirror.channel_id == channel_id)
    return session.scalars(query.order_by(ChannelMirror.id)).all()


def remove_mirror(session: Session, channel_id: int, public_id: str) -> str | None:
    """Delete a mirror; return its URL, None if there was none."""
    query = delete(ChannelMirror).where(
        ChannelMirror.channel_id == channel_id, ChannelMirror.public_id == public_id
    )
    return session.scalar(query.returning(ChannelMirror.url))
