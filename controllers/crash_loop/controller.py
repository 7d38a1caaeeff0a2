"""Keep every Deployment from crash-looping: gather what `planning` needs, write what it decides, and tell about it.

Reads Deployments, ReplicaSets, DaemonSets with their ControllerRevisions (a Deployment in the mode DaemonSet has one), and
Pods. Writes Deployments: five annotations that nobody else writes, the template when it goes back, and the condition
CrashLoop. Rolling out, and stopping while the annotation `stark.dev/crash-loop-paused` is there, is the deployment
controller's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from stark.client.api import PatchType
from stark.client.errors import Forbidden, Invalid, NotFound
from stark.client.indexes import OwnerIndex
from stark.crds.annotations import COUNTED_FAILURES, CRASH_LOOP_PAUSED, LAST_SUCCESSFUL_TEMPLATE
from stark.crds.apps import ControllerRevision, DaemonSet, Deployment, DeploymentCondition, ReplicaSet
from stark.crds.crash_loop import block_remaining_s, readable_blocks, settings_or_default
from stark.crds.meta import controller_of
from stark.crds.pods import Pod, PodTemplateSpec
from stark.crds.templates import fingerprint, without_hash

from ..kit import DONE, Context, Controller, Outcome, RequeueAfter, Source, controller_key
from . import metrics
from .counting import is_evidence
from .planning import Act, Happening, Observed, Plan, is_quiet, plan
from .steadiness import Steadiness
from .telling import condition, next_change_s

BY_OWNER = "controller-uid"
FAILING = "controller-uid-of-failing"
REVISION_HASH = "controller-revision-hash"
"""Label of a daemon and of the ControllerRevision that it comes from."""
REFUSED_RETRY_S = 10.0
"""After a note that admission refused: a policy is in its way, and only people can change that."""
REASON_LENGTH_MAX = 300
"""Of the refusal of a rollback, as it is noted on the deployment."""


def failing_owner(pod: Pod) -> Iterable[str]:
    """Index of pods that could tell of a failure, by the uid of what controls them."""
    owner = controller_of(pod) if is_evidence(pod) else None
    return () if owner is None else (owner.uid,)


@dataclass(slots=True)
class _Memory:
    """What is remembered of one deployment between looks; nothing that a new process could not do without."""

    template: str
    steadiness: Steadiness = field(default_factory=Steadiness)
    """Begins anew when there is nothing to decide any more."""
    succeeded_at: datetime | None = None
    paused: bool = False
    blocked: int = 0


class CrashLoops(Controller):
    """See the module."""

    name = "crash-loop"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._api = context.api
        self._deployments = context.informers.of(Deployment)
        self._sets = context.informers.of(ReplicaSet, indexers={BY_OWNER: OwnerIndex()})
        self._daemons = context.informers.of(DaemonSet, indexers={BY_OWNER: OwnerIndex()})
        self._revisions = context.informers.of(ControllerRevision, indexers={BY_OWNER: OwnerIndex()})
        self._pods = context.informers.of(Pod, indexers={BY_OWNER: OwnerIndex(), FAILING: failing_owner})
        self._of_deployment = controller_key(Deployment)
        self._set_of_pod, self._daemons_of_pod = controller_key(ReplicaSet), controller_key(DaemonSet)
        self._memories: dict[str, _Memory] = {}
        self._paused, self._blocked = 0, 0

    def sources(self) -> Sequence[Source[Any]]:
        """Deployments and what they own, whose status tells when pods become ready; and pods that could have failed."""
        return (
            Source(self._deployments),
            Source(self._sets, self._of_deployment),
            Source(self._daemons, self._of_deployment),
            Source(self._pods, self._failed),
        )

    def _failed(self, pod: Pod) -> Iterable[str]:
        if not is_evidence(pod):
            return
        owners = [self._sets.get(key) for key in self._set_of_pod(pod)]
        daemons = [self._daemons.get(key) for key in self._daemons_of_pod(pod)]
        for owner in (*owners, *daemons):
            if owner is not None:
                yield from self._of_deployment(owner)

    async def reconcile(self, key: str) -> Outcome:
        """Look, plan, write, tell."""
        deployment = self._deployments.get(key)
        if deployment is None:
            gone = self._memories.pop(key, None)
            if gone is not None:
                self._measure(gone, paused=False, blocked=0)
            return DONE
        now = self._context.clock()
        memory, observed = self._look(deployment, now)
        step = plan(observed, now)
        if step.succeeds:
            memory.succeeded_at = now
        written = await self._carry_out(deployment, step)
        if isinstance(written, str) and step.template is not None:
            # It cannot go back, and must not go on either: it is paused, and the pause says why.
            step = plan(replace(observed, refused=written[:REASON_LENGTH_MAX]), now)
            written = await self._carry_out(deployment, step)
        if isinstance(written, str):
            return RequeueAfter(REFUSED_RETRY_S)
        await self._tell(written, step, now)
        self._remember(memory, written, now)
        waits = [step.recheck_after_s, next_change_s(written.metadata.annotations, now)]
        due = [wait for wait in waits if wait is not None]
        # The wire's times have whole seconds: what ends at one of them has ended a second later for sure.
        return RequeueAfter(min(due) + (0.05 if step.recheck_after_s == min(due) else 1.0)) if due else DONE

    # -- looking --------------------------------------------------------------------------------------------------

    def _look(self, deployment: Deployment, now: datetime) -> tuple[_Memory, Observed]:
        mark = fingerprint(deployment.spec.template)
        memory = self._memory(deployment, mark, now)
        if memory.succeeded_at is not None:
            memory.succeeded_at = min(memory.succeeded_at, now)  # the clock may have been set back since
        if is_quiet(deployment, mark) and not self._has_failures(deployment):
            memory.steadiness = Steadiness()
            return memory, Observed(deployment)
        sets = [(fingerprint(rs.spec.template), rs) for rs in self._owned_sets(deployment) if rs.spec.template]
        history = {name: without_hash(rs.spec.template) for name, rs in sets if rs.spec.template is not None}
        pods = [pod for name, rs in sets if name == mark for pod in self._pods.by_index(BY_OWNER, rs.uid)]
        for daemons in self._daemons.by_index(BY_OWNER, deployment.uid):
            hashes = self._hashes(daemons, mark)
            owned = self._pods.by_index(BY_OWNER, daemons.uid)
            pods += [pod for pod in owned if pod.metadata.labels.get(REVISION_HASH) in hashes]
        steady = memory.steadiness.look(pods, asyncio.get_running_loop().time(), now)
        return memory, Observed(deployment, pods, history, steady, memory.succeeded_at)

    def _has_failures(self, deployment: Deployment) -> bool:
        """Whether any pod of any of its templates could tell of one."""
        owners = [*self._owned_sets(deployment), *self._daemons.by_index(BY_OWNER, deployment.uid)]
        return any(self._pods.by_index(FAILING, owner.uid) for owner in owners)

    def _owned_sets(self, deployment: Deployment) -> Sequence[ReplicaSet]:
        return self._sets.by_index(BY_OWNER, deployment.uid)

    def _hashes(self, daemons: DaemonSet, mark: str) -> set[str]:
        """The labels of daemons that come from the template with this fingerprint."""
        found = set()
        for revision in self._revisions.by_index(BY_OWNER, daemons.uid):
            template = _template_of(revision)
            label = revision.metadata.labels.get(REVISION_HASH)
            if template is not None and label and fingerprint(template) == mark:
                found.add(label)
        return found

    def _memory(self, deployment: Deployment, mark: str, now: datetime) -> _Memory:
        """What is remembered of the deployment; a new template begins anew."""
        memory = self._memories.get(deployment.key)
        if memory is None or memory.template != mark:
            paused, blocked = (memory.paused, memory.blocked) if memory is not None else (False, 0)
            memory = self._memories[deployment.key] = _Memory(mark, paused=paused, blocked=blocked)
            annotations = deployment.metadata.annotations
            if annotations.get(LAST_SUCCESSFUL_TEMPLATE) == mark and COUNTED_FAILURES not in annotations:
                # It has held, and nobody counted since: restarts of long ago are not the beginning of a loop.
                memory.succeeded_at = now
        return memory

    # -- acting ---------------------------------------------------------------------------------------------------

    async def _carry_out(self, deployment: Deployment, step: Plan) -> Deployment | str:
        """The deployment after the one write of the step; why, when it was refused."""
        if not step.annotations and step.template is None:
            return deployment
        try:
            if step.template is None:
                return await self._note(deployment, step.annotations)
            return await self._roll_back(deployment, step.annotations, step.template)
        except NotFound:
            return deployment
        except (Forbidden, Invalid) as error:
            self._context.recorder.event(deployment, "Warning", "CrashLoopRollbackRefused", str(error))
            return error.message

    async def _note(self, deployment: Deployment, changes: Mapping[str, str | None]) -> Deployment:
        meta = deployment.metadata
        body = {"uid": deployment.uid, "resourceVersion": meta.resource_version, "annotations": dict(changes)}
        return await self._api.patch(Deployment, meta.name, {"metadata": body}, meta.namespace)

    async def _roll_back(
        self, deployment: Deployment, changes: Mapping[str, str | None], template: PodTemplateSpec
    ) -> Deployment:
        merged = {**deployment.metadata.annotations, **changes}
        annotations = {key: value for key, value in merged.items() if value is not None}
        meta = deployment.metadata.model_copy(update={"annotations": annotations})
        spec = deployment.spec.model_copy(update={"template": template})
        return await self._api.update(deployment.model_copy(update={"metadata": meta, "spec": spec}))

    async def _tell(self, deployment: Deployment, step: Plan, now: datetime) -> None:
        for happening in step.happenings:
            self._announce(deployment, step, happening)
        judged = condition(deployment, deployment.metadata.annotations, now)
        if judged is not None and deployment.metadata.deletion_timestamp is None:
            await self._judge(deployment, judged)

    async def _judge(self, deployment: Deployment, judged: DeploymentCondition) -> None:
        # By a strategic merge: the other conditions are the deployment controller's.
        wire = judged.model_dump(mode="json", by_alias=True, exclude_none=True)
        meta = deployment.metadata
        body = {"metadata": {"uid": deployment.uid}, "status": {"conditions": [wire]}}
        try:
            await self._api.patch(
                Deployment, meta.name, body, meta.namespace, type=PatchType.STRATEGIC, subresource="status"
            )
        except NotFound:
            return

    def _announce(self, deployment: Deployment, step: Plan, happening: Happening) -> None:
        recorder = self._context.recorder
        match happening.act:
            case Act.FAILED:
                metrics.FAILURES.inc(happening.count)
            case Act.ROLLED_BACK:
                metrics.ROLLBACKS.inc()
                self._observe_detection(step)
            case Act.PAUSED:
                metrics.PAUSES.labels("failures").inc()
                self._observe_detection(step)
            case Act.HELD_BACK:
                metrics.PAUSES.labels("blocked").inc()
            case Act.LIFTED:
                metrics.LIFTED.inc()
            case Act.SUCCEEDED:
                metrics.SUCCESSES.inc()
        is_good = happening.act in (Act.LIFTED, Act.SUCCEEDED)
        recorder.event(deployment, "Normal" if is_good else "Warning", happening.act.value, happening.message)

    def _observe_detection(self, step: Plan) -> None:
        if step.failed_at is not None:
            metrics.DETECTION.observe(max(0.0, (self._context.clock() - step.failed_at).total_seconds()))

    def _remember(self, memory: _Memory, deployment: Deployment, now: datetime) -> None:
        annotations = deployment.metadata.annotations
        settings = settings_or_default(annotations)
        blocked = sum(block_remaining_s(each, settings, now) > 0 for each in readable_blocks(annotations))
        self._measure(memory, paused=CRASH_LOOP_PAUSED in annotations, blocked=blocked)

    def _measure(self, memory: _Memory, *, paused: bool, blocked: int) -> None:
        """Only what changes is added: a sum over all at every look would be slow with many deployments."""
        self._paused += paused - memory.paused
        self._blocked += blocked - memory.blocked
        memory.paused, memory.blocked = paused, blocked
        metrics.PAUSED.set(self._paused)
        metrics.BLOCKED.set(self._blocked)


def _template_of(revision: ControllerRevision) -> PodTemplateSpec | None:
    """The template that a ControllerRevision keeps; None when somebody else has made it."""
    template = ((revision.data or {}).get("spec") or {}).get("template")
    try:
        return PodTemplateSpec.model_validate(template)
    except ValidationError:
        return None


def build(context: Context) -> Controller:
    """For the catalog."""
    return CrashLoops(context)
