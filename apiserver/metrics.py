"""What the server counts, under Kubernetes' names, so that its dashboards and rules work.

Labels are bounded: only requests for resources that are served are told apart.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from .cache.feed import Feed
from .request import Response
from .routes import Asked
from .workers.place import ALONE, Place
from .workers.scraping import together
from .workers.words import METRICS

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
DURATIONS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0)
LABELS: Final = ("verb", "group", "version", "resource", "subresource", "scope")

Labels = tuple[str, str, str, str, str, str]


class Metrics:
    """One registry per server, so that several can live in one process (tests do that)."""

    def __init__(self, place: Place = ALONE) -> None:
        self._place = place
        if place.colleagues is not None:
            place.colleagues.reply(METRICS, self._told)
        self.registry = CollectorRegistry()
        requests = RequestsCollector()
        self.registry.register(requests)
        self.observe = requests.observe
        """One request was answered."""
        self._long = Gauge(
            "apiserver_longrunning_requests", "Watches, logs and transfers under way.", LABELS, registry=self.registry
        )

    def long_begins(self, asked: Asked) -> None:
        """A watch, log or transfer begins."""
        self._long.labels(*_labels(asked)).inc()

    def long_ends(self, asked: Asked) -> None:
        """It is over."""
        self._long.labels(*_labels(asked)).dec()

    def watch_feed(self, feed: Feed) -> None:
        """Tell about the caches."""
        self.registry.register(FeedCollector(feed))

    async def respond(self) -> Response:
        """The answer for `/metrics`: of all processes, whichever is asked."""
        place, body = self._place, generate_latest(self.registry)
        if place.colleagues is not None:
            texts = dict(await place.colleagues.gather(METRICS))
            body = together({**texts, place.index: body.decode()}, place.count).encode()
        return Response(body=body, content_type=CONTENT_TYPE)

    async def _told(self) -> str:
        """What another process of this server is told of us."""
        return generate_latest(self.registry).decode()


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


class _Timed:
    """The requests of one set of labels: how many got which code, and how long they took."""

    __slots__ = ("buckets", "codes", "sum_s")

    def __init__(self) -> None:
        self.codes: dict[int, int] = {}
        self.buckets = [0] * (len(DURATIONS_S) + 1)
        self.sum_s = 0.0


class RequestsCollector(Collector):
    """Counts every request, for which the library's own counters, made for many threads, take longer than some requests."""

    def __init__(self) -> None:
        self._timed: dict[Labels, _Timed] = {}

    def observe(self, asked: Asked, code: int, duration_s: float) -> None:
        """One request was answered. The durations of long ones are left out."""
        labels = _labels(asked)
        timed = self._timed.get(labels)
        if timed is None:
            timed = self._timed[labels] = _Timed()
        timed.codes[code] = timed.codes.get(code, 0) + 1
        if not asked.is_long:
            timed.buckets[bisect_left(DURATIONS_S, duration_s)] += 1
            timed.sum_s += duration_s

    def collect(self) -> Iterable[Metric]:
        """The counts so far."""
        requests = CounterMetricFamily("apiserver_request_total", "Requests answered.", labels=(*LABELS, "code"))
        durations = HistogramMetricFamily(
            "apiserver_request_duration_seconds",
            "From the end of the headers to the end of the answer; long requests are left out.",
            labels=LABELS,
        )
        bounds = [*(str(float(bound)) for bound in DURATIONS_S), "+Inf"]
        for labels, timed in self._timed.items():
            for code, number in timed.codes.items():
                requests.add_metric((*labels, str(code)), number)
            counts = list(accumulate(timed.buckets))
            if counts[-1]:
                durations.add_metric(labels, list(zip(bounds, counts, strict=True)), timed.sum_s)
        yield requests
        yield durations
