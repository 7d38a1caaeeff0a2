"""What the server counts, under Kubernetes' names, so that its dashboards and rules work.

Labels are bounded: only requests for resources that are served are told apart.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from .cache.feed import Feed
from .request import Response
from .routes import Asked

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
DURATIONS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0)
LABELS: Final = ("verb", "group", "version", "resource", "subresource", "scope")

Labels = tuple[str, str, str, str, str, str]


class Metrics:
    """One registry per server, so that several can live in one process (tests do that)."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "apiserver_request_total", "Requests answered.", (*LABELS, "code"), registry=self.registry
        )
        self._durations = Histogram(
            "apiserver_request_duration_seconds",
            "From the end of the headers to the end of the answer; long requests are left out.",
            LABELS,
            buckets=DURATIONS_S,
            registry=self.registry,
        )
        self._counted: dict[tuple[Labels, int], tuple[Counter, Histogram]] = {}
        self._long = Gauge(
            "apiserver_longrunning_requests", "Watches, logs and transfers under way.", LABELS, registry=self.registry
        )

    def observe(self, asked: Asked, code: int, duration_s: float) -> None:
        """One request was answered."""
        labels = _labels(asked)
        counted = self._counted.get((labels, code))
        if counted is None:
            children = (self._requests.labels(*labels, str(code)), self._durations.labels(*labels))
            counted = self._counted[(labels, code)] = children
        counted[0].inc()
        if not asked.is_long:
            counted[1].observe(duration_s)

    def long_begins(self, asked: Asked) -> None:
        """A watch, log or transfer begins."""
        self._long.labels(*_labels(asked)).inc()

    def long_ends(self, asked: Asked) -> None:
        """It is over."""
        self._long.labels(*_labels(asked)).dec()

    def watch_feed(self, feed: Feed) -> None:
        """Tell about the caches."""
        self.registry.register(FeedCollector(feed))

    def respond(self) -> Response:
        """The answer for `/metrics`."""
        return Response(body=generate_latest(self.registry), content_type=CONTENT_TYPE)


def _labels(asked: Asked) -> Labels:
    scope = "" if not asked.plural else "resource" if asked.name else "namespace" if asked.namespace else "cluster"
    return asked.verb, asked.group, asked.version, asked.plural, asked.subresource, scope


class FeedCollector(Collector):
    """Reads the caches when somebody asks, instead of counting along."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    def collect(self) -> Iterable[Metric]:
        """The caches' sizes and how far they are."""
        objects = GaugeMetricFamily("apiserver_storage_objects", "Objects stored.", labels=("resource",))
        watchers = GaugeMetricFamily("apiserver_watchers", "Watches open.", labels=("resource",))
        for cache in self._feed.caches():
            name = f"{cache.prefix.plural}.{cache.prefix.group}"
            objects.add_metric((name,), len(cache))
            watchers.add_metric((name,), cache.watchers.count)
        yield objects
        yield watchers
        yield GaugeMetricFamily("apiserver_watch_cache_revision", "Applied up to here.", self._feed.revision)
        yield GaugeMetricFamily("apiserver_watch_cache_connected", "1: follows the store.", int(self._feed.connected))
        yield GaugeMetricFamily("apiserver_watch_cache_relists", "Times it started over.", self._feed.relists)
