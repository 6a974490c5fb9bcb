"""Download counts."""

from collections.abc import Mapping

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.orm import Session

from quetz.db.models import File, FileDownloads


def add_downloads(session: Session, counts: Mapping[int, int]) -> None:
    """Add to the counts of files, given by file id; files deleted meanwhile are passed over."""
    insert = sqlite_insert if session.get_bind().dialect.name == "sqlite" else postgres_insert
    for file_id, count in sorted(counts.items()):
        if session.scalar(select(File.id).where(File.id == file_id)) is None:
            continue
        statement = insert(FileDownloads).values(file_id=file_id, count=count)
        session.execute(
            statement.on_conflict_do_update(
                index_elements=[FileDownloads.file_id],
                set_={"count": FileDownloads.count + statement.excluded.count},
            )
        )
