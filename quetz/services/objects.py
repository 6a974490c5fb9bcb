"""Objects: when their bytes are needed, and when they may go.

A file's row is what refers to an object. Whatever makes such a row or ends it touches the object in
its own transaction, so that one which no file names and nobody has touched for the grace was not
referred to all that time.
"""

import json
from collections.abc import Iterable, Sequence

from sqlalchemy.orm import Session

from quetz.crashpoints import crashpoint
from quetz.db.base import now_ms
from quetz.db.queries import objects as queries
from quetz.db.queries.objects import Found
from quetz.errors.collecting import BytesRemoved
from quetz.services.events import record_event
from quetz.services.permissions import OPERATOR
from quetz.storage import ObjectStore
from quetz.storage.keys import object_key

DAY_MS = 24 * 3600 * 1000

COLLECTED = "objects.collect"
"""The action in the audit log."""


def list_stale(session: Session, hashes: Iterable[str]) -> list[tuple[str, int]]:
    """Return (sha256, size) of objects that have to be touched before their bytes are put again.

    The collector may be about to remove them: the store would find them there, and they would be
    gone when they are recorded.
    """
    found = queries.list_untouched(session, sorted(set(hashes)), before=now_ms() - DAY_MS)
    return sorted((row.sha256, row.size) for row in found)


def touch_again(session: Session, objects: Sequence[tuple[str, int]]) -> None:
    """Keep the collector from the (sha256, size), which ``list_stale`` returned."""
    queries.touch_objects(session, objects)


def check_stored(store: ObjectStore, hashes: Iterable[str]) -> None:
    """Return if the store has the objects that the open transaction touched.

    It holds their rows, so none can be removed from here on until it ends.

    Raises:
        BytesRemoved: one was removed just before; roll back.
    """
    if not store.has_all(object_key(sha256) for sha256 in set(hashes)):
        raise BytesRemoved


def end_references(session: Session, hashes: Iterable[str], *, keep: bool = False) -> None:
    """Let the grace of objects begin that a file names no longer; ``keep`` keeps them for good."""
    queries.touch_known(session, sorted(set(hashes)), keep=keep)


def collect_objects(session: Session, store: ObjectStore, found: Sequence[Found]) -> list[Found]:
    """Remove those of the objects that nobody has touched since they were found; return these.

    The bytes go inside the transaction, which holds the rows: who wants to record one of the
    objects waits for them, and then looks whether the bytes are there.
    """
    gone = queries.remove_untouched(session, found)
    if gone:
        for one in gone:
            store.delete(object_key(one.sha256))
        removed = {"objects": len(gone), "bytes": sum(one.size for one in gone)}
        record_event(session, OPERATOR, COLLECTED, before=json.dumps(removed))
        session.flush()
        crashpoint("collect.removing")
    return gone
