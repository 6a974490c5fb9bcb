"""Downloads: counted by hour, day, month and year in UTC, and told as series.

Hours are kept for ``HOURS_KEPT_MS``, everything longer as long as its file.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import islice

from sqlalchemy.orm import Session

from quetz.db.models import Channel, File
from quetz.db.queries import downloads as queries
from quetz.db.queries.downloads import CountFilter
from quetz.errors.searches import TooManyCounts

HOUR_MS = 3_600_000
HOURS_KEPT_MS = 90 * 24 * HOUR_MS
MOST_COUNTS = 10_000
"""How many counts the series of one file may hold."""
MOST_CHANNEL_COUNTS = 100_000
REMOVED_AT_ONCE = 10_000

_EPOCH = datetime.fromtimestamp(0, UTC)
_LAST_YEAR = 9998
LAST_MS = (datetime(_LAST_YEAR, 1, 1, tzinfo=UTC) - _EPOCH) // timedelta(milliseconds=1)


class Period(StrEnum):
    """The length of a period."""

    HOUR = "H"
    DAY = "D"
    MONTH = "M"
    YEAR = "Y"


Series = Sequence[tuple[int, int]]
"""(when the period began, count), oldest first."""


@dataclass(frozen=True)
class Span:
    """Periods of one length that began at or after ``start`` and before ``end``.

    No download was counted before 1970, nor will be in the year 9998.
    """

    period: Period = Period.DAY
    start: int | None = None
    end: int | None = None

    @property
    def filter(self) -> CountFilter:
        start = 0 if self.start is None else max(self.start, 0)
        end = LAST_MS if self.end is None else min(self.end, LAST_MS)
        return CountFilter(self.period, start, end)


def beginning(period: Period, at: int) -> int:
    """Return when the period around ``at`` began."""
    time = _EPOCH + timedelta(milliseconds=at - at % HOUR_MS)
    if period is not Period.HOUR:
        time = time.replace(hour=0)
    if period in {Period.MONTH, Period.YEAR}:
        time = time.replace(day=1)
    if period is Period.YEAR:
        time = time.replace(month=1)
    return (time - _EPOCH) // timedelta(milliseconds=1)


def add_downloads(session: Session, counts: Mapping[tuple[int, int], int]) -> None:
    """Add the downloads of (file id, hour in which it was) to all counts that they are part of."""
    of_periods: Counter[tuple[int, str, int]] = Counter()
    for (file_id, hour), count in counts.items():
        for period in Period:
            of_periods[file_id, period.value, beginning(period, hour)] += count
    queries.add_downloads(session, of_periods, of_total=Period.HOUR)


def list_series(session: Session, file: File, span: Span, *, zeros_until: int | None) -> Series:
    """Return the counts of one file.

    With ``zeros_until`` the periods without a download are there, too: from the span's start,
    or the first download, up to its end, or else to that time.

    Raises:
        TooManyCounts: there would be more than ``MOST_COUNTS``.
    """
    found = queries.list_counts(session, file.id, span.filter, limit=MOST_COUNTS + 1)
    series: Series = [(at, count) for at, count in found]
    if zeros_until is not None:
        series = _filled(series, span, zeros_until)
    if len(series) > MOST_COUNTS:
        raise TooManyCounts(MOST_COUNTS)
    return series


def list_channel_series(
    session: Session, channel: Channel, span: Span, *, subdir: str | None
) -> dict[str, list[tuple[int, int]]]:
    """Return the counts of each file of a channel that was downloaded, by ``subdir/filename``.

    Raises:
        TooManyCounts: there are more than ``MOST_CHANNEL_COUNTS``.
    """
    rows = queries.list_channel_counts(
        session, channel.id, span.filter, subdir=subdir, limit=MOST_CHANNEL_COUNTS + 1
    )
    if len(rows) > MOST_CHANNEL_COUNTS:
        raise TooManyCounts(MOST_CHANNEL_COUNTS)
    series: dict[str, list[tuple[int, int]]] = {}
    for subdir_of_file, filename, at, count in rows:
        series.setdefault(f"{subdir_of_file}/{filename}", []).append((at, count))
    return series


def list_old_hours(session: Session, *, now: int) -> list[tuple[int, int]]:
    """Return some counts of hours that are kept no longer, as ``remove_hours`` takes them."""
    before = now - HOURS_KEPT_MS
    old = queries.list_older(session, Period.HOUR, before, limit=REMOVED_AT_ONCE)
    return [(file_id, at) for file_id, at in old]


def remove_hours(session: Session, hours: Sequence[tuple[int, int]]) -> None:
    queries.remove_counts(session, Period.HOUR, hours)


def _filled(series: Series, span: Span, until: int) -> Series:
    """Return the series with its zeros, cut off once it is too long to be sent."""
    wanted = span.filter
    end = min(until + 1, LAST_MS) if span.end is None else wanted.end
    if span.start is not None:
        start = wanted.start
    elif series:
        start = series[0][0]
    else:
        return series
    counts = dict(series)
    periods = _periods(span.period, start, end)
    return [(at, counts.get(at, 0)) for at in islice(periods, MOST_COUNTS + 1)]


def _periods(period: Period, start: int, end: int) -> Iterator[int]:
    """Yield when each period began that began at or after ``start`` and before ``end``."""
    at = beginning(period, min(start, LAST_MS))
    if at < start:
        at = _next(period, at)
    while at < end:
        yield at
        at = _next(period, at)


def _next(period: Period, at: int) -> int:
    days = {Period.HOUR: 0, Period.DAY: 1, Period.MONTH: 31, Period.YEAR: 366}[period]
    return beginning(period, at + max(days * 24, 1) * HOUR_MS)
