"""What the index of a subdir says of its names: the records in the database, changed by plugins."""

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
from quetz.plugins import Plugins
from quetz.services.publishing import Switch, find_channel_of

NAMES_AT_ONCE = 500

Entry = tuple[str, str, str]
"""(file name, record as JSON text, run_exports as JSON text)."""


@dataclass(frozen=True)
class NameRecords:
    """The files of one name: as they were uploaded, and as the index shows them."""

    name: str
    uploaded: Sequence[Entry] = ()
    shown: Sequence[Entry] = ()
    yanked: Sequence[str] = ()

    @property
    def removed(self) -> Sequence[str]:
        """The files that the index lists as removed."""
        return self.yanked

    @property
    def is_empty(self) -> bool:
        """Whether there is no file at all, not even a yanked one."""
        return not self.uploaded and not self.yanked


def read_names(
    session: Session, plugins: Plugins, switch: Switch, names: Sequence[str] | None
) -> Iterator[NameRecords]:
    """Yield the records of each of ``names``, or of all there are, by name.

    A name without files is yielded, too, if it was asked for.
    """
    channel_id, subdir = switch.channel_id, switch.subdir
    if names is None:
        stream = queries.stream_records(session, channel_id, subdir)
        yield from _by_name(session, plugins, switch, stream)
        return
    for first in range(0, len(names), NAMES_AT_ONCE):
        some = names[first : first + NAMES_AT_ONCE]
        rows = queries.list_records_of_names(session, channel_id, subdir, some)
        found = {read.name: read for read in _by_name(session, plugins, switch, rows)}
        for name in some:
            yield found.get(name) or NameRecords(name)


def _by_name(
    session: Session,
    plugins: Plugins,
    switch: Switch,
    rows: Iterable[Row[str, str, str, str, int | None]],
) -> Iterator[NameRecords]:
    hooked = plugins.implements("records_published")
    for name, group in groupby(rows, key=itemgetter(0)):
        uploaded: list[Entry] = []
        yanked: list[str] = []
        for _, filename, record, exports, yanked_at in group:
            if yanked_at is None:
                uploaded.append((filename, record, exports))
            else:
                yanked.append(filename)
        shown = uploaded
        if hooked and uploaded:
            shown = _changed_by_plugins(session, plugins, switch, name, uploaded)
        yield NameRecords(name, uploaded, shown, yanked)


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
