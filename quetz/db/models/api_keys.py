"""API keys and their scopes."""

from sqlalchemy import ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from quetz.db.base import Base, Milliseconds, RowId, now_ms


class ApiKey(Base):
    """A key ``qz-<public_id>-<secret><crc>``; only the SHA-256 of its secret is kept.

    A key without scopes has the rights of its owner; with scopes, their intersection with
    the owner's present rights. ``read_only`` takes away every right to change things.
    ``verbs`` names, apart by spaces, what kinds of deeds it is good for; None for all.
    ``parent_id`` is the key that made it, if one did.
    """

    __tablename__ = "api_keys"

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    public_id: Mapped[str] = mapped_column(String(16), unique=True)
    secret_hash: Mapped[str] = mapped_column(String(64))
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    parent_id: Mapped[int | None] = mapped_column(
        ForeignKey("api_keys.id", ondelete="SET NULL"), index=True
    )
    description: Mapped[str] = mapped_column(Text, default="")
    read_only: Mapped[bool] = mapped_column(default=False)
    scoped: Mapped[bool] = mapped_column(default=False)
    verbs: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[int] = mapped_column(Milliseconds, default=now_ms)
    expires_at: Mapped[int | None] = mapped_column(Milliseconds)
    revoked_at: Mapped[int | None] = mapped_column(Milliseconds)
    last_used_at: Mapped[int | None] = mapped_column(Milliseconds)


class ApiKeyScope(Base):
    """A role that a scoped key has in a channel, or in one package of it.

    A key whose scopes all went with their channels stays scoped: it has no right left.
    """

    __tablename__ = "api_key_scopes"

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    api_key_id: Mapped[int] = mapped_column(
        ForeignKey("api_keys.id", ondelete="CASCADE"), index=True
    )
    channel_id: Mapped[int] = mapped_column(ForeignKey("channels.id", ondelete="CASCADE"))
    package_id: Mapped[int | None] = mapped_column(ForeignKey("packages.id", ondelete="CASCADE"))
    role: Mapped[str] = mapped_column(String(16))
