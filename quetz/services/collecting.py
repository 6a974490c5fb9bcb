"""Collecting: removing index files that no reader can still want."""

from collections import Counter

from sqlalchemy.orm import Session

from quetz.crashpoints import crashpoint
from quetz.db.base import now_ms
from quetz.db.models import Channel, IndexSuperseded
from quetz.db.queries import index as queries
from quetz.services.index_names import gzip_key
from quetz.services.publishing import (
    CHANNEL_WIDE,
    LEFTOVER,
    SHARD,
    WHOLE_CHANNEL,
    Switch,
    supersede,
)
from quetz.storage import ObjectStore
from quetz.storage.keys import parse_index_key

SHARD_GRACE_MS = 7 * 24 * 3600 * 1000
"""A client with an old shard index must still find its shards for a week (CEP 16)."""

FILE_GRACE_MS = 60 * 1000
"""How long a reader may take between reading the switch and opening its file."""

LEFTOVER_GRACE_MS = 3600 * 1000
"""How long a publisher may take from writing a file to naming it. Who takes longer builds again."""

ALWAYS_KEPT = 2
NEVER_MORE_THAN = 10
SEEN = 50_000
BATCH = 200
"""How many files go in one transaction: their removal holds a write lock."""


def forget_channel(session: Session, channel: Channel) -> None:
    """Let the index files of a channel that is being deleted be removed after a while."""
    switch = Switch(channel.id, CHANNEL_WIDE, WHOLE_CHANNEL)
    supersede(session, switch, [f"index/{channel.id}"], now_ms())


def collect_superseded(session: Session, store: ObjectStore, *, now: int) -> int:
    """Remove some index files that were superseded long enough ago; return how many.

    Fewer than ``BATCH`` says that no more are due.

    Of each switch the two generations before the current one are kept, and what was superseded
    within the last minute, but never more than ten; what no switch has ever named goes after an
    hour. The files go inside the transaction that
    forgets them: a publisher that wants a shard again waits for the row, and then sees.
    """
    due = []
    for family, grace in ((SHARD, SHARD_GRACE_MS), (LEFTOVER, LEFTOVER_GRACE_MS)):
        due += queries.list_superseded(session, before=now - grace, family=family, limit=BATCH)
    recent: Counter[tuple[int, str, str, tuple[str, str]]] = Counter()
    for row in queries.list_superseded(
        session, before=now, apart_from=(SHARD, LEFTOVER), limit=SEEN
    ):
        place = (row.channel_id, row.subdir, row.family, _form(row.key))
        recent[place] += 1
        is_old = now - row.superseded_at >= FILE_GRACE_MS
        kept = 0 if row.family == WHOLE_CHANNEL else ALWAYS_KEPT
        if recent[place] > (kept if is_old else NEVER_MORE_THAN):
            due.append(row)
    for row in due[:BATCH]:
        if queries.delete_superseded(session, [row.key]):
            _remove(store, row)
            crashpoint("supersede.removing")
            if row.family == WHOLE_CHANNEL:  # that was all there is of it
                queries.delete_superseded_of(session, row.channel_id)
    return min(len(due), BATCH)


def _form(key: str) -> tuple[str, str]:
    """Tell what kind of file a key is of: a document, its table, or another."""
    name = key.rpartition("/")[2]
    return name.partition("-")[0], name.partition(".")[2]


def _remove(store: ObjectStore, row: IndexSuperseded) -> None:
    keys = [row.key]
    if row.family == WHOLE_CHANNEL:
        keys = list(store.list_index(row.channel_id))
    for key in keys:
        store.delete_index(parse_index_key(key))
        if key.endswith(".json.zst"):
            store.delete_index(gzip_key(key))
