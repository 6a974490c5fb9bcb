"""Objects that no file names, and reservations that expired (I6, I7): ``quetz gc`` removes them."""

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import islice

from quetz.db.base import now_ms
from quetz.db.models import File
from quetz.db.queries import checks as queries
from quetz.worker.checks.findings import Finding, Ground, Severity

PAGE = 1_000
_GC = "nothing is wrong; quetz gc removes them when their time has come"


def check_unreferenced(ground: Ground) -> Iterator[Finding]:
    """I6: count the objects that no file names.

    Of the hashes that files name only the first eight bytes are held, sorted.
    """
    with ground.deployment.transaction() as session:
        named = array("Q", map(_start, queries.stream_texts(session, File.sha256)))
    known = array("Q", sorted(named))
    objects = ground.deployment.store.list_objects()
    count = size = without_row = 0
    while page := list(islice(objects, PAGE)):
        ground.looked_at["objects"] += len(page)
        loose = [(sha256, one) for sha256, one in page if not _holds(known, _start(sha256))]
        count += len(loose)
        size += sum(one for _, one in loose)
        with ground.deployment.transaction() as session:
            rows = queries.list_present_objects(session, [sha256 for sha256, _ in loose])
        without_row += len(loose) - len(rows)
    if count:
        what = f"{count:,} objects of {size:,} bytes are named by no file, {without_row:,} of them "
        yield Finding("I6", Severity.INFO, "store/objects", f"{what}have no row", _GC)


def check_reservations(ground: Ground) -> Iterator[Finding]:
    """I7: count the reservations of quotas whose uploads never came to their end."""
    with ground.deployment.transaction() as session:
        count, size = queries.sum_expired(session, now=now_ms())
    if count:
        what = f"{count:,} reservations of {size:,} bytes have expired"
        yield Finding("I7", Severity.INFO, "uploads", what, _GC)


def _start(sha256: str) -> int:
    """Return the first eight bytes of a hash; 0 for what is none, which is found elsewhere."""
    try:
        return int(sha256[:16], 16)
    except ValueError:
        return 0


def _holds(known: Sequence[int], start: int) -> bool:
    place = bisect_left(known, start)
    return place < len(known) and known[place] == start
