"""What is counted about webhooks, under Kubernetes' names (apiserver/pkg/admission/metrics)."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

ADMIT: Final = "admit"
VALIDATING: Final = "validating"
CALLING_ERROR: Final = "calling_webhook_error"
SERVER_ERROR: Final = "apiserver_internal_error"
NO_ERROR: Final = "no_error"
DURATIONS_S: Final = (0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10.0, 25.0)


class WebhookMetrics:
    """Labels are bounded by the configurations there are. Two counters are gauges that only rise: their names end in
    `_count`, and the client library gives every counter the ending `_total`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        place = ("name", "type", "operation")
        self.durations = Histogram(
            "apiserver_admission_webhook_admission_duration_seconds",
            "From the question to the answer.",
            (*place, "rejected"),
            buckets=DURATIONS_S,
            registry=registry,
        )
        self.requests = Counter(
            "apiserver_admission_webhook_request_total",
            "Questions, by the code of what came of them.",
            (*place, "code", "rejected"),
            registry=registry,
        )
        self.rejections = Gauge(
            "apiserver_admission_webhook_rejection_count",
            "Writes refused, and why.",
            (*place, "error_type", "rejection_code"),
            registry=registry,
        )
        self.failed_open = Gauge(
            "apiserver_admission_webhook_fail_open_count",
            "Writes let pass although the webhook could not be asked.",
            ("name", "type"),
            registry=registry,
        )
        self.excluded = Counter(
            "apiserver_admission_match_condition_exclusions_total",
            "Writes that match conditions kept from a webhook.",
            ("name", "kind", "type", "operation"),
            registry=registry,
        )
        self.condition_errors = Counter(
            "apiserver_admission_match_condition_evaluation_errors_total",
            "Match conditions that could not be evaluated.",
            ("name", "kind", "type", "operation"),
            registry=registry,
        )

    def asked(self, name: str, kind: str, operation: str, duration_s: float, code: int, *, rejected: bool) -> None:
        """One question was answered or given up."""
        told = "true" if rejected else "false"
        self.durations.labels(name, kind, operation, told).observe(duration_s)
        self.requests.labels(name, kind, operation, str(min(code, 600)), told).inc()

    def refused(self, name: str, kind: str, operation: str, error_type: str, code: int) -> None:
        """A write was refused. Codes above 600 are counted as 600, since a webhook chooses them."""
        self.rejections.labels(name, kind, operation, error_type, str(min(code, 600))).inc()
