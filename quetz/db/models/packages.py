"""Packages: the names of a channel."""

from sqlalchemy import BigInteger, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from quetz.db.base import Base, ByteOrdered, Milliseconds, RowId, new_public_id, now_ms


class Package(Base):
    """A package name in a channel; ``latest_change`` is when a file was last added or removed.

    ``current_version`` is the newest of its files, ``platforms`` their subdirs in order, with
    blanks between. Files that were yanked do not count.
    """

    __tablename__ = "packages"
    __table_args__ = (
        UniqueConstraint("channel_id", "name"),
        Index(None, "channel_id", "latest_change"),
    )

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    public_id: Mapped[str] = mapped_column(String(36), unique=True, default=new_public_id)
    channel_id: Mapped[int] = mapped_column(ForeignKey("channels.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(ByteOrdered)
    summary: Mapped[str | None] = mapped_column(Text)
    description: Mapped[str | None] = mapped_column(Text)
    url: Mapped[str | None] = mapped_column(Text)
    files_count: Mapped[int] = mapped_column(BigInteger, default=0)
    current_version: Mapped[str | None] = mapped_column(Text)
    platforms: Mapped[str] = mapped_column(Text, default="", server_default="")
    latest_change: Mapped[int | None] = mapped_column(Milliseconds)
    created_at: Mapped[int] = mapped_column(Milliseconds, default=now_ms)
