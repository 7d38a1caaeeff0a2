"""The gate's numbers under Kubernetes' names, read when somebody asks. Labels are names of objects that operators make."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from .counts import WAITS_S, Counts, Waits
from .levels import Level, Levels

PREFIX: Final = "apiserver_flowcontrol"
FLOW: Final = ("priority_level", "flow_schema")
LEVEL: Final = ("priority_level",)

GAUGES: Final[tuple[tuple[str, str, Callable[[Counts], int]], ...]] = (
    ("current_inqueue_requests", "Requests that wait for a seat.", lambda counts: counts.waiting),
    ("current_inqueue_seats", "Seats that are waited for.", lambda counts: counts.waiting_seats),
    ("current_executing_requests", "Requests that have a seat.", lambda counts: counts.executing),
    ("current_executing_seats", "Seats that are taken.", lambda counts: counts.executing_seats),
)
OF_LEVELS: Final[tuple[tuple[str, str, Callable[[Level], float]], ...]] = (
    ("nominal_limit_seats", "Seats of its own.", lambda level: level.bounds.nominal),
    ("lower_limit_seats", "Seats that it never lends.", lambda level: level.bounds.lower),
    ("upper_limit_seats", "Seats that it may have with what it borrows.", lambda level: level.bounds.upper),
    ("current_limit_seats", "Seats that it has now.", lambda level: level.queues.limit),
    ("demand_seats_high_watermark", "Most seats wanted at once, last period.", lambda level: level.observed.highest),
    ("demand_seats_average", "Average of the seats wanted, last period.", lambda level: level.observed.average),
    ("demand_seats_stdev", "How much they varied, last period.", lambda level: level.observed.deviation),
    ("demand_seats_smoothed", "Seats wanted, smoothed over minutes.", lambda level: level.smooth),
)


class FairnessCollector(Collector):
    """Reads the levels at every scrape."""

    def __init__(self, levels: Levels) -> None:
        self._levels = levels

    def collect(self) -> Iterable[Metric]:
        """Everything about every level and every schema's requests in it."""
        for name, told, gauge_of in GAUGES:
            gauge = GaugeMetricFamily(f"{PREFIX}_{name}", told, labels=FLOW)
            for labels, counts in self._counts():
                gauge.add_metric(labels, gauge_of(counts))
            yield gauge
        for name, told, seats_of in OF_LEVELS:
            seats = GaugeMetricFamily(f"{PREFIX}_{name}", told, labels=LEVEL)
            for level in self._levels.by_name.values():
                seats.add_metric((level.name,), seats_of(level))
            yield seats
        told = "How much of its demand every level got when seats were divided last."
        yield GaugeMetricFamily(f"{PREFIX}_seat_fair_frac", told, self._levels.fair_fraction)
        yield from self._totals()

    def _counts(self) -> Iterator[tuple[tuple[str, str], Counts]]:
        for level in self._levels.by_name.values():
            for schema, counts in level.counts.items():
                yield (level.name, schema), counts

    def _totals(self) -> Iterator[Metric]:
        dispatched = CounterMetricFamily(f"{PREFIX}_dispatched_requests", "Requests that got a seat.", labels=FLOW)
        rejected = CounterMetricFamily(
            f"{PREFIX}_rejected_requests", "Requests that got none, by the reason.", labels=(*FLOW, "reason")
        )
        waits = HistogramMetricFamily(
            f"{PREFIX}_request_wait_duration_seconds",
            "How long requests waited, and whether they got a seat for it.",
            labels=(*FLOW, "execute"),
        )
        for labels, counts in self._counts():
            dispatched.add_metric(labels, counts.at_once + sum(counts.waited.buckets))
            for reason, number in counts.rejected.items():
                rejected.add_metric((*labels, reason), number)
            _add_waits(waits, (*labels, "true"), counts.waited, counts.at_once)
            _add_waits(waits, (*labels, "false"), counts.gave_up, 0)
        yield from (dispatched, rejected, waits)


def _add_waits(family: HistogramMetricFamily, labels: tuple[str, ...], waits: Waits, at_once: int) -> None:
    if not at_once and not any(waits.buckets):
        return
    bounds = [*(f"{bound:g}" for bound in WAITS_S), "+Inf"]
    sums = accumulate((waits.buckets[0] + at_once, *waits.buckets[1:]))
    family.add_metric(
        labels, [(bound, float(number)) for bound, number in zip(bounds, sums, strict=True)], waits.total_s
    )
