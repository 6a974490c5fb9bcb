"""What a backup asks of the database, and what a restore changes there."""

from collections.abc import Sequence

from sqlalchemy import Row, delete, func, select, text
from sqlalchemy.orm import Session

from quetz.db.models import File, IndexState, IndexSuperseded, StoredObject, Upload
from quetz.db.queries.windows import batches

UNSEEN = 1_000_000_000
"""More marks than any server has made since the backup that was restored."""


def count_objects(session: Session) -> int:
    return session.scalar(select(func.count()).select_from(StoredObject)) or 0


def list_objects_after(session: Session, sha256: str, *, limit: int) -> Sequence[Row[str, int]]:
    """Return (sha256, size) of the objects that follow one in the order of their hashes."""
    query = (
        select(StoredObject.sha256, StoredObject.size)
        .where(StoredObject.sha256 > sha256)
        .order_by(StoredObject.sha256)
        .limit(limit)
    )
    return session.execute(query).all()


def list_named(session: Session, hashes: Sequence[str]) -> set[str]:
    """Return those of the objects that a file names; it reads all files."""
    return {
        sha256
        for some in batches(hashes)
        for sha256 in session.scalars(select(File.sha256).where(File.sha256.in_(some)))
    }


def forget_indexes(session: Session) -> None:
    """Forget which index files there are, and uploads that were under way.

    The numbers of later marks follow on any that was shown before.
    """
    for model in (IndexState, IndexSuperseded, Upload):
        session.execute(delete(model))
    if session.get_bind().dialect.name == "sqlite":
        session.execute(
            text("UPDATE sqlite_sequence SET seq = seq + :unseen WHERE name = 'index_dirty'"),
            {"unseen": UNSEEN},
        )
        return
    session.execute(
        text(
            "SELECT setval(pg_get_serial_sequence('index_dirty', 'id'), "
            "nextval(pg_get_serial_sequence('index_dirty', 'id')) + :unseen)"
        ),
        {"unseen": UNSEEN},
    )
