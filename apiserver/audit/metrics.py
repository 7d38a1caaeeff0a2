"""What the audit log counts, under Kubernetes' names where it has any."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from .policy import LEVEL_NAMES, Level
from .recording import Audit


class AuditCollector(Collector):
    """Reads the figures when somebody asks."""

    def __init__(self, audit: Audit) -> None:
        self._audit = audit

    def collect(self) -> Iterable[Metric]:
        """All of them."""
        audit, writer = self._audit, self._audit.writer
        yield CounterMetricFamily("apiserver_audit_event", "Events written to the audit log.", value=writer.events)
        levels = CounterMetricFamily(
            "apiserver_audit_level", "Requests by the level their policy gives them.", labels=("level",)
        )
        for level in Level:
            levels.add_metric((LEVEL_NAMES[level],), audit.levels[level])
        yield levels
        errors = CounterMetricFamily(
            "apiserver_audit_error", "Failed attempts to write to the audit log.", labels=("plugin",)
        )
        errors.add_metric(("log",), writer.errors)
        yield errors
        yield CounterMetricFamily(
            "apiserver_audit_requests_rejected",
            "Requests refused because they could not be recorded.",
            value=audit.rejected,
        )
        yield GaugeMetricFamily("stark_audit_queued", "Events that are not written yet.", writer.queued)
        yield GaugeMetricFamily("stark_audit_last_record", "Number of the last line of the log.", writer.link.seq)
        yield GaugeMetricFamily(
            "stark_audit_hampered", "1: changes are refused, as they cannot be recorded.", int(writer.is_hampered)
        )
