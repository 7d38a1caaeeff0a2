"""What to do about a deployment now: the one decision, made of the parts beside it.

A plan is small on purpose: one step that is safe by itself. When it is done the ReplicaSets' events bring the
deployment back, and the next plan starts from what is there then. So any write may be the last one, and planning twice
is as good as once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from stark.crds.annotations import BLOCKED_VERSIONS
from stark.crds.apps import DaemonSet, Deployment, DeploymentStatus, ReplicaSet
from stark.crds.conditions import find_condition
from stark.crds.crash_loop import is_template_blocked
from stark.crds.templates import fingerprint

from . import scaling, status
from .daemons import NO_CHANGE, DaemonChange, enter, leave, tally_daemons, tally_leaving
from .revisions import (
    new_replica_set,
    next_revision,
    replica_annotations,
    revision_of,
    split,
    synced_annotations,
    with_settings,
)
from .scaling import Sizes
from .status import Tally, tally
from .strategy import is_daemon, is_rolling, max_surge


@dataclass(frozen=True, slots=True)
class Observed:
    """The deployment, what it controls, and whether pods of another template or mode still run (asked for Recreate)."""

    deployment: Deployment
    sets: Sequence[ReplicaSet]
    old_pods_running: bool = False
    daemons: DaemonSet | None = None
    """Its DaemonSet, when it is or was in that mode."""


@dataclass(frozen=True, slots=True)
class Change:
    """New values of one ReplicaSet; None and empty leave alone, None for an annotation takes it off."""

    rs: ReplicaSet
    replicas: int | None = None
    min_ready_seconds: int | None = None
    annotations: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def scales(self) -> bool:
        """Whether the size changes."""
        return self.replicas is not None and self.replicas != self.rs.spec.replicas


@dataclass(frozen=True, slots=True)
class Plan:
    """In the order in which it is carried out."""

    create: ReplicaSet | None = None
    changes: Sequence[Change] = ()
    daemons: DaemonChange = NO_CHANGE
    delete: Sequence[ReplicaSet] = ()
    revision: int | None = None
    """The revision to note on the deployment, when it is not there yet."""
    status: DeploymentStatus | None = None
    """The status to write; None when nothing in it changes."""
    recheck_after_s: float | None = None


def plan(observed: Observed, now: datetime) -> Plan:
    """The next step."""
    deployment = observed.deployment
    new, olds = split(deployment, observed.sets)
    if deployment.metadata.deletion_timestamp is not None:
        return _finish(observed, new, olds, Plan(), list(deployment.status.conditions), now, rolling=False)
    conditions = status.with_pause(deployment, list(deployment.status.conditions), now)
    halted = bool(status.halted_by(deployment)) or is_left_alone(deployment, now)
    if is_daemon(deployment):
        step = Plan() if halted else _keep_daemons(observed, new, olds)
    elif halted or scaling.is_scaling(deployment, observed.sets):
        step = _scale(observed, new, olds)
        # Two active ReplicaSets of a Recreate deployment cannot share a change; then the rollout has to come first.
        if halted or step.changes:
            return _finish(observed, new, olds, step, conditions, now, rolling=False)
        step = _move(observed, new, olds)
    else:
        step = _move(observed, new, olds)
    if halted:
        return _finish(observed, new, olds, step, conditions, now, rolling=False)
    conditions = _with_discovery(deployment, new, step, conditions, now)
    return _finish(observed, new, olds, step, conditions, now, rolling=True)


def is_left_alone(deployment: Deployment, now: datetime) -> bool:
    """Whether the template crash-looped and its time is not over: it is not rolled out again, however it came back.

    The crash-loop controller makes this a pause, which it also ends; until it has, nothing may be begun.
    """
    annotations = deployment.metadata.annotations
    return BLOCKED_VERSIONS in annotations and is_template_blocked(
        annotations, fingerprint(deployment.spec.template), now
    )


def _move(observed: Observed, new: ReplicaSet | None, olds: Sequence[ReplicaSet]) -> Plan:
    """A step of the rollout, which also ends the mode DaemonSet when the deployment has left it."""
    deployment, daemons = observed.deployment, observed.daemons
    if daemons is None:
        return _roll(observed, new, olds) if is_rolling(deployment) else _recreate(observed, new, olds)
    if is_rolling(deployment):
        return replace(_roll(observed, new, olds), daemons=leave(deployment, daemons, new))
    return Plan(daemons=leave(deployment, daemons, new), revision=_revision(deployment, new, olds))


def _keep_daemons(observed: Observed, new: ReplicaSet | None, olds: Sequence[ReplicaSet]) -> Plan:
    """A step of a rollout in the mode DaemonSet. A ReplicaSet without pods holds the template for `rollout undo`."""
    deployment = observed.deployment
    if new is None:
        return _create(deployment, olds, 0)
    change, sizes = enter(deployment, observed.daemons, observed.sets, pods_running=observed.old_pods_running)
    return replace(_step(observed, new, olds, sizes, noted=set()), daemons=change)


def _scale(observed: Observed, new: ReplicaSet | None, olds: Sequence[ReplicaSet]) -> Plan:
    deployment = observed.deployment
    sizes = scaling.rescale(deployment, new, olds)
    changes = _changes(deployment, new, olds, sizes, noted=set(sizes))
    delete = surplus(deployment, olds) if status.halted_by(deployment) and not changes else ()
    return Plan(changes=changes, delete=delete, revision=_revision(deployment, new, olds))


def _roll(observed: Observed, new: ReplicaSet | None, olds: Sequence[ReplicaSet]) -> Plan:
    deployment = observed.deployment
    if new is None:
        return _create(deployment, olds, scaling.size_of_new(deployment, olds, 0))
    size = scaling.size_of_new(deployment, [*olds, new], new.spec.replicas)
    sizes = {new.uid: size} if size != new.spec.replicas else scaling.shrink_old(deployment, new, olds)
    return _step(observed, new, olds, sizes)


def _recreate(observed: Observed, new: ReplicaSet | None, olds: Sequence[ReplicaSet]) -> Plan:
    deployment = observed.deployment
    sizes = {rs.uid: 0 for rs in scaling.active(olds)}
    if not sizes and not observed.old_pods_running:
        if new is None:
            return _create(deployment, olds, deployment.spec.replicas)
        if new.spec.replicas != deployment.spec.replicas:
            sizes = {new.uid: deployment.spec.replicas}
    return _step(observed, new, olds, sizes)


def _create(deployment: Deployment, olds: Sequence[ReplicaSet], size: int) -> Plan:
    revision = next_revision(olds)
    return Plan(create=new_replica_set(deployment, revision, size, max_surge(deployment)), revision=revision)


def _step(
    observed: Observed,
    new: ReplicaSet | None,
    olds: Sequence[ReplicaSet],
    sizes: Sizes,
    noted: set[str] | None = None,
) -> Plan:
    deployment = observed.deployment
    changes = _changes(deployment, new, olds, sizes, noted=set(sizes) if noted is None else noted)
    done = not changes and new is not None and _tally(observed, new, olds).is_complete
    return Plan(
        changes=changes,
        delete=surplus(deployment, olds) if done else (),
        revision=_revision(deployment, new, olds),
    )


def _tally(observed: Observed, new: ReplicaSet | None, olds: Sequence[ReplicaSet]) -> Tally:
    deployment, daemons = observed.deployment, observed.daemons
    if is_daemon(deployment):
        return tally_daemons(deployment, daemons, new, olds)
    return tally_leaving(deployment, daemons, new, olds) if daemons else tally(deployment, new, olds)


def _revision(deployment: Deployment, new: ReplicaSet | None, olds: Sequence[ReplicaSet]) -> int | None:
    """The number that the deployment should carry: that of its new ReplicaSet, which may be about to get a higher
    one."""
    if new is None:
        return None
    revision = max(revision_of(new), next_revision(olds))
    return revision if revision != revision_of(deployment) else None


def _changes(
    deployment: Deployment, new: ReplicaSet | None, olds: Sequence[ReplicaSet], sizes: Sizes, noted: set[str]
) -> Sequence[Change]:
    surge = max_surge(deployment)
    changes = []
    for rs in [*olds, *([new] if new else [])]:
        wanted = with_settings(deployment, rs.metadata.annotations)
        min_ready = None
        if new is not None and rs.uid == new.uid:
            wanted = synced_annotations(deployment, wanted, next_revision(olds))
            if rs.spec.min_ready_seconds != deployment.spec.min_ready_seconds:
                min_ready = deployment.spec.min_ready_seconds
        if rs.uid in noted:
            wanted.update(replica_annotations(deployment.spec.replicas, surge))
        annotations: dict[str, str | None] = {
            key: value for key, value in wanted.items() if rs.metadata.annotations.get(key) != value
        }
        annotations.update(dict.fromkeys(rs.metadata.annotations.keys() - wanted.keys()))
        size = sizes.get(rs.uid, rs.spec.replicas)
        change = Change(rs, size if size != rs.spec.replicas else None, min_ready, annotations)
        if change.scales or min_ready is not None or annotations:
            changes.append(change)
    return tuple(changes)


def surplus(deployment: Deployment, olds: Sequence[ReplicaSet]) -> Sequence[ReplicaSet]:
    """Old empty ReplicaSets beyond the history that is kept, the lowest revisions first."""
    alive = [rs for rs in olds if rs.metadata.deletion_timestamp is None]
    too_many = len(alive) - deployment.spec.revision_history_limit
    if too_many <= 0:
        return ()
    oldest = sorted(alive, key=revision_of)[:too_many]
    return tuple(rs for rs in oldest if _is_spent(rs))


def _is_spent(rs: ReplicaSet) -> bool:
    observed = (rs.status.observed_generation or 0) >= (rs.metadata.generation or 0)
    return observed and rs.spec.replicas == 0 and rs.status.replicas == 0


def _with_discovery(
    deployment: Deployment, new: ReplicaSet | None, step: Plan, conditions: status.Conditions, now: datetime
) -> status.Conditions:
    """A rollout that just began says by what, so that its deadline has a start."""
    if status.deadline(deployment) is None:
        return conditions
    if step.create is not None:
        text = f'Created new replica set "{step.create.metadata.name}"'
        return status.put(conditions, "Progressing", "True", "NewReplicaSetCreated", text, now)
    if new is not None and find_condition(conditions, "Progressing") is None:
        text = f'Found new replica set "{new.metadata.name}"'
        return status.put(conditions, "Progressing", "True", "FoundNewReplicaSet", text, now)
    return conditions


def _finish(
    observed: Observed,
    new: ReplicaSet | None,
    olds: Sequence[ReplicaSet],
    step: Plan,
    conditions: status.Conditions,
    now: datetime,
    *,
    rolling: bool,
) -> Plan:
    deployment = observed.deployment
    counted = _tally(observed, new, olds)
    result = status.count(deployment, counted, conditions, now)
    if rolling:
        what = f'ReplicaSet "{new.metadata.name}"' if new else f'Deployment "{deployment.metadata.name}"'
        result = status.with_progress(deployment, what, result, now, complete=counted.is_complete)
        result = status.with_failures(result, [*([new] if new else []), *olds], now)
    written = None if _same(result, deployment.status) else result
    recheck = status.recheck_after_s(deployment, result, now, complete=counted.is_complete)
    return replace(step, status=written, recheck_after_s=recheck)


def _same(one: DeploymentStatus, other: DeploymentStatus) -> bool:
    return one.model_dump(exclude_defaults=True) == other.model_dump(exclude_defaults=True)
