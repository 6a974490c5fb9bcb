"""What ``quetz fsck`` asks of all rows: in pages, in streams, or in sums."""

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

from sqlalchemy import Row, Select, func, inspect, select, text, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from quetz.db.base import Base
from quetz.db.models import Channel, Event, File, IndexDirty, Package, StoredObject, Tombstone
from quetz.db.models import Upload as Reservation
from quetz.db.queries.index import STREAM_ROWS

_OUT_OF_ORDER_MS = 60_000
"""How much older than the event before it a sealed event may be: its transaction took as long."""

FileRow: TypeAlias = Row[*tuple[Any, ...]]
"""A file with the columns of ``_FILES``."""

_FILES = select(
    File.id,
    Channel.name.label("channel"),
    File.channel_id,
    File.subdir,
    File.name,
    File.filename,
    File.version,
    File.build,
    File.size,
    File.sha256,
    File.md5,
    File.record,
).join(Channel, Channel.id == File.channel_id)


def count_rows(session: Session, model: type[Base]) -> int:
    return session.scalar(select(func.count()).select_from(model)) or 0


def list_files_after(session: Session, file_id: int, *, limit: int) -> Sequence[FileRow]:
    """Return files by id, from behind one."""
    return session.execute(_FILES.where(File.id > file_id).order_by(File.id).limit(limit)).all()


def list_files_again(session: Session, ids: Sequence[int]) -> Sequence[FileRow]:
    """Return those of the files that are still there; no more than some thousand."""
    return session.execute(_FILES.where(File.id.in_(ids)).order_by(File.id)).all()


def stream_texts(session: Session, column: InstrumentedAttribute[str]) -> Iterator[str]:
    """Yield a column of all rows, in any order."""
    return _stream(session, select(column))


def stream_rows(session: Session, *columns: InstrumentedAttribute[Any]) -> Iterator[Row[Any]]:
    """Yield some columns of all rows of a table, in any order."""
    query = select(*columns).execution_options(yield_per=STREAM_ROWS)
    with session.connection().execute(query) as found:
        yield from found


def _stream(session: Session, query: Select[str]) -> Iterator[str]:
    with session.connection().execute(query.execution_options(yield_per=STREAM_ROWS)) as found:
        for (value,) in found:
            yield value


def list_tombstones_after(
    session: Session, tombstone_id: int, *, limit: int
) -> Sequence[Row[int, int, str, str, str, str]]:
    """Return (id, channel id, channel, subdir, filename, sha256) of tombstones, by id."""
    query = (
        select(
            Tombstone.id,
            Tombstone.channel_id,
            Channel.name,
            Tombstone.subdir,
            Tombstone.filename,
            Tombstone.sha256,
        )
        .join(Channel, Channel.id == Tombstone.channel_id)
        .where(Tombstone.id > tombstone_id)
        .order_by(Tombstone.id)
        .limit(limit)
    )
    return session.execute(query).all()


def sum_expired(session: Session, *, now: int) -> tuple[int, int]:
    """Return how many reservations have expired, and how many bytes they hold."""
    query = select(func.count(), func.coalesce(func.sum(Reservation.size), 0)).where(
        Reservation.expires_at <= now
    )
    count, size = session.execute(query).one()
    return count, int(size)


def list_present_objects(session: Session, digests: Sequence[str]) -> set[str]:
    """Return those of the sha256 that have a row."""
    query = select(StoredObject.sha256).where(StoredObject.sha256.in_(digests))
    return set(session.scalars(query))


# Counters


def sum_channel(session: Session, channel_id: int) -> tuple[int, int]:
    """Return the bytes of a channel's files, and the number of its packages."""
    size = select(func.coalesce(func.sum(File.size), 0)).where(File.channel_id == channel_id)
    packages = select(func.count()).select_from(Package).where(Package.channel_id == channel_id)
    return int(session.scalar(size) or 0), session.scalar(packages) or 0


def list_miscounted(
    session: Session, channel_id: int, *, limit: int
) -> Sequence[Row[str, int, int]]:
    """Return (name, counter, number of files) of packages where the two differ, by name."""
    count = func.count(File.id)
    query = (
        select(Package.name, Package.files_count, count)
        .outerjoin(File, File.package_id == Package.id)
        .where(Package.channel_id == channel_id)
        .group_by(Package.id, Package.name, Package.files_count)
        .having(count != Package.files_count)
        .order_by(Package.name)
        .limit(limit)
    )
    return session.execute(query).all()


def recount_packages(session: Session, channel_id: int) -> int:
    """Set the number of files of a channel's packages; return of how many it was another."""
    count = (
        select(func.count(File.id))
        .where(File.package_id == Package.id)
        .correlate(Package)
        .scalar_subquery()
    )
    changed = (
        update(Package)
        .where(Package.channel_id == channel_id, Package.files_count != count)
        .values(files_count=count)
        .returning(Package.id)
        .execution_options(synchronize_session=False)
    )
    return len(session.scalars(changed).all())


def list_empty_packages(session: Session, channel_id: int, *, limit: int) -> Sequence[str]:
    """Return names of packages without files, in order."""
    files = select(File.id).where(File.package_id == Package.id).exists()
    query = select(Package.name).where(Package.channel_id == channel_id, ~files)
    return session.scalars(query.order_by(Package.name).limit(limit)).all()


def list_subjects(
    session: Session, channel_id: int, action: str, subjects: Sequence[str]
) -> set[str]:
    """Return those of the subjects of which a channel has an event of the action."""
    if not subjects:
        return set()
    query = select(Event.subject).where(
        Event.channel_id == channel_id, Event.action == action, Event.subject.in_(subjects)
    )
    return {subject for subject in session.scalars(query) if subject is not None}


# References


def list_broken_references(session: Session) -> list[tuple[str, str, int]]:
    """Return (table, the table it refers to, number of rows that refer to nothing)."""
    if session.get_bind().dialect.name == "sqlite":
        counts: dict[tuple[str, str], int] = {}
        for table, _, parent, _ in session.execute(text("PRAGMA foreign_key_check")):
            counts[table, parent] = counts.get((table, parent), 0) + 1
        return [(*tables, count) for tables, count in sorted(counts.items())]
    present = set(inspect(session.connection()).get_table_names())
    found = []
    for table in Base.metadata.sorted_tables:
        for constraint in table.foreign_key_constraints if table.name in present else ():
            parent = constraint.referred_table.alias()
            columns = [key.parent for key in constraint.elements]
            same = [parent.c[key.column.name] == key.parent for key in constraint.elements]
            query = (
                select(func.count())
                .select_from(table)
                .where(
                    *(column.is_not(None) for column in columns), ~select(1).where(*same).exists()
                )
            )
            if count := session.scalar(query):
                found.append((table.name, constraint.referred_table.name, count))
    return found


def list_unvalidated(session: Session) -> list[tuple[str, str]]:
    """Return (table, constraint) that PostgreSQL has not validated; SQLite has no such."""
    if session.get_bind().dialect.name == "sqlite":
        return []
    query = text(
        "SELECT conrelid::regclass::text, conname FROM pg_constraint "
        "WHERE NOT convalidated AND connamespace = current_schema()::regnamespace ORDER BY 1, 2"
    )
    return [(table, name) for table, name in session.execute(query)]


def check_pages(session: Session, *, deep: bool) -> list[str]:
    """Return what SQLite finds wrong in its own file, in at most a hundred lines."""
    if session.get_bind().dialect.name != "sqlite":
        return []
    pragma = "integrity_check" if deep else "quick_check"
    found = session.scalars(text(f"PRAGMA {pragma}")).all()
    return [line for line in found if line != "ok"]


# What waits


def find_oldest_unsealed(session: Session, *, before: int) -> tuple[int, int | None]:
    """Return how many events of before a time have no seal, and when the oldest was."""
    query = select(func.count(), func.min(Event.at)).where(
        Event.position.is_(None), Event.at < before
    )
    count, oldest = session.execute(query).one()
    return count, oldest


def stream_changes_since(session: Session, since: int) -> Iterator[tuple[int | None, str | None]]:
    """Yield (channel id, subject) of events at or after a time: of these, and of few before."""
    unsealed = select(Event.channel_id, Event.subject).where(
        Event.position.is_(None), Event.at >= since
    )
    for channel_id, subject in session.execute(unsealed):
        yield channel_id, subject
    # By their places, which have an index: a time has none.
    sealed = (
        select(Event.channel_id, Event.subject, Event.at)
        .where(Event.position.is_not(None))
        .order_by(Event.position.desc())
        .execution_options(yield_per=100)
    )
    with session.connection().execute(sealed) as found:
        for channel_id, subject, at in found:
            if at < since - _OUT_OF_ORDER_MS:
                return
            yield channel_id, subject


def list_all_marks(session: Session, *, limit: int) -> Sequence[Row[int, int, str, str, str]]:
    """Return (id, channel id, subdir, family, name) of the oldest marks."""
    query = select(
        IndexDirty.id,
        IndexDirty.channel_id,
        IndexDirty.subdir,
        IndexDirty.family,
        IndexDirty.name,
    )
    return session.execute(query.order_by(IndexDirty.id).limit(limit)).all()
