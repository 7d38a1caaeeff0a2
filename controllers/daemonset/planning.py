"""On which nodes a DaemonSet makes a pod, which pods it gives up, and how it stands. Pure.

A pod is made with `spec.nodeName`, past the scheduler. Kubernetes pins it by node affinity and lets the scheduler bind
it; here a node's daemon need not wait for its turn. So the rules that the scheduler would apply are applied here, by the
functions that both share (`crds/placement`): node selector and affinity, taints (with the tolerations every daemon has),
runtime and architecture of the pack, and whose node it is. What is left on the node is not looked at, and the agent
refuses what does not fit.
A node gets a new pod only when the old one is gone, so there are never two.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from stark.crds.annotations import (
    TAINT_DISK_PRESSURE,
    TAINT_MEMORY_PRESSURE,
    TAINT_NOT_READY,
    TAINT_UNREACHABLE,
    TAINT_UNSCHEDULABLE,
)
from stark.crds.apps import DaemonSet, DaemonSetStatus, RollingUpdateDaemonSet
from stark.crds.fields import IntOrString
from stark.crds.meta import ObjectMeta
from stark.crds.nodes import Node
from stark.crds.placement.facts import Offer, Where
from stark.crds.placement.filters import has_architecture, has_runtime, is_selected, is_served
from stark.crds.placement.reading import PackOf, demand_of, offer_of, pack_problem
from stark.crds.podfacts import available_in, is_active, is_finished, is_ready
from stark.crds.pods import Pod, Toleration
from stark.crds.tenancy import Owner

TEMPLATE_HASH = "controller-revision-hash"
"""Label of a DaemonSet's pods: which template they come from."""
HASH_LENGTH = 10
BURST_MAX = 250
"""Pods made or deleted in one reconcile; the rest follows when the cache has seen these."""
FAILED_PAUSE_S = 10.0
"""A pod that failed is replaced when it is at least this old: what fails at once is not made again at once."""

TOLERATIONS = (
    Toleration(key=TAINT_NOT_READY, operator="Exists", effect="NoExecute"),
    Toleration(key=TAINT_UNREACHABLE, operator="Exists", effect="NoExecute"),
    Toleration(key=TAINT_DISK_PRESSURE, operator="Exists", effect="NoSchedule"),
    Toleration(key=TAINT_MEMORY_PRESSURE, operator="Exists", effect="NoSchedule"),
    Toleration(key=TAINT_UNSCHEDULABLE, operator="Exists", effect="NoSchedule"),
)
"""What every daemon puts up with: it belongs to its node in bad times too."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do about a DaemonSet now."""

    status: DaemonSetStatus
    create: Sequence[Pod] = ()
    delete: Sequence[Pod] = ()
    recheck_after_s: float | None = None


def plan(daemons: DaemonSet, pods: Sequence[Pod], nodes: Sequence[Node], pack_of: PackOf, now: datetime) -> Plan:
    """The next step. `pods` are the DaemonSet's own, `nodes` all there are."""
    sample = new_pod(daemons, "")
    # A template may say anything about owners; its pods are the set's owner's.
    owner = Owner.of(daemons.metadata.annotations)
    where = demand_of(sample, pack_of, owner).where
    offers = [offer_of(node) for node in nodes if node.metadata.deletion_timestamp is None]
    wanted = {offer.name for offer in offers if takes(where, offer, new=True)}
    kept = wanted | {offer.name for offer in offers if takes(where, offer, new=False)}
    placed = by_node(pods)
    desired = wanted | {name for name in kept if any(is_active(pod) for pod in placed.get(name, ()))}
    status = status_of(daemons, placed, desired, now)
    if daemons.metadata.deletion_timestamp is not None:
        return Plan(status)
    held_back = pack_problem(sample, pack_of, owner) is not None
    missing = [] if held_back else sorted(wanted - placed.keys())
    create = [new_pod(daemons, name) for name in missing[:BURST_MAX]]
    delete = [pod for name, there in placed.items() for pod in _superfluous(daemons, there, name in kept, now)]
    delete += _outdated(daemons, placed, desired, now)
    return Plan(status, create, delete[:BURST_MAX], _recheck(daemons, pods, now))


def takes(where: Where, offer: Offer, *, new: bool) -> bool:
    """Whether a node takes a new pod of the set, or keeps one that it has: NoSchedule taints drive nobody away."""
    effects = ("NoSchedule", "NoExecute") if new else ("NoExecute",)
    taints = [taint for taint in offer.taints if taint.effect in effects]
    if any(not where.tolerates(taint) for taint in taints):
        return False
    rules = (is_selected, has_runtime, has_architecture, is_served)
    return not any(rule(where, offer) for rule in rules)


def by_node(pods: Iterable[Pod]) -> Mapping[str, Sequence[Pod]]:
    """The pods on each node."""
    placed: dict[str, list[Pod]] = defaultdict(list)
    for pod in pods:
        placed[pod.spec.node_name or ""].append(pod)
    return placed


def _superfluous(daemons: DaemonSet, there: Sequence[Pod], keeps: bool, now: datetime) -> list[Pod]:
    """Pods of a node that should have none, all but one of a node that has several, and failed ones."""
    active = [pod for pod in there if is_active(pod)]
    if not keeps:
        return [pod for pod in there if pod.metadata.deletion_timestamp is None]
    over = [pod for pod in there if is_finished(pod) and pod.metadata.deletion_timestamp is None]
    best_first = sorted(active, key=lambda pod: (not is_current(daemons, pod), not is_ready(pod), pod.metadata.name))
    return best_first[1:] + [pod for pod in over if _age_s(pod, now) >= FAILED_PAUSE_S]


def _outdated(
    daemons: DaemonSet, placed: Mapping[str, Sequence[Pod]], desired: Iterable[str], now: datetime
) -> list[Pod]:
    """Old pods that give way now: those that are not available at once, others as far as the strategy lets them."""
    strategy = daemons.spec.update_strategy
    if strategy.type == "OnDelete":
        return []
    names = sorted(desired)
    running = {name: _active_one(placed.get(name, ())) for name in names}
    old = [pod for pod in running.values() if pod is not None and not is_current(daemons, pod)]
    up = {name for name, pod in running.items() if pod is not None and _is_available(daemons, pod, now)}
    room = _amount((strategy.rolling_update or RollingUpdateDaemonSet()).max_unavailable, len(names))
    room -= len(names) - len(up)
    down = [pod for pod in old if pod.spec.node_name not in up]
    return down + [pod for pod in old if pod.spec.node_name in up][: max(0, room)]


def _active_one(there: Sequence[Pod]) -> Pod | None:
    """The pod of a node; None while there are several, or none."""
    active = [pod for pod in there if is_active(pod)]
    return active[0] if len(active) == 1 else None


def _is_available(daemons: DaemonSet, pod: Pod, now: datetime) -> bool:
    return available_in(pod, daemons.spec.min_ready_seconds, now) == timedelta(0)


def _amount(value: IntOrString, total: int) -> int:
    if isinstance(value, int):
        return value
    percent = int(value.removesuffix("%"))
    return -(-total * percent // 100)


def _age_s(pod: Pod, now: datetime) -> float:
    created = pod.metadata.creation_timestamp
    return (now - created).total_seconds() if created else FAILED_PAUSE_S


def _recheck(daemons: DaemonSet, pods: Sequence[Pod], now: datetime) -> float | None:
    waits = [FAILED_PAUSE_S - _age_s(pod, now) for pod in pods if is_finished(pod)]
    left = [available_in(pod, daemons.spec.min_ready_seconds, now) for pod in pods if is_active(pod)]
    waits += [each.total_seconds() for each in left if each is not None]
    return min((wait for wait in waits if wait > 0), default=None)


def is_current(daemons: DaemonSet, pod: Pod) -> bool:
    """Whether the pod was made from the present template."""
    return pod.metadata.labels.get(TEMPLATE_HASH) == template_hash(daemons)


def template_hash(daemons: DaemonSet) -> str:
    """The name of the template."""
    facts = daemons.spec.template.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:HASH_LENGTH]


def new_pod(daemons: DaemonSet, node: str) -> Pod:
    """The pod for a node; the server completes its name."""
    template = daemons.spec.template
    tolerations = [*template.spec.tolerations, *(each for each in TOLERATIONS if each not in template.spec.tolerations)]
    meta = ObjectMeta(
        generate_name=f"{daemons.metadata.name}-",
        namespace=daemons.metadata.namespace,
        labels={**template.metadata.labels, TEMPLATE_HASH: template_hash(daemons)},
        annotations=template.metadata.annotations,
        finalizers=template.metadata.finalizers,
        owner_references=[daemons.owner_reference()],
    )
    return Pod(metadata=meta, spec=template.spec.model_copy(update={"node_name": node, "tolerations": tolerations}))


def status_of(
    daemons: DaemonSet, placed: Mapping[str, Sequence[Pod]], desired: Iterable[str], now: datetime
) -> DaemonSetStatus:
    """How the DaemonSet stands, seen from its pods before what is done to them now shows."""
    names = set(desired)
    on = {name: [pod for pod in there if is_active(pod)] for name, there in placed.items()}
    right = [pods for name, pods in on.items() if name in names and pods]
    available = sum(any(_is_available(daemons, pod, now) for pod in pods) for pods in right)
    return DaemonSetStatus(
        current_number_scheduled=len(right),
        number_misscheduled=sum(bool(pods) for name, pods in on.items() if name not in names),
        desired_number_scheduled=len(names),
        number_ready=sum(any(is_ready(pod) for pod in pods) for pods in right),
        observed_generation=daemons.metadata.generation,
        updated_number_scheduled=sum(any(is_current(daemons, pod) for pod in pods) for pods in right),
        number_available=available,
        number_unavailable=len(names) - available,
    )
