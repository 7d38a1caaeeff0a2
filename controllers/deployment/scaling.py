"""How large each ReplicaSet should be next: one step of a rollout, or of scaling a rollout that is under way.

Every function takes what is there and returns the sizes to change, by the ReplicaSet's uid. A step never takes
available pods below `replicas - maxUnavailable` and never asks for more than `replicas + maxSurge`; the next step
follows when pods have caught up.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from stark.crds.annotations import DESIRED_REPLICAS, MAX_REPLICAS
from stark.crds.apps import Deployment, ReplicaSet

from .revisions import oldest_first
from .strategy import bounds, is_rolling, max_surge

Sizes = dict[str, int]


def wanted(sets: Iterable[ReplicaSet]) -> int:
    """Pods that the ReplicaSets ask for."""
    return sum(rs.spec.replicas for rs in sets)


def available(sets: Iterable[ReplicaSet]) -> int:
    """Pods of theirs that are available."""
    return sum(rs.status.available_replicas or 0 for rs in sets)


def active(sets: Iterable[ReplicaSet]) -> list[ReplicaSet]:
    """Those that ask for pods."""
    return [rs for rs in sets if rs.spec.replicas > 0]


def size_of_new(deployment: Deployment, sets: Sequence[ReplicaSet], size: int) -> int:
    """How far the new ReplicaSet, now of `size`, may grow. `sets` are all there are, the new one among them."""
    replicas = deployment.spec.replicas
    if size >= replicas or not is_rolling(deployment):
        return replicas
    room = replicas + max_surge(deployment) - wanted(sets)
    return size + min(max(room, 0), replicas - size)


def shrink_old(deployment: Deployment, new: ReplicaSet, olds: Sequence[ReplicaSet]) -> Sizes:
    """Which old ReplicaSets give up how many pods: first those that are not available anyway, then as many as the floor
    allows."""
    sets = [*olds, new]
    floor = deployment.spec.replicas - bounds(deployment)[1]
    new_unavailable = new.spec.replicas - (new.status.available_replicas or 0)
    room = wanted(sets) - floor - new_unavailable
    if wanted(olds) == 0 or room <= 0:
        return {}
    sizes = _without_unhealthy(olds, room)
    spare = available(sets) - floor
    for rs in oldest_first(olds):
        size = sizes.get(rs.uid, rs.spec.replicas)
        if spare <= 0:
            break
        taken = min(size, spare)
        if taken:
            sizes[rs.uid] = size - taken
            spare -= taken
    return sizes


def _without_unhealthy(olds: Sequence[ReplicaSet], room: int) -> Sizes:
    sizes: Sizes = {}
    for rs in oldest_first(olds):
        unhealthy = rs.spec.replicas - (rs.status.available_replicas or 0)
        taken = min(room, unhealthy)
        if taken > 0:
            sizes[rs.uid] = rs.spec.replicas - taken
            room -= taken
    return sizes


def is_saturated(deployment: Deployment, new: ReplicaSet | None) -> bool:
    """The new ReplicaSet alone has everything that is wanted."""
    if new is None:
        return False
    replicas = deployment.spec.replicas
    told = new.metadata.annotations.get(DESIRED_REPLICAS) == str(replicas)
    return told and new.spec.replicas == replicas and (new.status.available_replicas or 0) == replicas


def is_scaling(deployment: Deployment, sets: Iterable[ReplicaSet]) -> bool:
    """Whether the wanted number changed since the ReplicaSets were told, so that it is to be shared out before anything
    else."""
    replicas = str(deployment.spec.replicas)
    return any(rs.metadata.annotations.get(DESIRED_REPLICAS, replicas) != replicas for rs in active(sets))


def rescale(deployment: Deployment, new: ReplicaSet | None, olds: Sequence[ReplicaSet]) -> Sizes:
    """Scale without rolling: the only active ReplicaSet takes the new number, several share the difference by their
    sizes."""
    only = _active_or_latest(new, olds)
    if only is not None:
        return {only.uid: deployment.spec.replicas}
    if is_saturated(deployment, new):
        return {rs.uid: 0 for rs in active(olds)}
    if not is_rolling(deployment):
        return {}
    return _proportional(deployment, active([*olds, *([new] if new else [])]))


def _active_or_latest(new: ReplicaSet | None, olds: Sequence[ReplicaSet]) -> ReplicaSet | None:
    running = active([*([new] if new else []), *olds])
    if len(running) > 1:
        return None
    if running:
        return running[0]
    if new is not None:
        return new
    return oldest_first(olds)[-1] if olds else None


def _proportional(deployment: Deployment, sets: Sequence[ReplicaSet]) -> Sizes:
    replicas = deployment.spec.replicas
    allowed = replicas + max_surge(deployment) if replicas > 0 else 0
    to_add = allowed - wanted(sets)
    # Growing favours the newer of two equal ReplicaSets, shrinking the older; the largest come first in both cases.
    by_age = oldest_first(sets) if to_add < 0 else list(reversed(oldest_first(sets)))
    ordered = sorted(by_age, key=lambda rs: -rs.spec.replicas)
    sizes: Sizes = {}
    added = 0
    for rs in ordered:
        share = _share(deployment, rs, to_add, added)
        sizes[rs.uid] = rs.spec.replicas + share
        added += share
    if ordered and to_add != added:
        first = ordered[0].uid
        sizes[first] = max(0, sizes[first] + to_add - added)
    return sizes


def _share(deployment: Deployment, rs: ReplicaSet, to_add: int, added: int) -> int:
    if rs.spec.replicas == 0 or to_add in (0, added):
        return 0
    fraction = _fraction(deployment, rs)
    left = to_add - added
    return min(fraction, left) if to_add > 0 else max(fraction, left)


def _fraction(deployment: Deployment, rs: ReplicaSet) -> int:
    """By how much the ReplicaSet would change if it kept its share of the largest total allowed."""
    size = rs.spec.replicas
    if deployment.spec.replicas == 0:
        return -size
    noted = rs.metadata.annotations.get(MAX_REPLICAS, "")
    before = (int(noted) if noted.isdigit() else 0) or deployment.status.replicas or 0
    if before == 0:
        return 0
    largest = deployment.spec.replicas + max_surge(deployment)
    # Half away from zero, as Go's math.Round does it; everything here is positive.
    return (2 * size * largest + before) // (2 * before) - size
