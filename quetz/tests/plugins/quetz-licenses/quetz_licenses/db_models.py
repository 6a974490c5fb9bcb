"""Licenses, and which file has which."""

from sqlalchemy import ForeignKey, true
from sqlalchemy.orm import Mapped, mapped_column

from quetz.plugin_api import Base, ByteOrdered, RowId


class License(Base):
    __tablename__ = "quetz_licenses"

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    name: Mapped[str] = mapped_column(ByteOrdered, unique=True)
    is_free: Mapped[bool] = mapped_column(server_default=true())


class LicensedFile(Base):
    __tablename__ = "quetz_licenses_files"

    file_id: Mapped[int] = mapped_column(
        ForeignKey("files.id", ondelete="CASCADE"), primary_key=True
    )
    license_id: Mapped[int] = mapped_column(
        ForeignKey("quetz_licenses.id", ondelete="CASCADE"), index=True
    )
