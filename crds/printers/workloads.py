"""The rows of what owns pods, from deployments to cron jobs, and of autoscalers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from ..annotations import MODE, MODE_DAEMON_SET
from ..autoscaler_forms import PLAIN, SOURCES, full
from ..selectors import SelectorError, from_label_selector
from .base import (
    INVALID,
    NONE,
    UNKNOWN,
    Cells,
    Object,
    age_of,
    condition_is_true,
    human_age,
    human_duration,
    meta_of,
    name_of,
    parse_time,
    spec_of,
    status_of,
)

MEASURES_SHOWN = 2


def workload_cells(obj: Object) -> Cells:
    """Containers, images and selector, for `-o wide`."""
    template: Object = spec_of(obj).get("template") or {}
    containers: list[Object] = spec_of(template).get("containers") or []
    try:
        selector = str(from_label_selector(spec_of(obj).get("selector") or {})) or NONE
    except SelectorError:
        selector = INVALID
    names = ",".join(str(item.get("name", "")) for item in containers)
    return [names, ",".join(str(item.get("image", "")) for item in containers), selector]


def desired_of(obj: Object) -> int:
    replicas = spec_of(obj).get("replicas")
    return 1 if replicas is None else int(replicas)


def deployment_desired(deployment: Object) -> int:
    """Pods wanted: the replicas, or the matching nodes of one that runs on every node."""
    annotations: Object = meta_of(deployment).get("annotations") or {}
    if annotations.get(MODE) != MODE_DAEMON_SET:
        return desired_of(deployment)
    status = status_of(deployment)
    return int(status.get("availableReplicas") or 0) + int(status.get("unavailableReplicas") or 0)


def deployment_cells(deployment: Object, now: datetime) -> Cells:
    """Name, ready/desired, up to date, available, age, containers, images, selector."""
    status = status_of(deployment)
    return [
        name_of(deployment),
        f"{status.get('readyReplicas') or 0}/{deployment_desired(deployment)}",
        status.get("updatedReplicas") or 0,
        status.get("availableReplicas") or 0,
        age_of(deployment, now),
        *workload_cells(deployment),
    ]


def replicaset_cells(replicaset: Object, now: datetime) -> Cells:
    """Name, desired, current, ready, age, containers, images, selector."""
    status = status_of(replicaset)
    return [
        name_of(replicaset),
        desired_of(replicaset),
        status.get("replicas") or 0,
        status.get("readyReplicas") or 0,
        age_of(replicaset, now),
        *workload_cells(replicaset),
    ]


def daemonset_cells(daemonset: Object, now: datetime) -> Cells:
    """Name, desired, current, ready, up to date, available, node selector, age, containers, images, selector."""
    status = status_of(daemonset)
    numbers = ("desiredNumberScheduled", "currentNumberScheduled", "numberReady", "updatedNumberScheduled")
    chosen: Object = spec_of(spec_of(daemonset).get("template") or {}).get("nodeSelector") or {}
    return [
        name_of(daemonset),
        *(status.get(number) or 0 for number in (*numbers, "numberAvailable")),
        ",".join(f"{key}={chosen[key]}" for key in sorted(chosen)) or NONE,
        age_of(daemonset, now),
        *workload_cells(daemonset),
    ]


def statefulset_cells(statefulset: Object, now: datetime) -> Cells:
    """Name, ready/desired, age, containers, images."""
    ready = status_of(statefulset).get("readyReplicas") or 0
    state = f"{ready}/{desired_of(statefulset)}"
    return [name_of(statefulset), state, age_of(statefulset, now), *workload_cells(statefulset)[:2]]


def autoscaler_cells(autoscaler: Object, now: datetime) -> Cells:
    """Name, what it scales, measures and their targets, least and most pods, pods there are, age."""
    said = full(autoscaler) if autoscaler.get("apiVersion") == PLAIN else autoscaler
    spec, status = spec_of(said), status_of(said)
    reference: Object = spec.get("scaleTargetRef") or {}
    least = spec.get("minReplicas")
    return [
        name_of(autoscaler),
        f"{reference.get('kind')}/{reference.get('name')}",
        _measures(spec.get("metrics") or (), status.get("currentMetrics") or ()),
        "<unset>" if least is None else str(least),
        spec.get("maxReplicas") or 0,
        status.get("currentReplicas") or 0,
        age_of(autoscaler, now),
    ]


def _measures(metrics: Sequence[Object], measured: Sequence[Object]) -> str:
    """`cpu: 12%/80%` for each of the first two, in the order of the spec."""
    if not metrics:
        return NONE
    told = [_measure(metric, measured[index] if index < len(measured) else {}) for index, metric in enumerate(metrics)]
    more = len(told) - MEASURES_SHOWN
    return ", ".join(told[:MEASURES_SHOWN]) + (f" + {more} more..." if more > 0 else "")


def _measure(metric: Object, measured: Object) -> str:
    field = SOURCES.get(str(metric.get("type")), "")
    source: Object = metric.get(field) or {}
    target: Object = source.get("target") or {}
    current: Object = (measured.get(field) or {}).get("current") or {}
    if target.get("averageValue") is not None:
        return f"{source.get('name')}: {current.get('averageValue', UNKNOWN)}/{target['averageValue']}"
    percent, wanted = current.get("averageUtilization"), target.get("averageUtilization")
    now = UNKNOWN if percent is None else f"{percent}%"
    return f"{source.get('name')}: {now}/{'<auto>' if wanted is None else f'{wanted}%'}"


def revision_cells(revision: Object, now: datetime) -> Cells:
    """Name, controller, number, age."""
    return [name_of(revision), _controller(revision), revision.get("revision", 0), age_of(revision, now)]


def _controller(obj: Object) -> str:
    """Kind, group and name of the controller, as kubectl names objects: `daemonset.apps/logs`."""
    owners: list[Object] = meta_of(obj).get("ownerReferences") or []
    for owner in owners:
        if owner.get("controller"):
            group = str(owner.get("apiVersion", "")).rpartition("/")[0]
            kind = str(owner.get("kind", "")).lower()
            return f"{kind}.{group}/{owner.get('name')}" if group else f"{kind}/{owner.get('name')}"
    return NONE


def job_cells(job: Object, now: datetime) -> Cells:
    """Name, status, completions, duration, age, containers, images, selector."""
    status, spec = status_of(job), spec_of(job)
    began, ended = parse_time(status.get("startTime")), parse_time(status.get("completionTime"))
    return [
        name_of(job),
        _job_word(job),
        f"{status.get('succeeded') or 0}/{_job_goal(spec)}",
        human_duration((ended or now) - began) if began is not None else "",
        age_of(job, now),
        *workload_cells(job),
    ]


def _job_goal(spec: Object) -> str:
    if spec.get("completions") is not None:
        return str(spec["completions"])
    parallelism = spec.get("parallelism") or 0
    return f"1 of {parallelism}" if parallelism > 1 else "1"


def _job_word(job: Object) -> str:
    if condition_is_true(job, "Complete"):
        return "Complete"
    if condition_is_true(job, "Failed"):
        return "Failed"
    if meta_of(job).get("deletionTimestamp"):
        return "Terminating"
    words = ("Suspended", "FailureTarget", "SuccessCriteriaMet")
    return next((word for word in words if condition_is_true(job, word)), "Running")


def cronjob_cells(cronjob: Object, now: datetime) -> Cells:
    """Name, schedule, time zone, suspend, active, last schedule, age, containers, images, selector."""
    status, spec = status_of(cronjob), spec_of(cronjob)
    last = status.get("lastScheduleTime")
    return [
        name_of(cronjob),
        spec.get("schedule", ""),
        spec.get("timeZone") or NONE,
        str(bool(spec["suspend"])) if "suspend" in spec else "<unset>",
        len(status.get("active") or ()),
        human_age(last, now) if last else NONE,
        age_of(cronjob, now),
        *workload_cells(spec.get("jobTemplate") or {}),
    ]
