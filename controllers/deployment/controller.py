"""Carry out what `planning` decides for each Deployment.

Reads Deployments, ReplicaSets and (for Recreate) Pods; creates, scales, adopts and deletes ReplicaSets, and writes the
Deployment's revision annotation and status. Pods are made by ReplicaSets alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from stark.client.errors import AlreadyExists, ApiError, Conflict, Fenced, NotFound
from stark.client.indexes import OwnerIndex
from stark.crds.annotations import REVISION
from stark.crds.apps import Deployment, ReplicaSet
from stark.crds.meta import controller_of
from stark.crds.podfacts import is_finished
from stark.crds.pods import Pod

from ..kit import DONE, Context, Controller, Expectations, Outcome, RequeueAfter, Source, controller_key
from ..kit.claims import adoption, claim, release
from . import status
from .planning import Change, Observed, Plan, plan
from .revisions import same_template, split
from .strategy import is_rolling

BY_OWNER = "controller-uid"
ORPHANS = "orphans-of-namespace"


def orphan_namespace(rs: ReplicaSet) -> Iterable[str]:
    """Index of ReplicaSets that nobody controls, by namespace."""
    return () if controller_of(rs) is not None else (rs.metadata.namespace or "",)


class Deployments(Controller):
    """See the module."""

    name = "deployment"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._api = context.api
        self._deployments = context.informers.of(Deployment)
        self._sets = context.informers.of(ReplicaSet, indexers={BY_OWNER: OwnerIndex(), ORPHANS: orphan_namespace})
        self._pods = context.informers.of(Pod, indexers={BY_OWNER: OwnerIndex()})
        self._expectations = Expectations(self._sets)
        self._of_controller = controller_key(Deployment)
        self._set_of_pod = controller_key(ReplicaSet)

    def sources(self) -> Sequence[Source[Any]]:
        """Deployments; their ReplicaSets; and pods, because Recreate waits for the last old one to be gone."""
        return (
            Source(self._deployments),
            Source(self._sets, self._interested),
            Source(self._pods, self._recreated),
        )

    def _interested(self, rs: ReplicaSet) -> Iterable[str]:
        if controller_of(rs) is not None:
            return self._of_controller(rs)
        candidates = self._deployments.list(rs.metadata.namespace)
        return [each.key for each in candidates if each.spec.selector.matches(rs.metadata.labels)]

    def _recreated(self, pod: Pod) -> Iterable[str]:
        for key in self._set_of_pod(pod):
            rs = self._sets.get(key)
            for owner in self._of_controller(rs) if rs is not None else ():
                deployment = self._deployments.get(owner)
                if deployment is not None and not is_rolling(deployment):
                    yield owner

    async def reconcile(self, key: str) -> Outcome:
        """Claim ReplicaSets, plan, act, report."""
        deployment = self._deployments.get(key)
        if deployment is None:
            self._expectations.forget(key)
            return DONE
        if not self._expectations.met(key):
            return RequeueAfter(self._expectations.remaining_s(key))
        sets = await self._claim(deployment)
        observed = Observed(deployment, sets, self._old_pods_running(deployment, sets))
        step = plan(observed, self._context.clock())
        await self._carry_out(deployment, step)
        return DONE if step.recheck_after_s is None else RequeueAfter(step.recheck_after_s)

    async def _claim(self, deployment: Deployment) -> list[ReplicaSet]:
        mine = self._sets.by_index(BY_OWNER, deployment.uid)
        orphans = self._sets.by_index(ORPHANS, deployment.metadata.namespace or "")
        claims = claim(deployment, deployment.spec.selector.compiled(), [*mine, *orphans])
        owned = list(claims.owned)
        if claims.adopt and await self._is_alive(deployment):
            for rs in claims.adopt:
                namespace = rs.metadata.namespace
                owned.append(await self._api.patch(ReplicaSet, rs.metadata.name, adoption(deployment, rs), namespace))
                self._expectations.wrote(deployment.key, owned[-1])
        for rs in claims.release:
            try:
                await self._api.patch(ReplicaSet, rs.metadata.name, release(deployment, rs), rs.metadata.namespace)
            except NotFound:
                continue
        return owned

    async def _is_alive(self, deployment: Deployment) -> bool:
        """Ask the server itself: what a cache shows alive may be on its way out, and must adopt nothing then."""
        try:
            live = await self._api.get(Deployment, deployment.metadata.name, deployment.metadata.namespace)
        except NotFound:
            return False
        return live.metadata.uid == deployment.uid and live.metadata.deletion_timestamp is None

    def _old_pods_running(self, deployment: Deployment, sets: Sequence[ReplicaSet]) -> bool:
        if is_rolling(deployment):
            return False
        _, olds = split(deployment, sets)
        return any(not is_finished(pod) for rs in olds for pod in self._pods.by_index(BY_OWNER, rs.uid))

    async def _carry_out(self, deployment: Deployment, step: Plan) -> None:
        if step.create is not None:
            await self._create(deployment, step.create)
        for change in step.changes:
            await self._change(deployment, change)
        for rs in step.delete:
            await self._delete(deployment, rs)
        version = deployment.metadata.resource_version
        if step.revision is not None:
            patch = {"metadata": {"uid": deployment.uid, "annotations": {REVISION: str(step.revision)}}}
            meta = (
                await self._api.patch(Deployment, deployment.metadata.name, patch, deployment.metadata.namespace)
            ).metadata
            # The status was judged for the spec we read. If only our annotation came in between, it is still about
            # that.
            if meta.generation == deployment.metadata.generation:
                version = meta.resource_version
        if step.status is not None:
            meta = deployment.metadata.model_copy(update={"resource_version": version})
            await self._api.update(deployment.model_copy(update={"metadata": meta, "status": step.status}), "status")

    async def _create(self, deployment: Deployment, wanted: ReplicaSet) -> None:
        name = wanted.metadata.name
        try:
            made = await self._api.create(wanted)
        except AlreadyExists:
            await self._met_namesake(deployment, wanted)
            return
        except Fenced:
            raise
        except ApiError as error:
            await self._tell_failure(deployment, name, error)
            raise
        self._expectations.wrote(deployment.key, made)
        if made.spec.replicas:
            self._scaled(deployment, name, 0, made.spec.replicas)

    async def _met_namesake(self, deployment: Deployment, wanted: ReplicaSet) -> None:
        """Ours from before a crash: nothing to do. Another's: count the collision, which changes the next name."""
        there = await self._api.get(ReplicaSet, wanted.metadata.name, wanted.metadata.namespace)
        controller = controller_of(there)
        assert wanted.spec.template is not None, wanted.key
        ours = controller is not None and controller.uid == deployment.uid
        if ours and same_template(wanted.spec.template, there.spec.template):
            self._expectations.wrote(deployment.key, there)
            return
        counted = deployment.status.model_copy(update={"collision_count": (deployment.status.collision_count or 0) + 1})
        await self._api.update(deployment.model_copy(update={"status": counted}), "status")
        raise AlreadyExists(f"{wanted.key}: the name is taken by another ReplicaSet")

    async def _tell_failure(self, deployment: Deployment, name: str, error: ApiError) -> None:
        text = f'Failed to create new replica set "{name}": {error}'
        self._context.recorder.event(deployment, "Warning", "ReplicaSetCreateError", text)
        known = list(deployment.status.conditions)
        conditions = status.put(known, "Progressing", "False", "ReplicaSetCreateError", text, self._context.clock())
        if conditions != known:
            told = deployment.status.model_copy(update={"conditions": conditions})
            await self._api.update(deployment.model_copy(update={"status": told}), "status")

    async def _change(self, deployment: Deployment, change: Change) -> None:
        rs = change.rs
        spec = {"replicas": change.replicas, "minReadySeconds": change.min_ready_seconds}
        # With its resourceVersion: a plan made from an old size must not overrule what somebody set since.
        meta = {"uid": rs.uid, "resourceVersion": rs.metadata.resource_version, "annotations": dict(change.annotations)}
        patch = {"metadata": meta, "spec": {key: value for key, value in spec.items() if value is not None}}
        changed = await self._api.patch(ReplicaSet, rs.metadata.name, patch, rs.metadata.namespace)
        self._expectations.wrote(deployment.key, changed)
        if change.scales:
            self._scaled(deployment, rs.metadata.name, rs.spec.replicas, changed.spec.replicas)

    async def _delete(self, deployment: Deployment, rs: ReplicaSet) -> None:
        try:
            await self._api.delete(
                ReplicaSet, rs.metadata.name, rs.metadata.namespace, uid=rs.uid, propagation="Background"
            )
        except (NotFound, Conflict):
            return
        self._expectations.deleted(deployment.key, rs)

    def _scaled(self, deployment: Deployment, name: str, before: int, after: int) -> None:
        way = "up" if after > before else "down"
        text = f"Scaled {way} replica set {name} from {before} to {after}"
        self._context.recorder.event(deployment, "Normal", "ScalingReplicaSet", text)


def build(context: Context) -> Controller:
    """For the catalog."""
    return Deployments(context)
