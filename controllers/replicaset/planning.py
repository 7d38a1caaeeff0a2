"""How many pods a ReplicaSet makes or gives up now, which ones, and how it stands. Pure.

Finished pods and pods on their way out do not count: they are replaced. What is given up goes in the order in which it
is missed least: not yet placed, not yet running, not ready, cheap by its annotation, one of many on its node,
young, restarted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from stark.crds.apps import ReplicaSet, ReplicaSetStatus
from stark.crds.conditions import Condition, set_condition, without_condition
from stark.crds.meta import ObjectMeta
from stark.crds.podfacts import available_in, is_active, is_finished, is_ready, ready_since
from stark.crds.pods import Pod

BURST_MAX = 500
"""Pods made or deleted in one reconcile; the rest follows when the cache has seen these."""
DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
PHASE_ORDER = {"Pending": 0, "Unknown": 1, "Running": 2}


@dataclass(frozen=True, slots=True)
class Failure:
    """Why the last act went wrong: a reason such as FailedCreate, and the server's message."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do about a ReplicaSet now."""

    create: int = 0
    delete: Sequence[Pod] = ()
    recheck_after_s: float | None = None
    """When a pod that is ready becomes available by itself."""


def plan(rs: ReplicaSet, pods: Sequence[Pod], neighbours: Iterable[Pod], now: datetime) -> Plan:
    """The next step. `pods` are the ReplicaSet's own; `neighbours` all of its owner, by which crowded nodes are
    told."""
    recheck = _recheck(rs, pods, now)
    if rs.metadata.deletion_timestamp is not None:
        return Plan(recheck_after_s=recheck)
    active = [pod for pod in pods if is_active(pod)]
    missing = rs.spec.replicas - len(active)
    if missing > 0:
        return Plan(create=min(missing, BURST_MAX) if rs.spec.template else 0, recheck_after_s=recheck)
    return Plan(delete=surplus(active, -missing, neighbours, now)[:BURST_MAX], recheck_after_s=recheck)


def surplus(active: Sequence[Pod], count: int, neighbours: Iterable[Pod], now: datetime) -> list[Pod]:
    """The `count` pods that are missed least, the first of them first."""
    if count <= 0:
        return []
    crowd = Counter(pod.spec.node_name for pod in neighbours if pod.spec.node_name and is_active(pod))
    return sorted(active, key=lambda pod: _worth(pod, crowd[pod.spec.node_name or ""], now))[:count]


def _worth(pod: Pod, crowd: int, now: datetime) -> tuple[object, ...]:
    return (
        bool(pod.spec.node_name),
        PHASE_ORDER.get(pod.status.phase or "Pending", 0),
        is_ready(pod),
        _deletion_cost(pod),
        -crowd,
        _age_class(ready_since(pod) if is_ready(pod) else None, now),
        -max((status.restart_count for status in pod.status.container_statuses), default=0),
        -max((status.restart_count for status in pod.status.init_container_statuses), default=0),
        _age_class(pod.metadata.creation_timestamp, now),
        pod.uid,
    )


def _age_class(since: datetime | None, now: datetime) -> int:
    """The order of magnitude of an age, to the base of two: the young go first, but among pods of about the same age
    chance (the uid) chooses, or one failure zone, whose pods came last, would lose all (KEP-2185)."""
    age = (now - since) // timedelta(microseconds=1) if since is not None else 0
    return age.bit_length() if age > 0 else -1


def _deletion_cost(pod: Pod) -> int:
    text = pod.metadata.annotations.get(DELETION_COST, "0")
    return int(text) if text.removeprefix("-").isdigit() else 0


def _recheck(rs: ReplicaSet, pods: Sequence[Pod], now: datetime) -> float | None:
    if rs.spec.min_ready_seconds == 0:
        return None  # what is ready is available
    waits = [available_in(pod, rs.spec.min_ready_seconds, now) for pod in pods if is_active(pod)]
    due = [wait.total_seconds() for wait in waits if wait is not None and wait > timedelta(0)]
    return min(due) if due else None


def batches(count: int) -> Iterator[int]:
    """Sizes that add up to `count`, one at first and then doubling: what nobody may make is refused once, not 500
    times."""
    size = 1
    while count > 0:
        yield min(size, count)
        count -= size
        size *= 2


def new_pod(rs: ReplicaSet) -> Pod:
    """A pod of this ReplicaSet; the server completes its name."""
    template = rs.spec.template
    assert template is not None, rs.key
    meta = ObjectMeta(
        generate_name=f"{rs.metadata.name}-",
        namespace=rs.metadata.namespace,
        labels=template.metadata.labels,
        annotations=template.metadata.annotations,
        finalizers=template.metadata.finalizers,
        owner_references=[rs.owner_reference()],
    )
    return Pod(metadata=meta, spec=template.spec)


def status_of(rs: ReplicaSet, pods: Sequence[Pod], failure: Failure | None, now: datetime) -> ReplicaSetStatus:
    """How the ReplicaSet stands, seen from its pods before what was just done to them shows."""
    active = [pod for pod in pods if is_active(pod)]
    labels = (rs.spec.template.metadata.labels if rs.spec.template else {}).items()
    waits = [available_in(pod, rs.spec.min_ready_seconds, now) for pod in active]
    zero = timedelta(0)
    return ReplicaSetStatus(
        replicas=len(active),
        fully_labeled_replicas=sum(labels <= pod.metadata.labels.items() for pod in active),
        ready_replicas=sum(wait is not None for wait in waits),
        available_replicas=sum(wait == zero for wait in waits),
        terminating_replicas=sum(pod.metadata.deletion_timestamp is not None and not is_finished(pod) for pod in pods),
        observed_generation=rs.metadata.generation,
        conditions=_conditions(rs, failure, now),
    )


def _conditions(rs: ReplicaSet, failure: Failure | None, now: datetime) -> list[Condition]:
    if failure is None:
        return without_condition(rs.status.conditions, "ReplicaFailure")
    condition = Condition(type="ReplicaFailure", status="True", reason=failure.reason, message=failure.message)
    return set_condition(rs.status.conditions, condition, now)


def same_status(one: ReplicaSetStatus, other: ReplicaSetStatus) -> bool:
    """Whether writing one over the other would change nothing."""
    return one.model_dump(exclude_defaults=True) == other.model_dump(exclude_defaults=True)
