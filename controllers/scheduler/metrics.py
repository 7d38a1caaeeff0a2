"""What the scheduler counts, under kube-scheduler's names, so that its dashboards and alerts work."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

PROFILE = "default-scheduler"
SECONDS = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0)

PENDING = Gauge("scheduler_pending_pods", "Pods that wait, by where they wait", ["queue"])
ATTEMPTS = Counter(
    "scheduler_schedule_attempts",
    "Attempts: scheduled, unschedulable (no node would do) or error",
    ["result", "profile"],
)
ATTEMPT_SECONDS = Histogram(
    "scheduler_scheduling_attempt_duration_seconds",
    "From the decision to its outcome, the binding included",
    ["result", "profile"],
    buckets=SECONDS,
)
POD_SECONDS = Histogram(
    "scheduler_pod_scheduling_sli_duration_seconds",
    "From a pod's coming into the queue to its binding",
    ["attempts"],
    buckets=SECONDS,
)
POD_ATTEMPTS = Histogram(
    "scheduler_pod_scheduling_attempts", "Attempts until a pod was bound", buckets=(1, 2, 4, 8, 16)
)
UNSCHEDULABLE = Counter("scheduler_unschedulable_pods", "Refusals by the rules that refused", ["plugin", "profile"])
ODDITIES = Counter("scheduler_odd_objects", "Objects that could not be taken in or judged", ["resource"])
PREEMPTIONS = Counter("scheduler_preemption_attempts", "Pods for which others were told to go")
VICTIMS = Histogram("scheduler_preemption_victims", "Pods told to go for one pod", buckets=(0, 1, 2, 4, 8, 16, 32, 64))

ATTEMPTS_LABEL_MAX = 15


def attempts_label(attempts: int) -> str:
    """The attempts as a label of few values."""
    return str(attempts) if attempts <= ATTEMPTS_LABEL_MAX else f"{ATTEMPTS_LABEL_MAX}+"
