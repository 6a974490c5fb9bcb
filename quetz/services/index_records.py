"""What the index of a subdir says of its names: the records in the database, and their changes."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any

import msgspec
from sqlalchemy import Row
from sqlalchemy.orm import Session

from quetz.conda.texts import encode_json
from quetz.db.queries import index as queries
from quetz.db.queries.patches import has_patches
from quetz.plugins import Plugins
from quetz.services.patches import SubdirPatches, show
from quetz.services.publishing import Switch, find_channel_of

NAMES_AT_ONCE = 500

Entry = tuple[str, str, str]
"""(file name, record as JSON text, run_exports as JSON text)."""


@dataclass(frozen=True)
class NameRecords:
    """The files of one name: as they were uploaded, and as the index shows them.

    ``removed`` are what it lists as removed: what was ``yanked``, and what hotfixes remove.
    """

    name: str
    uploaded: Sequence[Entry] = ()
    yanked: Sequence[str] = ()
    shown: Sequence[Entry] = ()
    removed: Sequence[str] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is no file at all, not even a yanked one."""
        return not self.uploaded and not self.yanked


def may_differ(session: Session, plugins: Plugins, switch: Switch) -> bool:
    """Tell whether something may change the records of a subdir on their way to its index."""
    return plugins.implements("records_published") or has_patches(
        session, switch.channel_id, switch.subdir
    )


def read_names(
    session: Session, plugins: Plugins, switch: Switch, names: Sequence[str] | None
) -> Iterator[NameRecords]:
    """Yield the records of each of ``names``, or of all there are, by name.

    A name without files is yielded, too, if it was asked for.
    """
    channel_id, subdir = switch.channel_id, switch.subdir
    if names is None:
        stream = queries.stream_records(session, channel_id, subdir)
        yield from _Reader(session, plugins, switch, None).by_name(stream)
        return
    for first in range(0, len(names), NAMES_AT_ONCE):
        some = names[first : first + NAMES_AT_ONCE]
        rows = queries.list_records_of_names(session, channel_id, subdir, some)
        found = {read.name: read for read in _Reader(session, plugins, switch, some).by_name(rows)}
        for name in some:
            yield found.get(name) or NameRecords(name)


class _Reader:
    """Makes of rows what an index shows: by hotfixes first, then by plugins."""

    def __init__(
        self, session: Session, plugins: Plugins, switch: Switch, names: Sequence[str] | None
    ) -> None:
        self._session = session
        self._plugins = plugins
        self._switch = switch
        self._hooked = plugins.implements("records_published")
        self._patches = SubdirPatches(session, switch.channel_id, switch.subdir, names)

    def by_name(self, rows: Iterable[Row[str, str, str, str, int | None]]) -> Iterator[NameRecords]:
        """Yield the records of each name; ``rows`` are ordered by name and file name."""
        for name, group in groupby(rows, key=itemgetter(0)):
            files = [(row[1], row[2], row[3], row[4]) for row in group]
            uploaded = [file[:3] for file in files if file[3] is None]
            yanked = [file[0] for file in files if file[3] is not None]
            shown, removed = self._patched(name, files) or (uploaded, yanked)
            if self._hooked and shown:
                shown = _changed_by_plugins(self._session, self._plugins, self._switch, name, shown)
            yield NameRecords(name, uploaded, yanked, shown, removed)

    def _patched(
        self, name: str, files: Sequence[tuple[str, str, str, int | None]]
    ) -> tuple[list[Entry], list[str]] | None:
        """Return what is shown and what is removed of a name; None if it has no hotfixes."""
        patches = self._patches.of(name)
        if not patches:
            return None
        shown = [show(patches, *file) for file in files]
        return (
            [file[:3] for file in shown if not file.removed],
            [file.filename for file in shown if file.removed],
        )


def _changed_by_plugins(
    session: Session, plugins: Plugins, switch: Switch, name: str, entries: Sequence[Entry]
) -> list[Entry]:
    records: dict[str, dict[str, Any]] = {
        filename: msgspec.json.decode(record) for filename, record, _ in entries
    }
    plugins.call(
        "records_published",
        session=session,
        channel=find_channel_of(session, switch),
        subdir=switch.subdir,
        name=name,
        records=records,
    )
    return [
        (filename, encode_json(records[filename]), exports)
        for filename, _, exports in entries
        if filename in records
    ]
