"""Marks, switches and superseded files of published indexes, and the records they show."""

from collections.abc import Iterable, Iterator, Sequence

from sqlalchemy import Row, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from quetz.db.models import Channel, File, IndexDirty, IndexState, IndexSuperseded
from quetz.db.queries.windows import batches

STREAM_ROWS = 2_000

# Built once: every upload runs it, and building it takes longer than SQLite takes to run it.
_ADD_MARKS = insert(IndexDirty).returning(IndexDirty.id, sort_by_parameter_order=True)


def add_marks(
    session: Session, channel_id: int, name: str, places: Sequence[tuple[str, str]]
) -> Sequence[int]:
    """Add one mark for each (subdir, family) of ``places``; return their ids."""
    return add_marks_of(session, channel_id, [(*place, name) for place in places])


def add_marks_of(
    session: Session, channel_id: int, marks: Sequence[tuple[str, str, str]]
) -> Sequence[int]:
    """Add one mark for each (subdir, family, name); return their ids."""
    rows = [
        {"channel_id": channel_id, "subdir": subdir, "family": family, "name": name}
        for subdir, family, name in marks
    ]
    return session.connection().scalars(_ADD_MARKS, rows).all()


def list_marked_switches(session: Session) -> list[tuple[int, str, str]]:
    """Return each (channel id, subdir, family) that has a mark."""
    query = (
        select(IndexDirty.channel_id, IndexDirty.subdir, IndexDirty.family)
        .distinct()
        .order_by(IndexDirty.channel_id, IndexDirty.subdir, IndexDirty.family)
    )
    return [(channel, subdir, family) for channel, subdir, family in session.execute(query)]


def list_marks(
    session: Session, channel_id: int, subdir: str, family: str, *, limit: int
) -> list[tuple[int, str]]:
    """Return (id, name) of the oldest marks of a switch."""
    query = (
        select(IndexDirty.id, IndexDirty.name)
        .where(
            IndexDirty.channel_id == channel_id,
            IndexDirty.subdir == subdir,
            IndexDirty.family == family,
        )
        .order_by(IndexDirty.id)
        .limit(limit)
    )
    return [(mark, name) for mark, name in session.execute(query)]


def measure_marks(session: Session) -> tuple[int, int | None]:
    """Return how many marks there are, and the id of the oldest."""
    query = select(func.count(IndexDirty.id), func.min(IndexDirty.id))
    count, oldest = session.execute(query).one()
    return count, oldest


def delete_marks(session: Session, ids: Sequence[int]) -> None:
    for some in batches(ids):
        session.execute(delete(IndexDirty).where(IndexDirty.id.in_(some)))


def list_marks_of_name(
    session: Session, channel_id: int, subdirs: Sequence[str], name: str
) -> Sequence[int]:
    """Return the ids of the marks of a name, in all families."""
    query = select(IndexDirty.id).where(
        IndexDirty.channel_id == channel_id,
        IndexDirty.subdir.in_(subdirs),
        IndexDirty.name == name,
    )
    return session.scalars(query).all()


def list_present_marks(session: Session, ids: Sequence[int]) -> set[int]:
    """Return those of the marks that are still there."""
    found: set[int] = set()
    for some in batches(ids):
        query = select(IndexDirty.id).where(IndexDirty.id.in_(some))
        found.update(session.scalars(query))
    return found


def has_mark(session: Session, channel_id: int, subdir: str, family: str, name: str) -> bool:
    query = select(IndexDirty.id).where(
        IndexDirty.channel_id == channel_id,
        IndexDirty.subdir == subdir,
        IndexDirty.family == family,
        IndexDirty.name == name,
    )
    return session.scalar(query.limit(1)) is not None


def has_marks(session: Session, channel_id: int) -> bool:
    query = select(IndexDirty.id).where(IndexDirty.channel_id == channel_id)
    return session.scalar(query.limit(1)) is not None


def hold_channel(session: Session, channel_id: int) -> bool:
    """Keep the channel from being deleted until this transaction ends; False: it is gone.

    A deletion on PostgreSQL locks the channel before what hangs on it; who took these locks
    the other way round would wait for it as it waits for him.
    """
    query = select(Channel.id).where(Channel.id == channel_id)
    return session.scalar(query.with_for_update(read=True, key_share=True)) is not None


def find_state(session: Session, channel_id: int, subdir: str, family: str) -> IndexState | None:
    query = select(IndexState).where(
        IndexState.channel_id == channel_id,
        IndexState.subdir == subdir,
        IndexState.family == family,
    )
    return session.scalar(query)


def list_states(session: Session, channel_id: int | None = None) -> list[IndexState]:
    """Return the switches of one channel, or of all."""
    query = select(IndexState).order_by(IndexState.channel_id, IndexState.subdir, IndexState.family)
    if channel_id is not None:
        query = query.where(IndexState.channel_id == channel_id)
    return list(session.scalars(query))


def flip_state(session: Session, state: IndexState, *, read_generation: int | None) -> bool:
    """Set the switch to ``state`` if its generation is still the one read; say whether it was.

    ``read_generation`` is None when there was no switch yet.
    """
    if read_generation is None:
        try:
            with session.begin_nested():
                session.add(state)
        except IntegrityError:
            return False  # another publisher made the first generation
        return True
    changed = session.execute(
        update(IndexState)
        .where(
            IndexState.channel_id == state.channel_id,
            IndexState.subdir == state.subdir,
            IndexState.family == state.family,
            IndexState.generation == read_generation,
        )
        .values(generation=state.generation, published_at=state.published_at, files=state.files)
        .returning(IndexState.generation)
    )
    return changed.one_or_none() is not None


def list_records_of_name(
    session: Session, channel_id: int, subdir: str, name: str
) -> Sequence[Row[str, str, str, int | None]]:
    """Return (filename, record, run_exports, yanked at) of each file of a name, by filename."""
    query = (
        select(File.filename, File.record, File.run_exports, File.yanked_at)
        .where(File.channel_id == channel_id, File.subdir == subdir, File.name == name)
        .order_by(File.name, File.filename)
    )
    return session.execute(query).all()


def stream_records(
    session: Session, channel_id: int, subdir: str
) -> Iterator[Row[str, str, str, str, int | None]]:
    """Yield (name, filename, record, run_exports, yanked at) of a subdir, by name and filename."""
    query = (
        select(File.name, File.filename, File.record, File.run_exports, File.yanked_at)
        .where(File.channel_id == channel_id, File.subdir == subdir)
        .order_by(File.name, File.filename)
        .execution_options(yield_per=STREAM_ROWS)
    )
    yield from session.execute(query)


def list_channeldata_of_name(
    session: Session, channel_id: int, name: str
) -> Sequence[Row[str, str, str, str]]:
    """Return (subdir, record, about, run_exports) of a name's files that are not yanked."""
    query = (
        select(File.subdir, File.record, File.about, File.run_exports)
        .where(
            File.channel_id == channel_id,
            File.subdir.in_(list_subdirs(session, channel_id)),
            File.name == name,
            File.yanked_at.is_(None),
        )
        .order_by(File.subdir, File.name, File.filename)
    )
    return session.execute(query).all()


def list_subdirs(session: Session, channel_id: int) -> list[str]:
    """Return the subdirs that hold files, by skipping from one to the next in the index."""
    found: list[str] = []
    last = ""
    while True:
        query = (
            select(File.subdir)
            .where(File.channel_id == channel_id, File.subdir > last)
            .order_by(File.channel_id, File.subdir)
            .limit(1)
        )
        subdir = session.scalar(query)
        if subdir is None:
            return found
        found.append(subdir)
        last = subdir


def list_names(session: Session, channel_id: int, subdir: str | None = None) -> list[str]:
    """Return the names that have a file in the subdir, or in any."""
    query = select(File.name).distinct().where(File.channel_id == channel_id).order_by(File.name)
    if subdir is not None:
        query = query.where(File.subdir == subdir)
    return list(session.scalars(query))


def add_superseded(session: Session, rows: Iterable[dict[str, object]]) -> None:
    for row in rows:
        session.merge(IndexSuperseded(**row))


def delete_superseded(session: Session, keys: Sequence[str]) -> list[str]:
    """Forget that the files ``keys`` are superseded; return those that were."""
    found: list[str] = []
    for some in batches(keys):
        query = (
            delete(IndexSuperseded)
            .where(IndexSuperseded.key.in_(some))
            .returning(IndexSuperseded.key)
        )
        found.extend(session.scalars(query))
    return found


def delete_superseded_of(session: Session, channel_id: int) -> None:
    """Forget what is superseded of a channel that was deleted."""
    session.execute(delete(IndexSuperseded).where(IndexSuperseded.channel_id == channel_id))


def list_superseded(
    session: Session, *, before: int, family: str | None = None, apart_from: str = "", limit: int
) -> list[IndexSuperseded]:
    """Return files superseded before ``before``, of one family or of all but one; latest first."""
    query = (
        select(IndexSuperseded)
        .where(IndexSuperseded.superseded_at < before, IndexSuperseded.family != apart_from)
        .order_by(IndexSuperseded.superseded_at.desc())
        .limit(limit)
    )
    if family is not None:
        query = query.where(IndexSuperseded.family == family)
    return list(session.scalars(query))
