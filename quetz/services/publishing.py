"""Publishing: from records in the database to index files that clients read.

A change leaves marks. A publisher reads marks first and records after, builds the files of
one switch, and in one transaction deletes exactly the marks it read and flips the switch by
compare-and-swap. Index files are caches: every one can be built again from the database.
"""

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

import msgspec
from sqlalchemy.orm import Session

from quetz.conda.patches import PACKAGE_SUFFIX
from quetz.conda.pieces import Table, is_whole
from quetz.db.base import now_ms
from quetz.db.models import Channel, IndexState
from quetz.db.queries import index as queries
from quetz.db.queries.files import list_subdirs
from quetz.services.index_names import is_shard
from quetz.storage import ObjectStore
from quetz.storage.keys import StoreKey, index_key, parse_index_key

SHARDS = "shards"
REPODATA = "repodata"
CHANNELDATA = "channeldata"
PATCHES = "patches"
"""The family of a channel's hotfixes. It has no files: ``services/patches.py`` brings the records
that indexes are made of up to date."""

SHARD = "shard"
"""The family under which a superseded shard waits for its removal."""

WHOLE_CHANNEL = "channel"
"""The family under which a deleted channel's folder waits for its removal."""

LEFTOVER = "leftover"
"""The family under which a file waits for its removal that no switch has ever named."""

CHANNEL_WIDE = ""
"""The subdir of a switch that covers the whole channel."""

EVERYTHING = ""
"""The name in a mark that asks for a switch to be built anew from the database."""

SHARD_INDEX = "repodata_shards.msgpack.zst"
REPODATA_ZST = "repodata.json.zst"
FROM_PACKAGES_ZST = "repodata_from_packages.json.zst"
"""The records as uploaded; published only where they may differ from those of REPODATA_ZST."""

RUN_EXPORTS_ZST = "run_exports.json.zst"
CHANNELDATA_ZST = "channeldata.json.zst"

MARKS_AT_ONCE = 50_000

_PATCHED = [SHARDS, REPODATA]
_MARKS = "quetz.marks"


@dataclass(frozen=True, order=True)
class Switch:
    """What flips at once: one family of index files of a subdir, or of a whole channel."""

    channel_id: int
    subdir: str
    family: str


class IndexFile(msgspec.Struct, frozen=True, omit_defaults=True):
    """A published file: where it lies, and what it must be. ``raw_size`` is uncompressed.

    A document in pieces has a file with its table beside it, under the key ``table``, and the
    hash is of that: it names the hash of each piece, so that no piece is read again for one.
    """

    key: str
    size: int
    sha256: str
    raw_size: int
    table: str | None = None


Files = dict[str, IndexFile]
"""By form, such as ``{"repodata.json.zst": IndexFile(...)}``."""


@dataclass(frozen=True)
class Published:
    """The current files of a switch, and since when, in Unix milliseconds."""

    files: Files
    published_at: int


@dataclass(frozen=True)
class Batch:
    """What a publisher read before it builds; ``names`` is None to build everything."""

    switch: Switch
    marks: list[int]
    names: list[str] | None
    generation: int | None
    published_at: int
    files: Files


@dataclass(frozen=True)
class Built:
    """New files of a switch, already in the store; ``shards`` and ``replaced`` are keys."""

    files: Files
    shards: list[str]
    replaced: list[str]


class StaleBuild(Exception):
    """A shard that was to be used again has been removed meanwhile; build once more."""


# Marks


def mark_dirty(session: Session, channel_id: int, subdir: str, name: str) -> int:
    """Mark that the records of ``name`` changed; return the change's number.

    Call it once for each subdir and name, in the transaction of the change.
    """
    places = [(subdir, SHARDS), (subdir, REPODATA), (CHANNEL_WIDE, CHANNELDATA)]
    if name.endswith(PACKAGE_SUFFIX):
        places.append((CHANNEL_WIDE, PATCHES))
    marks = queries.add_marks(session, channel_id, name, places)
    _note(session, marks)
    return marks[0]


def mark_patched(
    session: Session, channel_id: int, subdir: str, names: Sequence[str]
) -> Sequence[int]:
    """Mark that records of ``names`` are to be shown otherwise; return the marks."""
    marks = queries.add_marks_of_names(session, channel_id, subdir, families=_PATCHED, names=names)
    _note(session, marks)
    return marks


def is_patched(session: Session, channel_id: int, last_mark: int) -> bool:
    """Say whether indexes show what ``mark_patched`` marked until then."""
    return not queries.has_marks_until(session, channel_id, _PATCHED, last_mark)


def remove_marks(session: Session, marks: Sequence[int]) -> None:
    """Remove marks that stand for nothing any more."""
    queries.delete_marks(session, marks)


def mark_many(session: Session, channel_id: int, changed: Iterable[tuple[str, str]]) -> None:
    """Mark each (subdir, name), as ``mark_dirty`` does."""
    changed = sorted(set(changed))
    marks = [(subdir, family, name) for subdir, name in changed for family in (SHARDS, REPODATA)]
    names = sorted({name for _, name in changed})
    marks += [(CHANNEL_WIDE, CHANNELDATA, name) for name in names]
    marks += [(CHANNEL_WIDE, PATCHES, name) for name in names if name.endswith(PACKAGE_SUFFIX)]
    _note(session, queries.add_marks_of(session, channel_id, marks))


def note_unpublished(session: Session, channel_id: int, subdir: str, name: str) -> None:
    """Let who waits for the index wait for a former change of ``name``, as for one of his own."""
    subdirs = [subdir, CHANNEL_WIDE]
    _note(session, queries.list_marks_of_name(session, channel_id, subdirs, name))


def mark_for_rebuild(session: Session, switch: Switch) -> None:
    """Ask for a switch to be built anew, because one of its files is missing or torn.

    Asking again while the first request waits changes nothing.
    """
    if not queries.has_mark(session, switch.channel_id, switch.subdir, switch.family, EVERYTHING):
        _mark_everything(session, switch)


def _mark_everything(session: Session, switch: Switch) -> None:
    place = (switch.subdir, switch.family)
    _note(session, queries.add_marks(session, switch.channel_id, EVERYTHING, [place]))


def mark_channel_for_rebuild(session: Session, channel_id: int) -> list[Switch]:
    """Ask for every switch of a channel to be built anew; return which these are.

    What is being built anew at this moment may have read its records already: it is built again.
    """
    published = {switch.subdir for switch in list_published(session, channel_id)}
    subdirs = published.union(list_subdirs(session, channel_id)) - {CHANNEL_WIDE}
    switches = [
        Switch(channel_id, subdir, family)
        for subdir in sorted(subdirs)
        for family in (SHARDS, REPODATA)
    ]
    switches.append(Switch(channel_id, CHANNEL_WIDE, CHANNELDATA))
    for switch in switches:
        _mark_everything(session, switch)
    return switches


def marks_of(session: Session) -> list[int]:
    """Return the marks that the transaction of ``session`` left, or asked to wait for."""
    marks: list[int] = session.info.get(_MARKS, [])
    return marks


def _note(session: Session, marks: Iterable[int]) -> None:
    session.info.setdefault(_MARKS, []).extend(marks)


def find_channel_of(session: Session, switch: Switch) -> Channel | None:
    return session.get(Channel, switch.channel_id)


def has_marks(session: Session, channel_id: int) -> bool:
    """Say whether changes of the channel wait to be published."""
    return queries.has_marks(session, channel_id)


def list_marked(session: Session) -> list[Switch]:
    return [Switch(*row) for row in queries.list_marked_switches(session)]


# Reading


def decode_files(text: str) -> Files:
    return msgspec.json.decode(text, type=Files)


def list_published(session: Session, channel_id: int | None = None) -> dict[Switch, Published]:
    """Return what is published of every switch of a channel, or of all."""
    return {
        Switch(state.channel_id, state.subdir, state.family): Published(
            decode_files(state.files), state.published_at
        )
        for state in queries.list_states(session, channel_id)
    }


def read_batch(session: Session, switch: Switch) -> Batch | None:
    """Read a switch's marks and its current files; None when there is no mark."""
    marks = queries.list_marks(
        session, switch.channel_id, switch.subdir, switch.family, limit=MARKS_AT_ONCE
    )
    if not marks:
        return None
    names = sorted({name for _, name in marks})
    batch = _read_state(session, switch, marks=[mark for mark, _ in marks], names=names)
    rebuild = EVERYTHING in names or batch.generation is None
    return replace(batch, names=None) if rebuild else batch


def read_quiet(session: Session, switch: Switch) -> Batch | None:
    """Read a switch's current files; None when there is a mark, or no file."""
    if queries.list_marks(session, switch.channel_id, switch.subdir, switch.family, limit=1):
        return None
    batch = _read_state(session, switch, marks=[], names=[])
    return None if batch.generation is None else batch


def _read_state(session: Session, switch: Switch, *, marks: list[int], names: list[str]) -> Batch:
    state = queries.find_state(session, switch.channel_id, switch.subdir, switch.family)
    return Batch(
        switch=switch,
        marks=marks,
        names=names,
        generation=None if state is None else state.generation,
        published_at=0 if state is None else state.published_at,
        files={} if state is None else decode_files(state.files),
    )


def read_file(store: ObjectStore, file: IndexFile) -> bytes | None:
    """Read a published file; None when it is missing or torn."""
    data = store.read_index(parse_index_key(file.key))
    if data is None or len(data) != file.size:
        return None
    if file.table is None:
        return data if sha256(data).hexdigest() == file.sha256 else None
    table = read_table(store, file)
    return data if table is not None and is_whole(table, data) else None


def read_table(store: ObjectStore, file: IndexFile | None) -> Table | None:
    """Read the table of a document in pieces; None when it is missing or torn, or it has none."""
    if file is None or file.table is None:
        return None
    data = store.read_index(parse_index_key(file.table))
    if data is None or sha256(data).hexdigest() != file.sha256:
        return None
    try:
        return Table.decode(data)
    except msgspec.MsgspecError:  # of another version of quetz
        return None


def shard_key(switch: Switch, digest: str) -> StoreKey:
    return index_key(switch.channel_id, switch.subdir, f"{digest}.msgpack.zst")


def new_key(batch: Batch, stem: str, suffix: str) -> StoreKey:
    """Name a file of the generation that the batch leads to.

    A name never changes its content: the random part keeps those apart that two publishers, or a
    life before a crash, give to the same generation.
    """
    name = f"{stem}-{(batch.generation or 0) + 1}-{secrets.token_hex(4)}{suffix}"
    return index_key(batch.switch.channel_id, batch.switch.subdir, name)


def keys_of(files: Files) -> list[str]:
    """Return the keys of the files and of their tables."""
    tables = [file.table for file in files.values() if file.table is not None]
    return [file.key for file in files.values()] + tables


# Flipping


def flip(session: Session, store: ObjectStore, batch: Batch, built: Built) -> bool:
    """Make the built files the current ones, unless another publisher was quicker.

    Raises:
        StaleBuild: roll back, and build again.
    """
    switch = batch.switch
    if not queries.hold_channel(session, switch.channel_id):
        return False  # it was deleted meanwhile, and its marks went with it
    now = now_ms()
    state = IndexState(
        channel_id=switch.channel_id,
        subdir=switch.subdir,
        family=switch.family,
        # It counts up even where no file changed: a slower publisher must find that marks of
        # its own were published by someone else.
        generation=(batch.generation or 0) + 1,
        published_at=now if built.files != batch.files else batch.published_at,
        files=msgspec.json.encode(built.files).decode(),
    )
    if not queries.flip_state(session, state, read_generation=batch.generation):
        return False
    _revive(session, store, [*built.shards, *keys_of(built.files)])
    supersede(session, switch, built.replaced, now)
    remove_marks(session, batch.marks)
    return True


def _revive(session: Session, store: ObjectStore, keys: list[str]) -> None:
    """Take files that are named now off the list of the superseded, and see that they are there.

    The collector removes files inside the transaction that takes them off the same list. Taking
    them off waits for it; what is still there after that, no collector can remove.
    """
    queries.delete_superseded(session, keys)
    if not store.has_all([parse_index_key(key) for key in keys]):
        raise StaleBuild


def supersede(session: Session, switch: Switch, keys: Iterable[str], now: int) -> None:
    """Let the files with these keys be removed after a while."""
    rows = [
        {
            "key": key,
            "channel_id": switch.channel_id,
            "subdir": switch.subdir,
            "family": SHARD if is_shard(key) else switch.family,
            "superseded_at": now,
        }
        for key in keys
    ]
    queries.add_superseded(session, rows)


def is_current(session: Session, switch: Switch, built: Built) -> bool:
    """Say whether the built files are the current ones of their switch."""
    state = queries.find_state(session, switch.channel_id, switch.subdir, switch.family)
    return state is not None and decode_files(state.files) == built.files


def discard(store: ObjectStore, batch: Batch, built: Built) -> None:
    """Remove the files of a build that was not flipped to; shards may be used by others."""
    for key in keys_of(built.files):
        if key not in keys_of(batch.files):
            store.delete_index(parse_index_key(key))
