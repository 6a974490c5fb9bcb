"""Hotfixes: what a channel corrects in the records of its files."""

from sqlalchemy import BigInteger, ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from quetz.db.base import Base, ByteOrdered


class RecordPatch(Base):
    """A correction of one file's record, whether the channel has the file yet or not.

    ``patch`` is the canonical JSON of ``quetz.conda.patches.Patch``.
    """

    __tablename__ = "record_patches"

    channel_id: Mapped[int] = mapped_column(
        ForeignKey("channels.id", ondelete="CASCADE"), primary_key=True
    )
    # The order of ``files``: an index is built from both side by side.
    subdir: Mapped[str] = mapped_column(ByteOrdered, primary_key=True)
    name: Mapped[str] = mapped_column(ByteOrdered, primary_key=True)
    filename: Mapped[str] = mapped_column(ByteOrdered, primary_key=True)
    patch: Mapped[str] = mapped_column(Text)


class PatchSource(Base):
    """The package file that a channel's patches were read from; None when there is none.

    ``last_mark`` is the greatest of the marks that were left for indexes to show them.
    """

    __tablename__ = "patch_sources"

    channel_id: Mapped[int] = mapped_column(
        ForeignKey("channels.id", ondelete="CASCADE"), primary_key=True
    )
    sha256: Mapped[str | None] = mapped_column(String(64))
    last_mark: Mapped[int | None] = mapped_column(BigInteger)
