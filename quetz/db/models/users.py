"""Users, the identities they log in by, and their sessions."""

from sqlalchemy import ForeignKey, String, Text, UniqueConstraint, false
from sqlalchemy.orm import Mapped, mapped_column

from quetz.db.base import Base, ByteOrdered, Milliseconds, RowId, new_public_id, now_ms


class User(Base):
    """A person or a service; ``role`` is the server role: owner, maintainer, member or None.

    A service account never logs in: it acts by its API keys alone.
    """

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    public_id: Mapped[str] = mapped_column(String(36), unique=True, default=new_public_id)
    username: Mapped[str] = mapped_column(ByteOrdered, unique=True)
    role: Mapped[str | None] = mapped_column(String(16))
    name: Mapped[str] = mapped_column(Text, default="")
    avatar_url: Mapped[str] = mapped_column(Text, default="")
    service: Mapped[bool] = mapped_column(default=False, server_default=false())
    disabled_at: Mapped[int | None] = mapped_column(Milliseconds)
    created_at: Mapped[int] = mapped_column(Milliseconds, default=now_ms)


class Identity(Base):
    """How a user logs in: ``subject`` is the provider's own, unchanging id of the person."""

    __tablename__ = "identities"
    __table_args__ = (UniqueConstraint("provider", "subject"),)

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    provider: Mapped[str] = mapped_column(String(64))
    subject: Mapped[str] = mapped_column(Text)


class LoginSession(Base):
    """A browser's login; only the SHA-256 of the cookie's random value is kept."""

    __tablename__ = "sessions"

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    provider: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[int] = mapped_column(Milliseconds, default=now_ms)
    last_used_at: Mapped[int] = mapped_column(Milliseconds, default=now_ms)
