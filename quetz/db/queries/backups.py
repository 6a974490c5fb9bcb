"""What a backup asks of the database, and what a restore changes there."""

from collections.abc import Sequence

from sqlalchemy import Row, delete, func, select, text
from sqlalchemy.orm import Session

from quetz.db.models import Channel, File, IndexState, IndexSuperseded, StoredObject, Upload
from quetz.db.queries.windows import batches

_RENUMBER = {
    "sqlite": (
        "DELETE FROM sqlite_sequence WHERE name = 'index_dirty' AND seq < :number",
        (
            "INSERT INTO sqlite_sequence (name, seq) SELECT 'index_dirty', :number "
            "WHERE NOT EXISTS (SELECT * FROM sqlite_sequence WHERE name = 'index_dirty')"
        ),
    ),
    "postgresql": ("SELECT setval(pg_get_serial_sequence('index_dirty', 'id'), :number)",),
}


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


def list_files_of(session: Session, hashes: Sequence[str]) -> Sequence[Row[str, str, str, str]]:
    """Return (sha256, channel, subdir, filename) of what names the objects; it reads all files."""
    query = select(File.sha256, Channel.name, File.subdir, File.filename).join(
        Channel, Channel.id == File.channel_id
    )
    return [
        row
        for some in batches(hashes)
        for row in session.execute(query.where(File.sha256.in_(some)))
    ]


def forget_indexes(session: Session, *, next_mark: int) -> None:
    """Forget which index files there are, and uploads that were under way.

    Later marks have numbers from ``next_mark`` on.
    """
    for model in (IndexState, IndexSuperseded, Upload):
        session.execute(delete(model))
    for statement in _RENUMBER[session.get_bind().dialect.name]:
        session.execute(text(statement).bindparams(number=next_mark))
