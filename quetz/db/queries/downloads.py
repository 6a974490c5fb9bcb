"""Download counts: of each file in all, and in each hour, day, month and year."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, bindparam, delete, select
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.orm import Session

from quetz.db.models import DownloadCounts, File, FileDownloads
from quetz.db.queries.windows import batches

Counts = Mapping[tuple[int, str, int], int]
"""By file id, period (H, D, M, Y), and when it began."""


@dataclass(frozen=True)
class CountFilter:
    """Counts of one length of period, which began at or after ``start`` and before ``end``."""

    period: str
    start: int
    end: int

    @property
    def condition(self) -> ColumnElement[bool]:
        at = DownloadCounts.at
        return (DownloadCounts.period == self.period) & (at >= self.start) & (at < self.end)


def add_downloads(session: Session, counts: Counts, *, of_total: str) -> None:
    """Add to the counts; files deleted meanwhile are passed over.

    Counts of the period ``of_total`` are those that are added to the files' totals.
    """
    existing = hold_files(session, sorted({file_id for file_id, _, _ in counts}))
    # In one order everywhere, or two servers that count the same files could lock each other out.
    rows = [
        {"file_id": file_id, "period": period, "at": at, "count": count}
        for (file_id, period, at), count in sorted(counts.items())
        if file_id in existing
    ]
    totals = Counter[int]()
    for (file_id, period, _), count in sorted(counts.items()):
        if file_id in existing and period == of_total:
            totals[file_id] += count
    total_rows = [{"file_id": file_id, "count": count} for file_id, count in totals.items()]
    _add(session, FileDownloads, ["file_id"], total_rows)
    _add(session, DownloadCounts, ["file_id", "period", "at"], rows)


def hold_files(session: Session, ids: Sequence[int]) -> set[int]:
    """Return which of the files exist, and keep them from being deleted until the end."""
    held: set[int] = set()
    for some in batches(ids):
        query = select(File.id).where(File.id.in_(some)).order_by(File.id)
        held.update(session.scalars(query.with_for_update(read=True, key_share=True)))
    return held


def _add(session: Session, table: Any, key: list[str], rows: Sequence[Mapping[str, Any]]) -> None:
    if not rows:
        return
    insert = sqlite_insert if session.get_bind().dialect.name == "sqlite" else postgres_insert
    statement = insert(table)
    statement = statement.on_conflict_do_update(
        index_elements=key, set_={"count": table.count + statement.excluded.count}
    )
    session.connection().execute(statement, list(rows))


def list_counts(
    session: Session, file_id: int, wanted: CountFilter, *, limit: int
) -> Sequence[Row[int, int]]:
    """Return (when it began, count) of the periods in which a file was downloaded."""
    query = (
        select(DownloadCounts.at, DownloadCounts.count)
        .where(DownloadCounts.file_id == file_id, wanted.condition)
        .order_by(DownloadCounts.at)
        .limit(limit)
    )
    return session.execute(query).all()


def list_channel_counts(
    session: Session, channel_id: int, wanted: CountFilter, *, subdir: str | None, limit: int
) -> Sequence[Row[str, str, int, int]]:
    """Return (subdir, filename, when it began, count) by these, for files that were downloaded."""
    query = (
        select(File.subdir, File.filename, DownloadCounts.at, DownloadCounts.count)
        .join(DownloadCounts, DownloadCounts.file_id == File.id)
        .where(File.channel_id == channel_id, wanted.condition)
        .order_by(File.subdir, File.filename, DownloadCounts.at)
        .limit(limit)
    )
    if subdir is not None:
        query = query.where(File.subdir == subdir)
    return session.execute(query).all()


def list_older(
    session: Session, period: str, before: int, *, limit: int
) -> Sequence[Row[int, int]]:
    """Return (file id, when it began) of periods that began before a time, in any order."""
    query = select(DownloadCounts.file_id, DownloadCounts.at).where(
        DownloadCounts.period == period, DownloadCounts.at < before
    )
    return session.execute(query.limit(limit)).all()


def remove_counts(session: Session, period: str, counts: Sequence[tuple[int, int]]) -> None:
    """Remove the counts of (file id, when it began)."""
    query = delete(DownloadCounts).where(
        DownloadCounts.file_id == bindparam("file"),
        DownloadCounts.period == period,
        DownloadCounts.at == bindparam("began"),
    )
    rows = [{"file": file_id, "began": at} for file_id, at in sorted(counts)]
    session.connection().execute(query, rows)
