"""Channels: named collections of packages, and the mirrors that others keep of them."""

from sqlalchemy import BigInteger, ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from quetz.db.base import Base, ByteOrdered, Milliseconds, RowId, new_public_id, now_ms


class Channel(Base):
    """A channel; its name is kept in lower case.

    ``size`` and ``packages_count`` are counters, changed in the transaction that changes what
    they count. ``size_limit`` is in bytes, None for no limit; ``ttl`` in seconds.
    """

    __tablename__ = "channels"
    # A new channel must never get the id of a deleted one: index files are kept by channel id.
    __table_args__ = {"sqlite_autoincrement": True}

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    public_id: Mapped[str] = mapped_column(String(36), unique=True, default=new_public_id)
    name: Mapped[str] = mapped_column(ByteOrdered, unique=True)
    description: Mapped[str | None] = mapped_column(Text)
    private: Mapped[bool] = mapped_column(default=False)
    size_limit: Mapped[int | None] = mapped_column(BigInteger)
    ttl: Mapped[int] = mapped_column(default=36000)
    mirror_channel_url: Mapped[str | None] = mapped_column(Text)
    mirror_mode: Mapped[str | None] = mapped_column(String(16))
    channel_metadata: Mapped[str] = mapped_column(Text, default="{}")  # a JSON object
    size: Mapped[int] = mapped_column(BigInteger, default=0)
    packages_count: Mapped[int] = mapped_column(BigInteger, default=0)
    created_at: Mapped[int] = mapped_column(Milliseconds, default=now_ms)


class ChannelMirror(Base):
    """Where another server keeps a copy of a channel, as it was told to us."""

    __tablename__ = "channel_mirrors"
    __table_args__ = (UniqueConstraint("channel_id", "url"),)

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    public_id: Mapped[str] = mapped_column(String(36), unique=True, default=new_public_id)
    channel_id: Mapped[int] = mapped_column(ForeignKey("channels.id", ondelete="CASCADE"))
    url: Mapped[str] = mapped_column(Text)
    api_endpoint: Mapped[str] = mapped_column(Text)
    metrics_endpoint: Mapped[str] = mapped_column(Text)
