"""Events: the append-only audit log."""

from sqlalchemy import ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from quetz.db.base import Base, Milliseconds, RowId, new_public_id, now_ms


class Event(Base):
    """Who did what to which thing, written in the transaction of the change.

    Names are copied, not referenced: an event outlives its subject. ``before`` and ``after``
    are what changed: sha256 digests of files, roles, or settings as JSON. Rows are inserted
    unordered: an id is taken before its commit, so a smaller one may appear later.
    """

    __tablename__ = "events"
    __table_args__ = {"sqlite_autoincrement": True}

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    public_id: Mapped[str] = mapped_column(String(36), default=new_public_id)
    at: Mapped[int] = mapped_column(Milliseconds, default=now_ms)
    actor_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    actor: Mapped[str] = mapped_column(Text)
    api_key: Mapped[str | None] = mapped_column(String(16))  # its public id
    address: Mapped[str | None] = mapped_column(Text)
    action: Mapped[str] = mapped_column(String(64))
    channel: Mapped[str | None] = mapped_column(Text)
    subject: Mapped[str | None] = mapped_column(Text)
    before: Mapped[str | None] = mapped_column(Text)
    after: Mapped[str | None] = mapped_column(Text)
