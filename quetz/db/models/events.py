"""Events: the append-only audit log."""

from sqlalchemy import BigInteger, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from quetz.db.base import Base, Milliseconds, RowId, new_public_id, now_ms


class Event(Base):
    """Who did what to which thing, written in the transaction of the change.

    Names are copied, not referenced: an event outlives its subject. ``before`` and ``after``
    are what changed: sha256 digests of files, roles, or settings as JSON. ``channel_id`` tells
    apart channels that had one name in turn; it is no foreign key, since an event outlives them.

    Rows are inserted unordered: an id is taken before its commit, so a smaller one may appear
    later. A moment after its commit an event is *sealed*: it gets the next ``position``, without
    gaps from 1, and ``seal``, a SHA-256 over itself and the seal before it. Only sealed events
    are read.
    """

    __tablename__ = "events"
    __table_args__ = (
        Index(None, "position", unique=True),
        Index(None, "channel_id", "position"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    public_id: Mapped[str] = mapped_column(String(36), default=new_public_id)
    at: Mapped[int] = mapped_column(Milliseconds, default=now_ms)
    actor_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    actor: Mapped[str] = mapped_column(Text)
    api_key: Mapped[str | None] = mapped_column(String(16))  # its public id
    address: Mapped[str | None] = mapped_column(Text)
    action: Mapped[str] = mapped_column(String(64))
    channel: Mapped[str | None] = mapped_column(Text)
    channel_id: Mapped[int | None] = mapped_column(BigInteger)
    subject: Mapped[str | None] = mapped_column(Text)
    before: Mapped[str | None] = mapped_column(Text)
    after: Mapped[str | None] = mapped_column(Text)
    position: Mapped[int | None] = mapped_column(BigInteger)
    seal: Mapped[str | None] = mapped_column(String(64))
