"""Tombstones: the names of deleted files, reserved for the bytes they had."""

from collections.abc import Sequence

from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.orm import Session

from quetz.db.models import Tombstone


def add_tombstones(
    session: Session, channel_id: int, files: Sequence[tuple[str, str, str]], *, at: int
) -> None:
    """Reserve the name of each (subdir, filename, sha256); an older tombstone gives way."""
    if not files:
        return
    insert = sqlite_insert if session.get_bind().dialect.name == "sqlite" else postgres_insert
    statement = insert(Tombstone)
    upsert = statement.on_conflict_do_update(
        index_elements=["channel_id", "subdir", "filename"],
        set_={
            "sha256": statement.excluded.sha256,
            "deleted_at": statement.excluded.deleted_at,
        },
    )
    session.execute(
        upsert,
        [
            {
                "channel_id": channel_id,
                "subdir": subdir,
                "filename": filename,
                "sha256": sha256,
                "deleted_at": at,
            }
            for subdir, filename, sha256 in files
        ],
    )
