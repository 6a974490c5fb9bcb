"""Traffic: what is counted of each request, for Prometheus.

Plain numbers, changed by the event loop alone: a request must not wait for a lock, or for the
library, whose counters take several times as long.
"""

import time
from bisect import bisect_left
from collections.abc import Awaitable
from dataclasses import dataclass, field

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from starlette.types import Message, Receive, Scope, Send

from quetz.web.access_log import AccessLog

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)
"""Upper bounds of the buckets of durations, in seconds."""

# Whatever a client makes up counts as one: a name in a label would tell what is private, and
# each new one would be a new series.
UNKNOWN = "unknown"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
ROUTE = "quetz.route"
"""Where a scope holds the template of its route, if it is none of the framework's."""


@dataclass(slots=True)
class Durations:
    """How many requests took how long; ``buckets`` has one more than there are bounds."""

    seconds: float = 0.0
    buckets: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))


class Traffic:
    """The requests that one application answered, and those that it is answering."""

    def __init__(self, access_log: AccessLog | None = None) -> None:
        self._access_log = access_log
        self.requests: dict[tuple[str, str, int], Durations] = {}
        self.in_progress = 0
        self.received = 0
        self.sent = 0

    def collect(self) -> list[Metric]:
        requests = CounterMetricFamily(
            "quetz_http_requests", "Requests answered.", labels=["route", "method", "status"]
        )
        durations = HistogramMetricFamily(
            "quetz_http_request_duration_seconds",
            "From a request's arrival to the end of its answer.",
            labels=["route"],
        )
        by_route: dict[str, Durations] = {}
        # A copy: this runs in a thread, while the loop goes on counting.
        for (route, method, status), counted in sorted(self.requests.copy().items()):
            requests.add_metric([route, method, str(status)], sum(counted.buckets))
            whole = by_route.setdefault(route, Durations())
            whole.seconds += counted.seconds
            whole.buckets = [a + b for a, b in zip(whole.buckets, counted.buckets, strict=True)]
        for route, whole in by_route.items():
            durations.add_metric([route], _cumulated(whole.buckets), whole.seconds)
        return [
            requests,
            durations,
            GaugeMetricFamily(
                "quetz_http_requests_in_progress", "Requests being answered.", self.in_progress
            ),
            CounterMetricFamily(
                "quetz_http_received_bytes", "Bytes of bodies of requests.", self.received
            ),
            CounterMetricFamily("quetz_http_sent_bytes", "Bytes of bodies of answers.", self.sent),
        ]

    def count(self, scope: Scope, status: int, seconds: float) -> None:
        method = scope["method"]
        key = (scope.get(ROUTE) or _route(scope), method if method in METHODS else UNKNOWN, status)
        counted = self.requests.get(key)
        if counted is None:
            counted = self.requests[key] = Durations()
        counted.seconds += seconds
        counted.buckets[bisect_left(BOUNDS, seconds)] += 1
        if self._access_log is not None:
            self._access_log.note(scope, status, seconds)


class Exchange:
    """One request and its answer, counted on the way."""

    __slots__ = ("_began", "_receive", "_send", "_status", "_traffic")

    def __init__(self, traffic: Traffic, receive: Receive, send: Send) -> None:
        self._traffic = traffic
        self._receive = receive
        self._send = send
        self._status = 0
        self._began = time.perf_counter()
        traffic.in_progress += 1

    async def receive(self) -> Message:
        message = await self._receive()
        self._traffic.received += len(message.get("body", b""))
        return message

    def send(self, message: Message) -> Awaitable[None]:
        kind = message["type"]
        if kind == "http.response.start":
            self._status = message["status"]
        elif kind == "http.response.body":
            self._traffic.sent += len(message.get("body", b""))
        return self._send(message)

    def end(self, scope: Scope) -> None:
        self._traffic.in_progress -= 1
        self._traffic.count(scope, self._status, time.perf_counter() - self._began)


def _route(scope: Scope) -> str:
    return getattr(scope.get("route"), "path", None) or UNKNOWN


def _cumulated(buckets: list[int]) -> list[tuple[str, float]]:
    """Return (upper bound, how many lay below it) as Prometheus wants them."""
    total = 0
    cumulated = []
    for bound, count in zip([*map(str, BOUNDS), "+Inf"], buckets, strict=True):
        total += count
        cumulated.append((bound, float(total)))
    return cumulated
