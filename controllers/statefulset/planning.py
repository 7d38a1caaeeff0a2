"""What a StatefulSet does next: pods to make, to stop and to label, and how it stands. Pure.

First every ordinal gets its pod, from the lowest up; then pods that are too many go, from the highest down; then pods of an
old template give way, from the highest down to the partition. OrderedReady does one thing at a time and waits until the pod
before is available; Parallel waits for nothing but the rollout's own bound. The rules are those of KEP-961, 2599 and 3335.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from stark.crds.apps import RollingUpdateStatefulSet, StatefulSet, StatefulSetStatus
from stark.crds.fields import IntOrString
from stark.crds.podfacts import available_in, is_available, is_finished, is_ready
from stark.crds.pods import Pod

from .history import History, template_of
from .identity import REVISION, by_ordinal, has_identity, new_pod, ordinals

BURST_MAX = 250
"""Pods made or deleted in one reconcile; the rest follows when the cache has seen these."""


@dataclass(slots=True)
class Plan:
    """What to do about a StatefulSet now."""

    status: StatefulSetStatus
    create: list[Pod] = field(default_factory=list)
    delete: list[Pod] = field(default_factory=list)
    label: list[tuple[Pod, int]] = field(default_factory=list)
    """Pods whose labels do not say which they are, and their ordinals."""
    recheck_after_s: float | None = None


def plan(sts: StatefulSet, pods: Sequence[Pod], history: History, now: datetime) -> Plan:
    """The next step. `pods` are the set's own."""
    numbered = by_ordinal(sts, pods)
    step = Plan(status_of(sts, numbered, history, now), recheck_after_s=_recheck(sts, pods, now))
    if sts.metadata.deletion_timestamp is None:
        for has_to_wait in _stages(sts, numbered, history, now, step):
            if has_to_wait:
                break
    del step.create[BURST_MAX:], step.delete[BURST_MAX:]
    return step


def _stages(
    sts: StatefulSet, numbered: Mapping[int, Pod], history: History, now: datetime, step: Plan
) -> Iterator[bool]:
    """Each stage, and whether those after it have to wait for it."""
    yield _fill(sts, numbered, history, now, step)
    yield _shrink(sts, numbered, now, step)
    if sts.spec.update_strategy.type == "RollingUpdate":
        yield _update(sts, numbered, history, now, step)


def is_ordered(sts: StatefulSet) -> bool:
    """Whether it does one thing after the other."""
    return sts.spec.pod_management_policy == "OrderedReady"


def _is_up(sts: StatefulSet, pod: Pod, now: datetime) -> bool:
    """Available, and not on its way out."""
    return pod.metadata.deletion_timestamp is None and is_available(pod, sts.spec.min_ready_seconds, now)


def _fill(sts: StatefulSet, numbered: Mapping[int, Pod], history: History, now: datetime, step: Plan) -> bool:
    """A pod for every ordinal that has none, in place of one that has ended, too."""
    waits = False
    for ordinal in ordinals(sts):
        pod = numbered.get(ordinal)
        if pod is None:
            step.create.append(_made(sts, ordinal, history))
            waits = waits or is_ordered(sts)
        elif is_finished(pod):
            if pod.metadata.deletion_timestamp is None:
                step.delete.append(pod)
            waits = True
        elif is_ordered(sts) and not _is_up(sts, pod, now):
            waits = True
        if pod is not None and not has_identity(pod, ordinal, sts.metadata.name):
            step.label.append((pod, ordinal))
        if waits and is_ordered(sts):
            return True
    return waits


def _made(sts: StatefulSet, ordinal: int, history: History) -> Pod:
    """Below the partition pods keep coming from the current revision."""
    revision = history.current if _is_kept(sts, ordinal) else history.update
    template = sts.spec.template if revision is history.update else template_of(revision)
    return new_pod(sts, ordinal, template, revision.metadata.name)


def _is_kept(sts: StatefulSet, ordinal: int) -> bool:
    return sts.spec.update_strategy.type == "RollingUpdate" and ordinal < ordinals(sts).start + _rolling(sts).partition


def _rolling(sts: StatefulSet) -> RollingUpdateStatefulSet:
    return sts.spec.update_strategy.rolling_update or RollingUpdateStatefulSet()


def _shrink(sts: StatefulSet, numbered: Mapping[int, Pod], now: datetime, step: Plan) -> bool:
    """Pods that are too many go, the highest first; one that has just become ready shows first that it stays so."""
    wanted = ordinals(sts)
    condemned = [numbered[ordinal] for ordinal in sorted(numbered, reverse=True) if ordinal not in wanted]
    if not is_ordered(sts):
        step.delete += [pod for pod in condemned if pod.metadata.deletion_timestamp is None]
        return False
    if not condemned:
        return False
    highest = condemned[0]
    if not _is_ending(highest) and (_is_up(sts, highest, now) or not is_ready(highest)):
        step.delete.append(highest)
    return True


def _is_ending(pod: Pod) -> bool:
    return pod.metadata.deletion_timestamp is not None


def _update(sts: StatefulSet, numbered: Mapping[int, Pod], history: History, now: datetime, step: Plan) -> bool:
    """Old pods give way, the highest first: no more at a time than may be unavailable, and of those that are up no more than
    leave it at that. So a rollout out of a broken template gets on, and it never takes down what it need not."""
    wanted, rolling, name = ordinals(sts), _rolling(sts), history.update.metadata.name
    up = {n for n in wanted if n in numbered and _is_up(sts, numbered[n], now)}
    old = {n for n in wanted if n in numbered and numbered[n].metadata.labels.get(REVISION) != name}
    going = {n for n in old if _is_ending(numbered[n])}
    bound = _amount(1 if rolling.max_unavailable is None else rolling.max_unavailable, len(wanted))
    room, turns = bound - (len(wanted) - len(up)), bound - len(going) - len(set(wanted) - old - up)
    for ordinal in sorted(old - going, reverse=True):
        if turns <= 0 or ordinal < wanted.start + rolling.partition:
            break
        if ordinal in up:
            if room <= 0:
                continue
            room -= 1
        turns -= 1
        step.delete.append(numbered[ordinal])
    return False


def _amount(value: IntOrString, total: int) -> int:
    """A number, or a percentage of the pods rounded up; at least one, so that a rollout always gets on."""
    if isinstance(value, int):
        return max(1, value)
    return max(1, -(-total * int(value.removesuffix("%")) // 100))


def status_of(sts: StatefulSet, numbered: Mapping[int, Pod], history: History, now: datetime) -> StatefulSetStatus:
    """How the set stands, seen from its pods before what is done to them now shows."""
    pods = list(numbered.values())
    alive = [pod for pod in pods if not _is_ending(pod)]
    current, update = history.current.metadata.name, history.update.metadata.name
    ready = sum(is_ready(pod) for pod in pods)
    updated = _count_of(alive, update)
    wanted = sts.spec.replicas
    is_complete = updated == ready == len(pods) == wanted
    if sts.spec.update_strategy.type == "RollingUpdate" and is_complete:
        current = update
    status = {
        "observed_generation": sts.metadata.generation,
        "replicas": len(pods),
        "ready_replicas": ready or None,
        "available_replicas": sum(is_available(pod, sts.spec.min_ready_seconds, now) for pod in pods),
        "current_replicas": _count_of(alive, current) or None,
        "updated_replicas": updated or None,
        "current_revision": current,
        "update_revision": update,
    }
    return sts.status.model_copy(update=status)


def _count_of(pods: Sequence[Pod], revision: str) -> int:
    return sum(pod.metadata.labels.get(REVISION) == revision for pod in pods)


def _recheck(sts: StatefulSet, pods: Sequence[Pod], now: datetime) -> float | None:
    waits = [available_in(pod, sts.spec.min_ready_seconds, now) for pod in pods]
    due = [wait.total_seconds() for wait in waits if wait is not None and wait > timedelta(0)]
    return min(due, default=None)
