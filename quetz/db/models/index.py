"""The state of published indexes.

An index *family* is a set of files that one switch flips together, so that its forms agree:
``shards`` and ``repodata`` per subdir, ``channeldata`` once per channel (``subdir`` is "").
"""

from sqlalchemy import BigInteger, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from quetz.db.base import Base, ByteOrdered, Milliseconds, RowId


class IndexDirty(Base):
    """A mark: ``name`` changed and the family's published files do not show it yet.

    Written in the transaction of the change; deleted, by its id, in the transaction that
    flips to the files that show it.
    """

    __tablename__ = "index_dirty"
    __table_args__ = (
        Index(None, "channel_id", "subdir", "family"),
        {"sqlite_autoincrement": True},  # ids are shown to clients, so never used twice
    )

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    channel_id: Mapped[int] = mapped_column(ForeignKey("channels.id", ondelete="CASCADE"))
    subdir: Mapped[str] = mapped_column(ByteOrdered)
    family: Mapped[str] = mapped_column(String(16))
    name: Mapped[str] = mapped_column(ByteOrdered)


class IndexState(Base):
    """The switch of one family: which files are its current generation.

    ``files`` is a JSON object of form to ``{"key": str, "size": int, "sha256": hex}``.
    """

    __tablename__ = "index_state"

    channel_id: Mapped[int] = mapped_column(
        ForeignKey("channels.id", ondelete="CASCADE"), primary_key=True
    )
    subdir: Mapped[str] = mapped_column(ByteOrdered, primary_key=True)
    family: Mapped[str] = mapped_column(String(16), primary_key=True)
    generation: Mapped[int] = mapped_column(BigInteger)
    published_at: Mapped[int] = mapped_column(Milliseconds)
    files: Mapped[str] = mapped_column(Text)


class IndexSuperseded(Base):
    """An index file that no current generation names; it is removed after its grace."""

    __tablename__ = "index_superseded"
    __table_args__ = (Index(None, "superseded_at"),)

    key: Mapped[str] = mapped_column(ByteOrdered, primary_key=True)
    channel_id: Mapped[int] = mapped_column(BigInteger)  # no foreign key: it outlives its channel
    subdir: Mapped[str] = mapped_column(ByteOrdered)
    family: Mapped[str] = mapped_column(String(16))
    superseded_at: Mapped[int] = mapped_column(Milliseconds)
