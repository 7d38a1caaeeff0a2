"""Whole rollouts by the real plans of Deployment and ReplicaSet, over pods that become ready, fail and go as they like.

The world is the smallest that can hold the two plans: objects in dictionaries, time in whole seconds. After every act
the bounds of the strategy must hold; when the world calms down, the deployment must be complete.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from stark.controllers.deployment.planning import Observed, plan
from stark.controllers.deployment.revisions import split
from stark.controllers.deployment.strategy import bounds, is_rolling
from stark.controllers.replicaset import planning as replicas
from stark.crds.apps import Deployment, ReplicaSet
from stark.crds.meta import ObjectMeta, decode
from stark.crds.pods import Pod
from tests.support.workloads import NOW, deployment, meta

IMAGES = [f"pack.stark/web:{n}.0.0" for n in range(3)]
STEPS_MAX = 400


class World:
    """A deployment, its ReplicaSets and their pods."""

    def __init__(self, web: Deployment) -> None:
        self.web = web
        self.sets: dict[str, ReplicaSet] = {}
        self.pods: dict[str, Pod] = {}
        self.now = NOW
        self.made = 0

    def roll(self) -> bool:
        """One reconcile of the deployment. Returns whether it did anything."""
        step = plan(Observed(self.web, tuple(self.sets.values()), self._old_pods()), self.now)
        if step.create is not None:
            assert step.create.metadata.name not in self.sets
            made = {"uid": f"uid-{step.create.metadata.name}", "creation_timestamp": self.now, "generation": 1}
            self._put(step.create.model_copy(update={"metadata": step.create.metadata.model_copy(update=made)}))
        for change in step.changes:
            rs = self.sets[change.rs.metadata.name]
            notes = {**rs.metadata.annotations, **change.annotations}
            size = rs.spec.replicas if change.replicas is None else change.replicas
            meta_ = rs.metadata.model_copy(update={"annotations": notes})
            self._put(rs.model_copy(update={"metadata": meta_, "spec": rs.spec.model_copy(update={"replicas": size})}))
        for rs in step.delete:
            assert not self._pods_of(rs)
            del self.sets[rs.metadata.name]
        if step.status is not None:
            self.web = self.web.model_copy(update={"status": step.status})
        return bool(step.create or step.changes or step.delete)

    def replicate(self, rs: ReplicaSet) -> bool:
        """One reconcile of a ReplicaSet."""
        pods = self._pods_of(rs)
        step = replicas.plan(rs, pods, self.pods.values(), self.now)
        for _ in range(step.create):
            self.made += 1
            name = f"p{self.made}"
            pod = replicas.new_pod(rs)
            self.pods[name] = pod.model_copy(
                update={
                    "metadata": ObjectMeta(**meta(name)).model_copy(update={"owner_references": [rs.owner_reference()]})
                }
            )
        for pod in step.delete:
            del self.pods[pod.metadata.name]
        status = replicas.status_of(rs, self._pods_of(rs), None, self.now)
        changed = not replicas.same_status(status, rs.status)
        self._put(rs.model_copy(update={"status": status}))
        return changed or bool(step.create or step.delete)

    def happen(self, name: str, what: str) -> None:
        """A pod becomes ready, or fails."""
        status: dict[str, Any] = {"phase": "Failed"} if what == "fail" else {"phase": "Running", "conditions": [READY]}
        pod = self.pods[name]
        self.pods[name] = decode(
            {**pod.model_dump(mode="json", by_alias=True, exclude_unset=True), "status": status}, Pod
        )

    def want(self, image: str, size: int) -> None:
        """Somebody changes the deployment."""
        fresh = deployment(size, image=image, spec={"strategy": _strategy(self.web)})
        self.web = fresh.model_copy(update={"metadata": self.web.metadata, "status": self.web.status})

    def ready(self) -> int:
        return sum(bool(pod.status.conditions) for pod in self.pods.values())

    def wanted(self) -> int:
        return sum(rs.spec.replicas for rs in self.sets.values())

    def _old_pods(self) -> bool:
        _, olds = split(self.web, list(self.sets.values()))
        return any(self._pods_of(rs) for rs in olds)

    def _pods_of(self, rs: ReplicaSet) -> list[Pod]:
        return [pod for pod in self.pods.values() if pod.metadata.owner_references[0].uid == rs.uid]

    def _put(self, rs: ReplicaSet) -> None:
        self.sets[rs.metadata.name] = rs


READY = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T12:00:00Z"}


def _strategy(web: Deployment) -> dict[str, Any]:
    return web.spec.strategy.model_dump(mode="json", by_alias=True, exclude_unset=True)


strategies = st.one_of(
    st.just({"type": "Recreate"}),
    st.builds(
        lambda surge, gone: {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": gone}},
        st.sampled_from([0, 1, 2, "25%", "100%"]),
        st.sampled_from([0, 1, "25%", "50%"]),
    ),
)


@settings(max_examples=60, deadline=None)
@given(strategies, st.integers(1, 6), st.lists(st.integers(0, 1000), max_size=60), st.data())
def test_a_rollout_stays_within_its_bounds_and_ends(
    strategy: dict[str, Any], size: int, dice: list[int], data: st.DataObject
) -> None:
    world = World(deployment(size, image=IMAGES[0], spec={"strategy": strategy}))
    settle(world)
    for roll in dice:
        disturb(world, roll, data)
    settle(world)
    new, olds = split(world.web, list(world.sets.values()))
    assert new is not None
    assert new.spec.replicas == world.web.spec.replicas == len(world.pods) == world.ready()
    assert all(rs.spec.replicas == 0 for rs in olds)
    conditions = {each.type: each.reason for each in world.web.status.conditions}
    assert conditions == {"Available": "MinimumReplicasAvailable", "Progressing": "NewReplicaSetAvailable"}
    assert world.web.status.updated_replicas == world.web.status.replicas == world.web.spec.replicas


def disturb(world: World, roll: int, data: st.DataObject) -> None:
    """One thing happens: to a pod, to the deployment, or one of the controllers gets a turn."""
    kind = roll % 8
    waiting = sorted(name for name, pod in world.pods.items() if not pod.status.conditions)
    if kind == 0:
        world.want(IMAGES[roll % 3], data.draw(st.integers(0, 6)))
    elif kind == 1 and waiting:
        world.happen(waiting[roll % len(waiting)], "fail")
    elif kind in (2, 3) and waiting:
        world.happen(waiting[roll % len(waiting)], "ready")
    elif kind in (4, 5):
        check(world)
    else:
        replicate_all(world)


def check(world: World) -> bool:
    """One turn of the deployment: it asks for no more pods than the surge allows, unless it was more already."""
    before = world.wanted()
    did = world.roll()
    most = world.web.spec.replicas + bounds(world.web)[0]
    assert world.wanted() <= max(most, before), (world.wanted(), most, before)
    return did


def replicate_all(world: World) -> bool:
    """Every ReplicaSet gets a turn."""
    worked = [world.replicate(world.sets[name]) for name in sorted(world.sets)]
    return any(worked)


def settle(world: World) -> None:
    """Nobody disturbs: pods become ready, and the controllers work until both have nothing to do."""
    for _ in range(STEPS_MAX):
        world.now += timedelta(seconds=1)
        for name, pod in list(world.pods.items()):
            if pod.status.phase == "Failed":
                del world.pods[name]
            elif not pod.status.conditions:
                world.happen(name, "ready")
        floor = world.web.spec.replicas - bounds(world.web)[1] if is_rolling(world.web) else 0
        enough = world.ready() >= floor and _all_told(world) and not _still_to_go(world)
        rolled = check(world)
        worked = replicate_all(world)
        if enough and is_rolling(world.web):
            # Everything was healthy and known, so what went is what the strategy lets go.
            assert world.ready() >= floor, (world.ready(), floor)
        if not rolled and not worked:
            return
    raise AssertionError("the rollout never ends")


def _still_to_go(world: World) -> bool:
    """Whether pods are doomed by an earlier decision: a scale to zero that its ReplicaSet has not carried out yet."""
    return any(len(world._pods_of(rs)) > rs.spec.replicas for rs in world.sets.values())


def _all_told(world: World) -> bool:
    return all(
        (rs.status.available_replicas or 0) == sum(bool(pod.status.conditions) for pod in world._pods_of(rs))
        for rs in world.sets.values()
    )
