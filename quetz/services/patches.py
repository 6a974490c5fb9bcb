"""Hotfixes: from the newest patches package of a channel to the records that indexes show.

The package is read once, when it came; its patches are rows beside the files' own. So an index is
still built of the names that changed, and a file uploaded later is corrected from the first.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

import msgspec
from rattler import Version
from sqlalchemy.orm import Session

from quetz.conda.filenames import PackageFilename, name_of_file
from quetz.conda.patches import apply_patch, find_patch, patches_package, read_patches
from quetz.conda.timestamps import to_seconds
from quetz.conda.versions import parse_version
from quetz.db.models import Channel
from quetz.db.queries import index, patches
from quetz.db.queries.channels import lock_channel
from quetz.services.publishing import (
    MARKS_AT_ONCE,
    Switch,
    find_channel_of,
    is_patched,
    mark_patched,
)
from quetz.storage import ObjectStore, Stage
from quetz.storage.keys import object_key

Patches = dict[str, dict[str, str]]
"""By subdir and file name, as ``read_patches`` returns them."""

_Row = dict[str, object]


class Source(NamedTuple):
    """A package with hotfixes."""

    subdir: str
    filename: str
    sha256: str


@dataclass(frozen=True)
class Due:
    """What the marks of a channel's hotfixes ask for: those of ``source``, or none.

    ``applied``: the channel has them. ``shown``: its indexes show all that were ever applied.
    """

    switch: Switch
    marks: list[int]
    channel: str
    source: Source | None
    applied: bool
    shown: bool


def check_patches(channel: str, staged: Iterable[tuple[str, Stage]]) -> None:
    """Refuse a package of the channel's hotfixes from which none can be read.

    Raises:
        BadArchive: it has no sound instructions, or too many.
    """
    for filename, stage in staged:
        if PackageFilename.parse(filename).name == patches_package(channel):
            with stage.path.open("rb") as file:
                read_patches(file, filename)


# Applying a package


def find_due(session: Session, switch: Switch) -> Due | None:
    """Return what the marks of the switch ask for; None when there is no mark."""
    channel = find_channel_of(session, switch)
    marks = index.list_marks(
        session, switch.channel_id, switch.subdir, switch.family, limit=MARKS_AT_ONCE
    )
    if channel is None or not marks:
        return None
    source, present = _newest(session, channel), patches.find_source(session, channel.id)
    last_mark = present.last_mark if present is not None else None
    return Due(
        switch=switch,
        marks=[mark for mark, _ in marks],
        channel=channel.name,
        source=source,
        applied=_digest(source) == (present and present.sha256),
        shown=last_mark is None or is_patched(session, channel.id, last_mark),
    )


def read_due(store: ObjectStore, due: Due) -> Patches:
    """Return the patches that the channel is to have.

    Raises:
        BadArchive: they cannot be read.
    """
    if due.source is None:
        return {}
    with store.open_file(object_key(due.source.sha256)) as file:
        return read_patches(file, due.source.filename)


def apply_due(session: Session, due: Due, wanted: Patches) -> bool:
    """Give the channel the patches ``wanted``, and mark the names whose patches changed.

    Returns False, and changes nothing, if another package is the newest by now, or somebody else
    is at it. The marks of ``due`` stay: who waits for them wants to see what was applied.
    """
    channel = find_channel_of(session, due.switch)
    if channel is None or not index.hold_channel(session, channel.id):
        return False
    source = patches.lock_source(session, channel.id)
    if source is None or _newest(session, channel) != due.source:
        return False
    changed = {
        subdir: _replace(session, channel.id, subdir, wanted.get(subdir, {}))
        for subdir in sorted({*wanted, *patches.list_patched_subdirs(session, channel.id)})
    }
    # A file that comes now is either seen here, or published when the patches are there. Not
    # sooner: who uploads would wait until all of them are written.
    lock_channel(session, channel)
    for subdir, names in changed.items():
        present = names & set(index.list_names(session, channel.id, subdir)) if names else ()
        marks = mark_patched(session, channel.id, subdir, sorted(present))
        source.last_mark = max(marks, default=source.last_mark)
    source.sha256 = _digest(due.source)
    return True


def _digest(source: Source | None) -> str | None:
    return None if source is None else source.sha256


def _newest(session: Session, channel: Channel) -> Source | None:
    """Return the newest package of hotfixes: by version, build number, then timestamp."""
    rows = patches.list_unyanked(session, channel.id, patches_package(channel.name))
    if not rows:
        return None

    def age(row: tuple[str, str, str, int, str, str]) -> tuple[Version, int, int, str]:
        _, filename, version, build_number, _, record = row
        timestamp = to_seconds(msgspec.json.decode(record).get("timestamp") or 0)
        return parse_version(version), build_number, timestamp, filename

    row = max(rows, key=age)
    return Source(row.subdir, row.filename, row.sha256)


def _replace(session: Session, channel_id: int, subdir: str, wanted: dict[str, str]) -> set[str]:
    """Make the patches of a subdir those that are wanted; return the names that they are of."""
    left = dict(wanted)
    gone, other = list[_Row](), list[_Row]()
    for name, filename, patch in patches.stream_patches(session, channel_id, subdir):
        text = left.pop(filename, None)
        if text == patch:
            continue
        row = _row(channel_id, subdir, name, filename, text or patch)
        (gone if text is None else other).append(row)
    new = [
        _row(channel_id, subdir, name_of_file(filename), filename, text)
        for filename, text in left.items()
    ]
    patches.delete_patches(session, gone)
    patches.change_patches(session, other)
    patches.add_patches(session, new)
    return {str(row["name"]) for row in [*gone, *other, *new]}


def _row(channel_id: int, subdir: str, name: str, filename: str, patch: str) -> _Row:
    return {
        "channel_id": channel_id,
        "subdir": subdir,
        "name": name,
        "filename": filename,
        "patch": patch,
    }


# Records with their patches


class Shown(NamedTuple):
    """What an index shows of a file; of one that is ``removed`` only its name."""

    filename: str
    record: str
    run_exports: str
    removed: bool


class SubdirPatches:
    """The patches of a subdir, of ``names`` or of all, read in one query beside its records."""

    def __init__(
        self,
        session: Session,
        channel_id: int,
        subdir: str,
        names: Sequence[str] | None = None,
    ) -> None:
        rows = patches.stream_patches(session, channel_id, subdir, names)
        self._groups: Iterator[tuple[str, dict[str, str]]] = (
            (name, {row.filename: row.patch for row in group})
            for name, group in groupby(rows, key=lambda row: row.name)
        )
        self._next = next(self._groups, None)

    def of(self, name: str) -> Mapping[str, str]:
        """Return the patches of a name by file name; names must be asked for in their order."""
        while self._next is not None and self._next[0] < name:
            self._next = next(self._groups, None)
        return self._next[1] if self._next is not None and self._next[0] == name else {}


def show(
    patches_of_name: Mapping[str, str],
    filename: str,
    record: str,
    run_exports: str,
    yanked_at: int | None,
) -> Shown:
    """Return what an index shows of a file whose name has these patches."""
    patch = find_patch(patches_of_name, filename)
    if patch is None:
        return Shown(filename, record, run_exports, yanked_at is not None)
    record, run_exports = apply_patch(patch, record, run_exports)
    return Shown(filename, record, run_exports, yanked_at is not None or patch.removed)
