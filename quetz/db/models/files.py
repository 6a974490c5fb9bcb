"""Files: the builds of a package, their tombstones, and what they replaced."""

from sqlalchemy import BigInteger, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from quetz.db.base import Base, ByteOrdered, Milliseconds, RowId, new_public_id, now_ms


class File(Base):
    """One package file of a channel.

    ``record`` is its repodata record (CEP 36) as canonical JSON text, with ``md5``, ``sha256``,
    ``size`` and ``indexed_timestamp`` inside; the typed columns repeat what is asked for.
    ``run_exports`` is the JSON object of CEP 12. ``about`` is the JSON object from which
    channeldata.json (CEP 38) is made.

    A file that was yanked is listed as removed in every index, and can still be downloaded.
    """

    __tablename__ = "files"
    # The one order of every listing: with another, SQLite scans a whole subdir for one name.
    # ``sha256`` is no foreign key: dropping an object would scan all files for it.
    __table_args__ = (UniqueConstraint("channel_id", "subdir", "name", "filename"),)

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    public_id: Mapped[str] = mapped_column(String(36), default=new_public_id)
    channel_id: Mapped[int] = mapped_column(ForeignKey("channels.id", ondelete="CASCADE"))
    # Indexed, or removing a package would scan every file to find its children.
    package_id: Mapped[int] = mapped_column(
        ForeignKey("packages.id", ondelete="CASCADE"), index=True
    )
    subdir: Mapped[str] = mapped_column(ByteOrdered)
    name: Mapped[str] = mapped_column(ByteOrdered)
    filename: Mapped[str] = mapped_column(ByteOrdered)
    version: Mapped[str] = mapped_column(Text)
    build: Mapped[str] = mapped_column(Text)
    build_number: Mapped[int] = mapped_column(BigInteger)
    size: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))
    md5: Mapped[str] = mapped_column(String(32))
    record: Mapped[str] = mapped_column(Text)
    run_exports: Mapped[str] = mapped_column(Text, default="{}")
    about: Mapped[str] = mapped_column(Text, default="{}")
    uploaded_at: Mapped[int] = mapped_column(Milliseconds, default=now_ms)
    uploader_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    yanked_at: Mapped[int | None] = mapped_column(Milliseconds)
    yank_reason: Mapped[str | None] = mapped_column(Text)


class Tombstone(Base):
    """A deleted file: its name stays reserved for the bytes it had."""

    __tablename__ = "tombstones"
    __table_args__ = (UniqueConstraint("channel_id", "subdir", "filename"),)

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    channel_id: Mapped[int] = mapped_column(ForeignKey("channels.id", ondelete="CASCADE"))
    subdir: Mapped[str] = mapped_column(ByteOrdered)
    filename: Mapped[str] = mapped_column(ByteOrdered)
    sha256: Mapped[str] = mapped_column(String(64))
    deleted_at: Mapped[int] = mapped_column(Milliseconds, default=now_ms)


class ReplacedFile(Base):
    """What a forced upload replaced; the object is kept for its grace period."""

    __tablename__ = "replaced_files"
    __table_args__ = (Index(None, "channel_id", "subdir", "filename"),)

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    channel_id: Mapped[int] = mapped_column(ForeignKey("channels.id", ondelete="CASCADE"))
    subdir: Mapped[str] = mapped_column(ByteOrdered)
    filename: Mapped[str] = mapped_column(ByteOrdered)
    sha256: Mapped[str] = mapped_column(String(64))
    replaced_at: Mapped[int] = mapped_column(Milliseconds, default=now_ms)


class FileDownloads(Base):
    """How often a file was downloaded; apart from ``files``, whose rows are wide."""

    __tablename__ = "file_downloads"

    file_id: Mapped[int] = mapped_column(
        ForeignKey("files.id", ondelete="CASCADE"), primary_key=True
    )
    count: Mapped[int] = mapped_column(BigInteger)


class DownloadCounts(Base):
    """How often a file was downloaded in each hour, day, month and year (UTC).

    ``period`` is H, D, M or Y; ``at`` is when it began.
    """

    __tablename__ = "download_counts"

    file_id: Mapped[int] = mapped_column(
        ForeignKey("files.id", ondelete="CASCADE"), primary_key=True
    )
    period: Mapped[str] = mapped_column(String(1), primary_key=True)
    at: Mapped[int] = mapped_column(Milliseconds, primary_key=True)
    count: Mapped[int] = mapped_column(BigInteger)
