"""Marks, switches and superseded files of published indexes, and the records they show."""

from collections.abc import Iterator, Sequence

from sqlalchemy import Row, bindparam, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from quetz.db.models import Channel, File, IndexDirty, IndexState, IndexSuperseded
from quetz.db.queries.windows import batches

STREAM_ROWS = 2_000

# Built once: every upload or every publication runs these, and to build one takes longer than
# SQLite takes to run it.
_ADD_MARKS = insert(IndexDirty).returning(IndexDirty.id, sort_by_parameter_order=True)
_MARKED_SWITCHES = (
    select(IndexDirty.channel_id, IndexDirty.subdir, IndexDirty.family)
    .distinct()
    .order_by(IndexDirty.channel_id, IndexDirty.subdir, IndexDirty.family)
)
_MARKS = (
    select(IndexDirty.id, IndexDirty.name)
    .where(
        IndexDirty.channel_id == bindparam("channel_id"),
        IndexDirty.subdir == bindparam("subdir"),
        IndexDirty.family == bindparam("family"),
    )
    .order_by(IndexDirty.id)
    .limit(bindparam("limit"))
)
_DELETE_MARKS = delete(IndexDirty).where(IndexDirty.id.in_(bindparam("ids", expanding=True)))
_HOLD_CHANNEL = (
    select(Channel.id)
    .where(Channel.id == bindparam("channel_id"))
    .with_for_update(read=True, key_share=True)
)
_STATE = select(IndexState).where(
    IndexState.channel_id == bindparam("channel_id"),
    IndexState.subdir == bindparam("subdir"),
    IndexState.family == bindparam("family"),
)
_FLIP = (
    update(IndexState)
    .where(
        IndexState.channel_id == bindparam("in_channel"),
        IndexState.subdir == bindparam("in_subdir"),
        IndexState.family == bindparam("in_family"),
        IndexState.generation == bindparam("read_generation"),
    )
    .values(
        generation=bindparam("new_generation"),
        published_at=bindparam("new_published_at"),
        files=bindparam("new_files"),
    )
    .returning(IndexState.generation)
)
_DELETE_SUPERSEDED = (
    delete(IndexSuperseded)
    .where(IndexSuperseded.key.in_(bindparam("keys", expanding=True)))
    .returning(IndexSuperseded.key)
)
_RECORDS = (File.name, File.filename, File.record, File.run_exports, File.yanked_at)
_RECORDS_OF_NAMES = (
    select(*_RECORDS)
    .where(
        File.channel_id == bindparam("channel_id"),
        File.subdir == bindparam("subdir"),
        File.name.in_(bindparam("names", expanding=True)),
    )
    .order_by(File.name, File.filename)
)


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


def add_marks_of_names(
    session: Session,
    channel_id: int,
    subdir: str,
    *,
    families: Sequence[str],
    names: Sequence[str],
) -> Sequence[int]:
    """Add a mark for each family and name; return their ids."""
    rows = [
        {"channel_id": channel_id, "subdir": subdir, "family": family, "name": name}
        for name in names
        for family in families
    ]
    return session.connection().scalars(_ADD_MARKS, rows).all() if rows else []


def list_marked_switches(session: Session) -> list[tuple[int, str, str]]:
    """Return each (channel id, subdir, family) that has a mark."""
    found = session.connection().execute(_MARKED_SWITCHES)
    return [(channel, subdir, family) for channel, subdir, family in found]


def list_marks(
    session: Session, channel_id: int, subdir: str, family: str, *, limit: int
) -> list[tuple[int, str]]:
    """Return (id, name) of the oldest marks of a switch."""
    wanted = {"channel_id": channel_id, "subdir": subdir, "family": family, "limit": limit}
    return [(mark, name) for mark, name in session.connection().execute(_MARKS, wanted)]


def measure_marks(session: Session) -> tuple[int, int | None]:
    """Return how many marks there are, and the id of the oldest."""
    query = select(func.count(IndexDirty.id), func.min(IndexDirty.id))
    count, oldest = session.execute(query).one()
    return count, oldest


def delete_marks(session: Session, ids: Sequence[int]) -> None:
    for some in batches(ids):
        session.connection().execute(_DELETE_MARKS, {"ids": some})


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


def list_marks_of_channel(session: Session, channel_id: int) -> Sequence[int]:
    """Return the ids of all marks of a channel."""
    return session.scalars(select(IndexDirty.id).where(IndexDirty.channel_id == channel_id)).all()


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


def has_marks_until(session: Session, channel_id: int, families: Sequence[str], last: int) -> bool:
    """Tell whether a switch of these families has a mark whose id is not above ``last``."""
    query = select(IndexDirty.id).where(
        IndexDirty.channel_id == channel_id,
        IndexDirty.family.in_(families),
        IndexDirty.id <= last,
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
    found = session.connection().scalar(_HOLD_CHANNEL, {"channel_id": channel_id})
    return found is not None


def is_channel(session: Session, channel_id: int) -> bool:
    return session.scalar(select(Channel.id).where(Channel.id == channel_id)) is not None


def stop_flips(session: Session, channel_id: int) -> bool:
    """Let no switch of a channel flip until this transaction ends; False: the channel is gone.

    A flip holds the channel, for which it waits on PostgreSQL; SQLite has one writer anyway.
    """
    query = select(Channel.id).where(Channel.id == channel_id).with_for_update()
    return session.scalar(query) is not None


def find_state(session: Session, channel_id: int, subdir: str, family: str) -> IndexState | None:
    wanted = {"channel_id": channel_id, "subdir": subdir, "family": family}
    return session.scalar(_STATE, wanted)


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
    changed = session.connection().execute(
        _FLIP,
        {
            "in_channel": state.channel_id,
            "in_subdir": state.subdir,
            "in_family": state.family,
            "read_generation": read_generation,
            "new_generation": state.generation,
            "new_published_at": state.published_at,
            "new_files": state.files,
        },
    )
    return changed.one_or_none() is not None


def list_records_of_names(
    session: Session, channel_id: int, subdir: str, names: Sequence[str]
) -> Sequence[Row[str, str, str, str, int | None]]:
    """Return (name, filename, record, run_exports, yanked at) by name and filename."""
    wanted = {"channel_id": channel_id, "subdir": subdir, "names": names}
    return session.connection().execute(_RECORDS_OF_NAMES, wanted).all()


def stream_records(
    session: Session, channel_id: int, subdir: str
) -> Iterator[Row[str, str, str, str, int | None]]:
    """Yield (name, filename, record, run_exports, yanked at) of a subdir, by name and filename."""
    query = (
        select(*_RECORDS)
        .where(File.channel_id == channel_id, File.subdir == subdir)
        .order_by(File.name, File.filename)
        .execution_options(yield_per=STREAM_ROWS)
    )
    # The session itself would look through each row for entities.
    found = session.connection().execute(query)
    try:
        yield from found
    finally:
        found.close()  # whoever builds an index may stop before the last


def list_channeldata_of_names(
    session: Session, channel_id: int, subdirs: Sequence[str], names: Sequence[str]
) -> Sequence[Row[str, str, str, str, str]]:
    """Return (name, subdir, record, about, run_exports) of files that are not yanked, by name."""
    query = (
        select(File.name, File.subdir, File.record, File.about, File.run_exports)
        .where(
            File.channel_id == channel_id,
            File.subdir.in_(subdirs),
            File.name.in_(names),
            File.yanked_at.is_(None),
        )
        .order_by(File.name, File.subdir, File.filename)
    )
    return session.connection().execute(query).all()


def list_names(session: Session, channel_id: int, subdir: str | None = None) -> list[str]:
    """Return the names that have a file in the subdir, or in any."""
    query = select(File.name).distinct().where(File.channel_id == channel_id).order_by(File.name)
    if subdir is not None:
        query = query.where(File.subdir == subdir)
    return list(session.scalars(query))


def add_superseded(session: Session, rows: Sequence[dict[str, object]]) -> None:
    """Add rows, in the place of those that have their keys."""
    if not rows:
        return
    delete_superseded(session, [str(row["key"]) for row in rows])
    session.connection().execute(insert(IndexSuperseded), rows)


def delete_superseded(session: Session, keys: Sequence[str]) -> list[str]:
    """Forget that the files ``keys`` are superseded; return those that were."""
    found: list[str] = []
    for some in batches(keys):
        found.extend(session.connection().scalars(_DELETE_SUPERSEDED, {"keys": some}))
    return found


def delete_superseded_of(session: Session, channel_id: int) -> None:
    """Forget what is superseded of a channel that was deleted."""
    session.execute(delete(IndexSuperseded).where(IndexSuperseded.channel_id == channel_id))


def list_superseded_keys(session: Session, channel_id: int) -> Sequence[str]:
    """Return the keys of all files of a channel, or of its whole folder, that are superseded."""
    query = select(IndexSuperseded.key).where(IndexSuperseded.channel_id == channel_id)
    return session.scalars(query.order_by(IndexSuperseded.key)).all()


def list_superseded(
    session: Session,
    *,
    before: int,
    family: str | None = None,
    apart_from: Sequence[str] = (),
    limit: int,
) -> list[IndexSuperseded]:
    """Return files superseded before ``before``, of one family or of all but some; latest first."""
    query = (
        select(IndexSuperseded)
        .where(IndexSuperseded.superseded_at < before, IndexSuperseded.family.not_in(apart_from))
        .order_by(IndexSuperseded.superseded_at.desc())
        .limit(limit)
    )
    if family is not None:
        query = query.where(IndexSuperseded.family == family)
    return list(session.scalars(query))
