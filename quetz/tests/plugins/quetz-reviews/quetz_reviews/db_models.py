"""Reviews of licenses; they hang on a table of another plugin."""

from sqlalchemy import ForeignKey, Text
from sqlalchemy.orm import Mapped, mapped_column

from quetz.plugin_api import Base, Milliseconds, now_ms


class Review(Base):
    __tablename__ = "quetz_reviews"

    license_id: Mapped[int] = mapped_column(
        ForeignKey("quetz_licenses.id", ondelete="CASCADE"), primary_key=True
    )
    asked_at: Mapped[int] = mapped_column(Milliseconds, default=now_ms)
    is_approved: Mapped[bool | None] = mapped_column(index=True)
    comment: Mapped[str] = mapped_column(Text, server_default="")
