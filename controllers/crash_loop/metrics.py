"""What is counted about crash loops, for Prometheus."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

FAILURES = Counter("stark_crash_loop_failures", "Failures of pods that were counted towards a crash loop")
ROLLBACKS = Counter("stark_crash_loop_rollbacks", "Deployments that were taken back to the version that held last")
PAUSES = Counter("stark_crash_loop_pauses", "Deployments that were paused", ["cause"])
LIFTED = Counter("stark_crash_loop_pauses_lifted", "Pauses that ended")
SUCCESSES = Counter("stark_crash_loop_successes", "Rollouts that were complete and held")
PAUSED = Gauge("stark_crash_loop_paused_deployments", "Deployments that are paused now")
BLOCKED = Gauge("stark_crash_loop_blocked_versions", "Versions that are blocked now, of all deployments")
DETECTION = Histogram(
    "stark_crash_loop_detection_seconds",
    "From the failure that reached the threshold to the write of the rollback or pause",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60),
)
