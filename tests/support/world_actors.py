"""Who acts in the small world: the planners of Deployments, ReplicaSets and crash loops, and nodes that run programs.

Each carries its plan out in the writes that its controller makes, one by one, because between any two of them a process
may die. What a program does is told by its image.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from stark.controllers.crash_loop import planning as crash_loops
from stark.controllers.crash_loop.steadiness import Steadiness
from stark.controllers.crash_loop.telling import condition, next_change_s
from stark.controllers.deployment import planning as deployments
from stark.controllers.deployment.following import plan_following
from stark.controllers.deployment.revisions import split
from stark.controllers.deployment.strategy import is_rolling
from stark.controllers.replicaset import planning as replica_sets
from stark.crds.annotations import COUNTED_FAILURES, LAST_SUCCESSFUL_TEMPLATE, REVISION
from stark.crds.apps import Deployment, ReplicaSet
from stark.crds.conditions import without_condition
from stark.crds.meta import KubeObject, controller_of
from stark.crds.packs import Pack
from stark.crds.podfacts import is_finished
from stark.crds.pods import Pod, PodStatus
from stark.crds.templates import fingerprint, without_hash

from .workloads import at
from .world import Hands, View, World

FULL_BACKOFF_S = 300.0


def owner_key(obj: KubeObject, kind: str) -> Iterable[str]:
    """The key of what controls the object."""
    owner = controller_of(obj)
    return (f"{obj.metadata.namespace}/{owner.name}",) if owner is not None and owner.kind == kind else ()


def annotated(obj: Any, changes: Mapping[str, str | None], **update: Any) -> Any:
    """The object with annotations changed; None takes one off."""
    merged = {**obj.metadata.annotations, **changes}
    kept = {key: value for key, value in merged.items() if value is not None}
    return obj.model_copy(update={"metadata": obj.metadata.model_copy(update={"annotations": kept}), **update})


def sees_own_writes(view: View, hands: Hands, *kinds: type[KubeObject]) -> bool:
    """A controller plans only when its cache shows what it did."""
    return all(view.has_heard(kind, hands.wrote.get(kind, 0)) for kind in kinds)


class Deploying:
    """The deployment controller."""

    name = "deployment"
    kinds: Sequence[type[KubeObject]] = (Deployment, ReplicaSet, Pod, Pack)

    def keys(self, obj: KubeObject) -> Iterable[str]:
        """Deployments, those of ReplicaSets, and everything for a pack."""
        if isinstance(obj, Deployment):
            return (obj.key,)
        if isinstance(obj, Pack):
            return ("default/web",)
        return owner_key(obj, "Deployment") if isinstance(obj, ReplicaSet) else ("default/web",)

    def reconcile(self, key: str, view: View, hands: Hands) -> float | None:
        """Follow, plan, write."""
        deployment, now = view.get(Deployment, key), hands.world.now
        if deployment is None or not sees_own_writes(view, hands, ReplicaSet):
            return None
        following = plan_following(deployment, view.all(Pack), now)
        if following.images:
            self._follow(deployment, following.images, hands)
            return None
        sets = view.owned(ReplicaSet, deployment)
        _, olds = split(deployment, sets)
        old_running = any(not is_finished(pod) for rs in olds for pod in view.owned(Pod, rs))
        observed = deployments.Observed(deployment, sets, old_running and not is_rolling(deployment))
        step = deployments.plan(observed, now)
        self._carry_out(deployment, step, hands)
        waits = [wait for wait in (step.recheck_after_s, following.recheck_after_s) if wait is not None]
        return min(waits, default=None)

    def _follow(self, deployment: Deployment, images: Mapping[str, str], hands: Hands) -> None:
        spec = deployment.spec.template.spec
        containers = [each.model_copy(update={"image": images.get(each.name, each.image)}) for each in spec.containers]
        template = deployment.spec.template.model_copy(
            update={"spec": spec.model_copy(update={"containers": containers})}
        )
        hands.put(deployment.model_copy(update={"spec": deployment.spec.model_copy(update={"template": template})}))

    def _carry_out(self, deployment: Deployment, step: deployments.Plan, hands: Hands) -> None:
        if step.create is not None:
            hands.create(step.create)
        for change in step.changes:
            values = {"replicas": change.replicas, "min_ready_seconds": change.min_ready_seconds}
            spec = change.rs.spec.model_copy(update={k: v for k, v in values.items() if v is not None})
            hands.put(annotated(change.rs, change.annotations, spec=spec))
        for rs in step.delete:
            hands.delete(rs)
        if step.revision is not None:
            number = {REVISION: str(step.revision)}
            deployment = hands.edit(deployment, lambda live: annotated(live, number))
        if step.status is not None:
            hands.put(deployment.model_copy(update={"status": step.status}))


class Replicating:
    """The ReplicaSet controller."""

    name = "replicaset"
    kinds: Sequence[type[KubeObject]] = (ReplicaSet, Pod)

    def keys(self, obj: KubeObject) -> Iterable[str]:
        """ReplicaSets, and those of pods."""
        return (obj.key,) if isinstance(obj, ReplicaSet) else owner_key(obj, "ReplicaSet")

    def reconcile(self, key: str, view: View, hands: Hands) -> float | None:
        """Plan, write."""
        rs, now = view.get(ReplicaSet, key), hands.world.now
        if rs is None or not sees_own_writes(view, hands, Pod):
            return None
        pods = view.owned(Pod, rs)
        step = replica_sets.plan(rs, pods, (), now)
        for _ in range(step.create):
            hands.create(replica_sets.new_pod(rs))
        for pod in step.delete:
            hands.delete(pod)
        status = replica_sets.status_of(rs, pods, None, now)
        if not replica_sets.same_status(status, rs.status):
            hands.put(rs.model_copy(update={"status": status}))
        return step.recheck_after_s


class Protecting:
    """The crash-loop controller."""

    name = "crash-loop"
    kinds: Sequence[type[KubeObject]] = (Deployment, ReplicaSet, Pod)

    def __init__(self) -> None:
        self._steadiness: dict[str, tuple[str, Steadiness]] = {}
        self._succeeded: dict[str, datetime | None] = {}

    def keys(self, obj: KubeObject) -> Iterable[str]:
        """Deployments; of ReplicaSets theirs; and the only one there is for a pod."""
        if isinstance(obj, Deployment):
            return (obj.key,)
        return owner_key(obj, "Deployment") if isinstance(obj, ReplicaSet) else ("default/web",)

    def reconcile(self, key: str, view: View, hands: Hands) -> float | None:
        """Look, plan, write, tell."""
        deployment, now = view.get(Deployment, key), hands.world.now
        if deployment is None:
            return None
        step = crash_loops.plan(self._look(deployment, view, hands), now)
        if step.succeeds:
            self._succeeded[key] = now
        if step.annotations or step.template is not None:
            template = step.template or deployment.spec.template
            spec = deployment.spec.model_copy(update={"template": template})
            deployment = hands.put(annotated(deployment, step.annotations, spec=spec))
        judged = condition(deployment, deployment.metadata.annotations, now)
        if judged is not None:
            hands.edit(deployment, lambda live: _with_condition(live, judged))
        waits = [step.recheck_after_s, next_change_s(deployment.metadata.annotations, now)]
        return min((wait for wait in waits if wait is not None), default=None)

    def _look(self, deployment: Deployment, view: View, hands: Hands) -> crash_loops.Observed:
        mark = fingerprint(deployment.spec.template)
        sets = {fingerprint(rs.spec.template): rs for rs in view.owned(ReplicaSet, deployment) if rs.spec.template}
        pods = view.owned(Pod, sets[mark]) if mark in sets else []
        history = {name: without_hash(rs.spec.template) for name, rs in sets.items() if rs.spec.template}
        if self._steadiness.get(deployment.key, ("", None))[0] != mark:
            self._steadiness[deployment.key] = (mark, Steadiness())
            annotations = deployment.metadata.annotations
            has_held = annotations.get(LAST_SUCCESSFUL_TEMPLATE) == mark and COUNTED_FAILURES not in annotations
            self._succeeded[deployment.key] = hands.world.now if has_held else None
        steady = self._steadiness[deployment.key][1].look(pods, hands.world.seconds, hands.world.now)
        return crash_loops.Observed(deployment, pods, history, steady, self._succeeded[deployment.key])


def _with_condition(deployment: Deployment, judged: Any) -> Deployment:
    conditions = [*without_condition(deployment.status.conditions, judged.type), judged]
    return deployment.model_copy(update={"status": deployment.status.model_copy(update={"conditions": conditions})})


@dataclass(frozen=True)
class Program:
    """What an image does when it runs."""

    crashes_after_s: float | None = None
    """None: never."""
    exit_code: int = 1
    ready: bool = True
    """Whether it is Ready while it runs."""


@dataclass
class _Run:
    began: float
    restarts: int = 0
    pause_s: float = 0.0
    ended_at: float | None = None
    reason: str = "Error"
    last: dict[str, Any] | None = None
    told: tuple[Any, ...] = ()


@dataclass
class Fleet:
    """Nodes and the programs on them."""

    programs: dict[str, Program] = field(default_factory=dict)
    """Image -> what it does; other images run for ever."""
    nodes: Sequence[str] = ("n1", "n2", "n3")
    down: set[str] = field(default_factory=set)
    """Nodes that say nothing. Their pods stay as they were last told of, but for readiness, which somebody else takes."""
    lost: set[str] = field(default_factory=set)
    """Nodes whose pods are given up."""
    _runs: dict[str, _Run] = field(default_factory=dict)

    def tick(self, world: World) -> None:
        """Bind what waits, run what is bound, let go what is deleted."""
        for pod in world.all(Pod):
            node = pod.spec.node_name
            if not node:
                self._bind(world, pod)
            elif node in self.lost:
                world.remove(pod)
            elif node in self.down:
                self._tell(world, pod, ready=False)
            elif pod.metadata.deletion_timestamp is not None:
                world.remove(pod)
            else:
                self._live(world, pod)

    def reboot(self, node: str, world: World) -> None:
        """Everything on the node ends, with nobody there to say how."""
        for pod in world.all(Pod):
            run = self._runs.get(pod.uid)
            if pod.spec.node_name == node and run is not None and run.ended_at is None:
                self._end(run, world, 137, "ContainerStatusUnknown")

    def _bind(self, world: World, pod: Pod) -> None:
        there = [node for node in self.nodes if node not in self.down | self.lost]
        if there:
            world.put(
                pod.model_copy(update={"spec": pod.spec.model_copy(update={"node_name": world.dice.choice(there)})})
            )

    def _program(self, pod: Pod) -> Program:
        return self.programs.get(pod.spec.containers[0].image or "", Program())

    def _live(self, world: World, pod: Pod) -> None:
        run = self._runs.setdefault(pod.uid, _Run(world.seconds))
        program = self._program(pod)
        if run.ended_at is not None and world.seconds >= run.ended_at + run.pause_s:
            run.began, run.ended_at, run.restarts = world.seconds, None, run.restarts + 1
            run.pause_s = min(max(10.0, run.pause_s * 2), FULL_BACKOFF_S)
        after_s = program.crashes_after_s
        if run.ended_at is None and after_s is not None and world.seconds >= run.began + after_s:
            self._end(run, world, program.exit_code, "Error")
        self._tell(world, pod, ready=run.ended_at is None and program.ready)

    def _end(self, run: _Run, world: World, code: int, reason: str) -> None:
        skew = world.skew.total_seconds()
        began, over = at(run.began + skew), at(world.seconds + skew)
        run.last = {"exitCode": code, "reason": reason, "startedAt": began, "finishedAt": over}
        run.ended_at = world.seconds

    def _tell(self, world: World, pod: Pod, *, ready: bool) -> None:
        run = self._runs.setdefault(pod.uid, _Run(world.seconds))
        running = run.ended_at is None
        told = (ready, running, run.restarts, str(run.last))
        if run.told == told:
            return
        skewed = at(world.seconds + world.skew.total_seconds())
        since = skewed if not run.told or run.told[0] != ready else None
        known = pod.status.conditions[0].last_transition_time if pod.status.conditions else None
        run.told = told
        state: dict[str, Any] = {"running": {}} if running else {"waiting": {"reason": "CrashLoopBackOff"}}
        status = {
            "phase": "Running",
            "startTime": at(run.began),
            "conditions": [
                {
                    "type": "Ready",
                    "status": str(ready),
                    "lastTransitionTime": since or (known.isoformat() if known else skewed),
                }
            ],
            "containerStatuses": [
                {
                    "name": "main",
                    "ready": ready,
                    "restartCount": run.restarts,
                    "state": state,
                    **({"lastState": {"terminated": run.last}} if run.last else {}),
                }
            ],
        }
        live = world.one(Pod, pod.key)
        world.put(live.model_copy(update={"status": PodStatus.model_validate(status)}))
