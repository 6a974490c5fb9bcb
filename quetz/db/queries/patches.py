"""Hotfixes of channels, and the packages that they come from."""

from collections.abc import Iterator, Sequence

from sqlalchemy import Row, bindparam, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from quetz.db.models import File, PatchSource, RecordPatch
from quetz.db.queries.files import list_subdirs
from quetz.db.queries.index import STREAM_ROWS
from quetz.db.queries.windows import batches

_PATCHES = (
    select(RecordPatch.name, RecordPatch.filename, RecordPatch.patch)
    .where(
        RecordPatch.channel_id == bindparam("channel_id"),
        RecordPatch.subdir == bindparam("subdir"),
    )
    .order_by(RecordPatch.name, RecordPatch.filename)
)
_PATCHES_OF_NAMES = _PATCHES.where(RecordPatch.name.in_(bindparam("names", expanding=True)))
_AT_PLACE = (
    RecordPatch.channel_id == bindparam("at_channel"),
    RecordPatch.subdir == bindparam("at_subdir"),
    RecordPatch.name == bindparam("at_name"),
    RecordPatch.filename == bindparam("at_filename"),
)


def list_unyanked(
    session: Session, channel_id: int, name: str
) -> Sequence[Row[str, str, str, int, str, str]]:
    """Return (subdir, filename, version, build number, sha256, record) of a name's files."""
    query = (
        select(
            File.subdir, File.filename, File.version, File.build_number, File.sha256, File.record
        )
        .where(
            File.channel_id == channel_id,
            File.subdir.in_(list_subdirs(session, channel_id)),
            File.name == name,
            File.yanked_at.is_(None),
        )
        .order_by(File.subdir, File.name, File.filename)
    )
    return session.execute(query).all()


def find_source(session: Session, channel_id: int) -> PatchSource | None:
    return session.get(PatchSource, channel_id)


def lock_source(session: Session, channel_id: int) -> PatchSource | None:
    """Keep others from changing the channel's patches; None if another is just about to begin."""
    found = session.get(PatchSource, channel_id, with_for_update=True, populate_existing=True)
    if found is not None:
        return found
    source = PatchSource(channel_id=channel_id)
    try:
        with session.begin_nested():
            session.add(source)
    except IntegrityError:
        return None
    return source


def list_patched_subdirs(session: Session, channel_id: int) -> Sequence[str]:
    query = select(RecordPatch.subdir).distinct().where(RecordPatch.channel_id == channel_id)
    return session.scalars(query).all()


def has_patches(session: Session, channel_id: int, subdir: str) -> bool:
    query = select(RecordPatch.name).where(
        RecordPatch.channel_id == channel_id, RecordPatch.subdir == subdir
    )
    return session.scalar(query.limit(1)) is not None


def stream_patches(
    session: Session, channel_id: int, subdir: str, names: Sequence[str] | None = None
) -> Iterator[Row[str, str, str]]:
    """Yield (name, filename, patch) of a subdir, by name and filename.

    With ``names``, in order, only theirs.
    """
    wanted: dict[str, object] = {"channel_id": channel_id, "subdir": subdir}
    if names is not None:
        for some in batches(names):
            yield from session.connection().execute(_PATCHES_OF_NAMES, wanted | {"names": some})
        return
    found = session.execute(_PATCHES.execution_options(yield_per=STREAM_ROWS), wanted)
    try:
        yield from found
    finally:
        found.close()  # whoever builds an index may stop before the last


def add_patches(session: Session, rows: Sequence[dict[str, object]]) -> None:
    """Insert rows, given as their columns."""
    for some in batches(rows):
        session.connection().execute(insert(RecordPatch), some)


def change_patches(session: Session, rows: Sequence[dict[str, object]]) -> None:
    """Set the patch of rows that are there; given as for ``add_patches``."""
    statement = update(RecordPatch).where(*_AT_PLACE).values(patch=bindparam("new"))
    for some in batches(rows):
        places = [_place(row) | {"new": row["patch"]} for row in some]
        session.connection().execute(statement, places)


def delete_patches(session: Session, rows: Sequence[dict[str, object]]) -> None:
    statement = delete(RecordPatch).where(*_AT_PLACE)
    for some in batches(rows):
        session.connection().execute(statement, [_place(row) for row in some])


def _place(row: dict[str, object]) -> dict[str, object]:
    return {f"at_{key.removesuffix('_id')}": value for key, value in row.items() if key != "patch"}
