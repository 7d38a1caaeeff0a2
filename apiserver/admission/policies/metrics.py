"""What is counted about policies, under Kubernetes' names (apiserver/pkg/admission/plugin/policy/validating/metrics)."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter


class PolicyMetrics:
    """Labels are bounded by the policies and bindings there are."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._checks = Counter(
            "apiserver_validating_admission_policy_check_total",
            "Decisions that refused something or had an error, and what became of them: allow, deny, warn or audit.",
            ("policy", "policy_binding", "error_type", "enforcement_action"),
            registry=registry,
        )

    def checked(self, policy: str, binding: str, error_type: str, action: str) -> None:
        """One decision."""
        self._checks.labels(policy, binding, error_type, action).inc()
