"""Metrics: how often files were downloaded, and when."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import Depends, Query
from pydantic import BaseModel

from quetz.db.base import now_ms
from quetz.services import downloads as service
from quetz.services.downloads import Period, Series, Span
from quetz.services.files import get_file
from quetz.services.permissions import Operation
from quetz.web.api.pages import Text
from quetz.web.api.schemas import iso_time, milliseconds
from quetz.web.deps import ReadChannel, ReadSession
from quetz.web.guard import GuardedRouter, declares

router = GuardedRouter(tags=["metrics"])

MetricName = Literal["download"]
Platform = Annotated[Text | None, Query(max_length=32, examples=["linux-64"])]


class Count(BaseModel):
    """``timestamp`` is when the period began."""

    timestamp: str
    count: int


class FileSeries(BaseModel):
    series: list[Count]

    @classmethod
    def of(cls, series: Series) -> "FileSeries":
        return cls(series=_counts(series))


class ChannelMetrics(BaseModel):
    """``packages`` holds the files that were downloaded, by ``<platform>/<file name>``."""

    server_timestamp: str
    period: Period
    metric_name: MetricName
    packages: dict[str, FileSeries]


class VersionMetrics(BaseModel):
    """``total`` is the sum of the series."""

    server_timestamp: str
    period: Period
    metric_name: MetricName
    total: int
    series: list[Count]


async def requested_span(
    period: Period = Period.DAY,
    start: Annotated[datetime | None, Query(description="the first period may begin then")] = None,
    end: Annotated[datetime | None, Query(description="the last one begins before it")] = None,
) -> Span:
    return Span(
        period,
        None if start is None else milliseconds(start),
        None if end is None else milliseconds(end),
    )


SpanDep = Annotated[Span, Depends(requested_span)]


@router.get("/metrics/channels/{channel}", **declares(Operation.CHANNEL_METRICS))
def read_channel_metrics(
    channel: ReadChannel,
    session: ReadSession,
    span: SpanDep,
    metric_name: MetricName = "download",
    platform: Platform = None,
) -> ChannelMetrics:
    """Count the downloads of a channel's files by hour, day, month or year (UTC).

    Hours are known for 90 days. More than 100,000 counts are refused.
    """
    packages = service.list_channel_series(session, channel, span, subdir=platform)
    return ChannelMetrics(
        server_timestamp=iso_time(now_ms()),
        period=span.period,
        metric_name=metric_name,
        packages={path: FileSeries.of(series) for path, series in packages.items()},
    )


@router.get(
    "/metrics/channels/{channel}/packages/{package}/versions/{platform}/{filename}",
    **declares(Operation.VERSION_METRICS),
)
def read_version_metrics(
    channel: ReadChannel,
    package: str,
    platform: str,
    filename: str,
    session: ReadSession,
    span: SpanDep,
    metric_name: MetricName = "download",
    fill_zeros: bool = False,
) -> VersionMetrics:
    """Count the downloads of one file by hour, day, month or year (UTC).

    With `fill_zeros` the periods without a download are there, too. Hours are known for 90 days.
    More than 10,000 counts are refused.
    """
    now = now_ms()
    file = get_file(session, channel, package, platform, filename)
    series = service.list_series(session, file, span, zeros_until=now if fill_zeros else None)
    return VersionMetrics(
        server_timestamp=iso_time(now),
        period=span.period,
        metric_name=metric_name,
        total=sum(count for _, count in series),
        series=_counts(series),
    )


def _counts(series: Series) -> list[Count]:
    return [Count(timestamp=iso_time(at), count=count) for at, count in series]
