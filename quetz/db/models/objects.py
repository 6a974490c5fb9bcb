"""Objects: immutable bytes named by their sha256; and uploads under way."""

from sqlalchemy import BigInteger, ForeignKey, String, false
from sqlalchemy.orm import Mapped, mapped_column

from quetz.db.base import Base, ByteOrdered, Milliseconds, new_public_id, now_ms


class StoredObject(Base):
    """Bytes in the object store.

    ``touched_at`` is when an upload last brought them or a file last named them no longer, and
    grows with each; once it is old and no file names them, they are collected, unless ``kept``.
    """

    __tablename__ = "objects"

    sha256: Mapped[str] = mapped_column(ByteOrdered, primary_key=True)
    size: Mapped[int] = mapped_column(BigInteger)
    touched_at: Mapped[int] = mapped_column(Milliseconds, default=now_ms)
    kept: Mapped[bool] = mapped_column(default=False, server_default=false())


class Upload(Base):
    """Bytes of a channel's quota, reserved while an upload is under way."""

    __tablename__ = "uploads"

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_public_id)
    channel_id: Mapped[int] = mapped_column(ForeignKey("channels.id", ondelete="CASCADE"))
    size: Mapped[int] = mapped_column(BigInteger)
    expires_at: Mapped[int] = mapped_column(Milliseconds)
