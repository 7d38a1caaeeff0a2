"""A Deployment in the mode DaemonSet: one pod on every matching node, by way of a DaemonSet of its own. Pure.

The DaemonSet has the Deployment's name and template, and the controller of DaemonSets plans its pods: there is one
planner for both kinds. ReplicaSets stay, without pods, because they are what `kubectl rollout history` and `undo` read.

Changing the mode is a rollout. On the way in each available daemon lets a pod of the ReplicaSets go; on the way out the
DaemonSet goes when the new ReplicaSet is as available as the strategy asks. Recreate stops the ones before it starts
the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from stark.crds.annotations import CHANGE_CAUSE, DESIRED_REPLICAS
from stark.crds.apps import (
    DaemonSet,
    DaemonSetSpec,
    DaemonSetStatus,
    DaemonSetUpdateStrategy,
    Deployment,
    ReplicaSet,
    RollingUpdateDaemonSet,
    RollingUpdateDeployment,
)
from stark.crds.meta import ObjectMeta
from stark.crds.templates import same_template

from .revisions import oldest_first
from .scaling import Sizes, active, wanted
from .status import Tally, tally
from .strategy import bounds_of, is_rolling


@dataclass(frozen=True, slots=True)
class DaemonChange:
    """What to do to the DaemonSet: make it, write it anew, or delete it. At most one is set."""

    create: DaemonSet | None = None
    update: DaemonSet | None = None
    delete: DaemonSet | None = None
    in_foreground: bool = False
    """Delete its pods first, so that its end means theirs."""


NO_CHANGE = DaemonChange()


def daemon_set_of(deployment: Deployment) -> DaemonSet:
    """The DaemonSet that the deployment wants."""
    spec = deployment.spec
    cause = deployment.metadata.annotations.get(CHANGE_CAUSE)
    meta = ObjectMeta(
        name=deployment.metadata.name,
        namespace=deployment.metadata.namespace,
        labels=spec.template.metadata.labels,
        annotations={CHANGE_CAUSE: cause} if cause else {},
        owner_references=[deployment.owner_reference()],
    )
    strategy = DaemonSetUpdateStrategy(
        type="RollingUpdate", rolling_update=RollingUpdateDaemonSet(max_unavailable=_max_unavailable(deployment))
    )
    return DaemonSet(
        metadata=meta,
        spec=DaemonSetSpec(
            selector=spec.selector,
            template=spec.template,
            update_strategy=strategy,
            min_ready_seconds=spec.min_ready_seconds,
            revision_history_limit=spec.revision_history_limit,
        ),
    )


def _max_unavailable(deployment: Deployment) -> int | str:
    """Recreate stops all at once. A node has no room for two daemons, so where only surge was allowed one node waits."""
    if not is_rolling(deployment):
        return "100%"
    rolling = deployment.spec.strategy.rolling_update or RollingUpdateDeployment()
    return 1 if rolling.max_unavailable in (0, "0%") else rolling.max_unavailable


def differs(there: DaemonSet, should: DaemonSet) -> bool:
    """Whether what is there is not what it should be."""
    one, other = there.spec, should.spec
    numbers = (one.min_ready_seconds, one.revision_history_limit, one.update_strategy)
    return numbers != (other.min_ready_seconds, other.revision_history_limit, other.update_strategy) or not (
        same_template(one.template, other.template)
    )


def renewed(there: DaemonSet, should: DaemonSet) -> DaemonSet:
    """The DaemonSet as it should be, to be written over what is there."""
    meta = there.metadata.model_copy(update={"annotations": should.metadata.annotations})
    return there.model_copy(update={"metadata": meta, "spec": should.spec})


def is_told(deployment: Deployment, daemons: DaemonSet | None) -> bool:
    """Whether the DaemonSet's numbers are about what the deployment wants now."""
    if daemons is None or differs(daemons, daemon_set_of(deployment)):
        return False
    return (daemons.status.observed_generation or 0) >= (daemons.metadata.generation or 0)


def enter(
    deployment: Deployment, daemons: DaemonSet | None, sets: Sequence[ReplicaSet], *, pods_running: bool
) -> tuple[DaemonChange, Sizes]:
    """One step towards a pod on every node, or of keeping it up: the DaemonSet, and the ReplicaSets that shrink."""
    should = daemon_set_of(deployment)
    if daemons is not None and daemons.metadata.deletion_timestamp is not None:
        return NO_CHANGE, {}
    if not is_rolling(deployment) and daemons is None:
        # As with every Recreate, the last of the former pods is gone before the first of the new ones comes.
        shrunk = {rs.uid: 0 for rs in active(sets)}
        waits = shrunk or pods_running
        return NO_CHANGE if waits else DaemonChange(create=should), shrunk
    if daemons is None:
        return DaemonChange(create=should), {}
    if differs(daemons, should):
        return DaemonChange(update=renewed(daemons, should)), {}
    return NO_CHANGE, _replaced(deployment, daemons, sets)


def _replaced(deployment: Deployment, daemons: DaemonSet, sets: Sequence[ReplicaSet]) -> Sizes:
    """How the ReplicaSets shrink: one pod for each available daemon, and all of them when every daemon is."""
    running = active(sets)
    if not running or not is_told(deployment, daemons):
        return {}
    up = daemons.status.number_available or 0
    if up >= daemons.status.desired_number_scheduled:
        return {rs.uid: 0 for rs in running}
    too_many = wanted(running) - max(0, _size_before(running) - up)
    sizes: Sizes = {}
    for rs in oldest_first(running):
        taken = min(rs.spec.replicas, max(0, too_many))
        if taken:
            sizes[rs.uid] = rs.spec.replicas - taken
            too_many -= taken
    return sizes


def _size_before(running: Sequence[ReplicaSet]) -> int:
    """How many pods there were to be before the mode changed, as the ReplicaSets were told."""
    noted = [rs.metadata.annotations.get(DESIRED_REPLICAS, "") for rs in running]
    return max((int(text) for text in noted if text.isdigit()), default=wanted(running))


def leave(deployment: Deployment, daemons: DaemonSet, new: ReplicaSet | None) -> DaemonChange:
    """One step away from the mode: whether the DaemonSet goes now."""
    if daemons.metadata.deletion_timestamp is not None:
        return NO_CHANGE
    if not is_rolling(deployment):
        return DaemonChange(delete=daemons, in_foreground=True)
    replicas = deployment.spec.replicas
    available = new.status.available_replicas or 0 if new is not None else 0
    enough = available >= replicas - bounds_of(deployment, replicas)[1]
    started = new is not None and new.spec.replicas >= replicas
    return DaemonChange(delete=daemons) if enough and started else NO_CHANGE


def tally_leaving(
    deployment: Deployment, daemons: DaemonSet, new: ReplicaSet | None, olds: Sequence[ReplicaSet]
) -> Tally:
    """The pods of a deployment that wants replicas again: those of the DaemonSet count as old."""
    sets, numbers = tally(deployment, new, olds), daemons.status
    return replace(
        sets,
        there=sets.there + numbers.current_number_scheduled + numbers.number_misscheduled,
        ready=sets.ready + numbers.number_ready,
        available=sets.available + (numbers.number_available or 0),
    )


def tally_daemons(
    deployment: Deployment, daemons: DaemonSet | None, new: ReplicaSet | None, olds: Sequence[ReplicaSet]
) -> Tally:
    """The pods of a deployment in this mode: those of ReplicaSets count as old.

    Places that are still to be filled count as pods, and one does until the DaemonSet has said how many there are: for
    `kubectl rollout status` this is the only number of pods to wait for, since spec.replicas means nothing here.
    """
    sets = tally(deployment, new, olds)
    numbers = daemons.status if daemons is not None else DaemonSetStatus()
    told = is_told(deployment, daemons)
    desired, available = numbers.desired_number_scheduled, numbers.number_available or 0
    places = max(numbers.current_number_scheduled + numbers.number_misscheduled, desired, 0 if told else 1)
    missing = bounds_of(deployment, desired)[1]
    return replace(
        sets,
        desired=desired,
        floor=desired - missing if told or desired else 1,
        there=places + sets.there,
        updated=(numbers.updated_number_scheduled or 0) if told else 0,
        ready=sets.ready + numbers.number_ready,
        available=sets.available + available,
        unavailable=max(0, desired - available),
    )
