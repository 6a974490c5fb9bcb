"""Registries: what Prometheus is told of one application; a process may hold several."""

import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from sqlalchemy.pool import QueuePool

from quetz.db.queries.index import measure_marks
from quetz.deployment import Deployment
from quetz.web.traffic import Traffic


def make_registry(deployment: Deployment, traffic: Traffic) -> CollectorRegistry:
    """Return a registry of the application's requests, its database, and its process."""
    registry = CollectorRegistry()
    registry.register(TrafficCollector(traffic))
    registry.register(DeploymentCollector(deployment))
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


class TrafficCollector(Collector):
    def __init__(self, traffic: Traffic) -> None:
        self._traffic = traffic

    def collect(self) -> Iterator[Metric]:
        yield from self._traffic.collect()


class DeploymentCollector(Collector):
    """How far the indexes are behind, and how many connections the database pool lends.

    A mark does not say when it was left: the lag is since a scrape first saw the oldest one.
    """

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._oldest: int | None = None
        self._since = 0.0

    def describe(self) -> Iterator[Metric]:
        """Say nothing: a registry asks when it is made, and no database may be there yet."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        with self._deployment.transaction() as session:
            marks, oldest = measure_marks(session)
        yield GaugeMetricFamily(
            "quetz_index_marks", "Changes that the indexes do not show yet.", marks
        )
        yield GaugeMetricFamily(
            "quetz_publisher_lag_seconds",
            "For how long, at least, the oldest of them has waited.",
            self._lag(oldest),
        )
        pool = self._deployment.engine.pool
        if isinstance(pool, QueuePool):
            yield GaugeMetricFamily(
                "quetz_database_connections", "Connections in use.", pool.checkedout()
            )

    def _lag(self, oldest: int | None) -> float:
        now = time.monotonic()
        if oldest != self._oldest:
            self._oldest, self._since = oldest, now
        return 0.0 if oldest is None else now - self._since
