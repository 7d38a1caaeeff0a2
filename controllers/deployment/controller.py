"""Carry out what `planning` decides for each Deployment.

Reads Deployments, ReplicaSets, DaemonSets, Packs and (for Recreate) Pods; creates, scales, adopts and deletes
ReplicaSets and the DaemonSets of the mode of that name; writes the Deployment's revision annotation and status and, when
it follows the latest release, the images of its template. Pods are made by ReplicaSets and DaemonSets alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from stark.client.api import PatchType
from stark.client.errors import AlreadyExists, ApiError, Conflict, Fenced, Forbidden, Invalid, NotFound
from stark.client.indexes import FieldIndex, OrphanIndex, OwnerIndex
from stark.crds.annotations import REVISION
from stark.crds.apps import DaemonSet, Deployment, ReplicaSet
from stark.crds.meta import KubeObject, controller_of
from stark.crds.packs import Pack
from stark.crds.podfacts import is_finished
from stark.crds.pods import Pod
from stark.crds.templates import same_template

from ..kit import DONE, Context, Controller, Expectations, Outcome, RequeueAfter, Source, controller_key
from ..kit.claims import ORPHANS, adoption, claim, release
from . import status
from .daemons import DaemonChange
from .following import Following, followed, plan_following
from .planning import Change, Observed, Plan, plan
from .revisions import split
from .strategy import is_daemon, is_rolling

BY_OWNER = "controller-uid"
BY_PACK = "pack-name"
FOLLOWERS = "followed-pack"
NAMESPACE_TERMINATING = "NamespaceTerminating"
"""How the server refuses new objects in a namespace that is being deleted."""


def followed_pack(deployment: Deployment) -> Iterable[str]:
    """Index of deployments that follow the latest release, by their pack."""
    reference = followed(deployment)
    return () if reference is None else (reference.name,)


class Deployments(Controller):
    """See the module."""

    name = "deployment"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._api = context.api
        self._deployments = context.informers.of(Deployment, indexers={FOLLOWERS: followed_pack})
        self._sets = context.informers.of(ReplicaSet, indexers={BY_OWNER: OwnerIndex(), ORPHANS: OrphanIndex()})
        self._pods = context.informers.of(Pod, indexers={BY_OWNER: OwnerIndex()})
        self._daemons = context.informers.of(DaemonSet, indexers={BY_OWNER: OwnerIndex()})
        self._packs = context.informers.of(Pack, indexers={BY_PACK: FieldIndex("spec.name")})
        self._expectations = Expectations(self._sets)
        self._of_daemons = Expectations(self._daemons)
        self._of_controller = controller_key(Deployment)
        self._set_of_pod = controller_key(ReplicaSet)

    def sources(self) -> Sequence[Source[Any]]:
        """Deployments; what they own; packs, for those that follow one; and pods, because Recreate waits for the last
        old one to be gone."""
        return (
            Source(self._deployments),
            Source(self._sets, self._interested),
            Source(self._daemons, self._of_controller),
            Source(self._packs, self._followers),
            Source(self._pods, self._recreated),
        )

    def _followers(self, pack: Pack) -> Iterable[str]:
        return self._deployments.index_keys(FOLLOWERS, pack.spec.name)

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
            self._of_daemons.forget(key)
            return DONE
        for expected in (self._expectations, self._of_daemons):
            if not expected.met(key):
                return RequeueAfter(expected.remaining_s(key))
        following = self._following(deployment)
        if following.images and await self._follow(deployment, following):
            return DONE  # the new template brings us back
        sets = await self._claim(deployment)
        daemons = self._daemons_of(deployment)
        observed = Observed(deployment, sets, self._old_pods_running(deployment, sets, daemons), daemons)
        step = plan(observed, self._context.clock())
        await self._carry_out(deployment, step)
        waits = [wait for wait in (step.recheck_after_s, following.recheck_after_s) if wait is not None]
        return RequeueAfter(min(waits)) if waits else DONE

    def _following(self, deployment: Deployment) -> Following:
        reference = followed(deployment)
        packs = self._packs.by_index(BY_PACK, reference.name) if reference is not None else ()
        return plan_following(deployment, packs, self._context.clock())

    async def _follow(self, deployment: Deployment, following: Following) -> bool:
        """Write the newer version into the template; whether that was possible."""
        name, namespace = deployment.metadata.name, deployment.metadata.namespace
        try:
            await self._api.patch(Deployment, name, following.patch(deployment), namespace, type=PatchType.STRATEGIC)
        except (Forbidden, Invalid) as error:
            # A policy is in the way, of trust for one: what runs now goes on, and people are told.
            self._context.recorder.event(deployment, "Warning", "FollowLatestRefused", f"{following.cause}: {error}")
            return False
        self._context.recorder.event(deployment, "Normal", "FollowedLatest", following.cause)
        return True

    def _daemons_of(self, deployment: Deployment) -> DaemonSet | None:
        return next(iter(self._daemons.by_index(BY_OWNER, deployment.uid)), None)

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

    def _old_pods_running(self, deployment: Deployment, sets: Sequence[ReplicaSet], daemons: DaemonSet | None) -> bool:
        if is_rolling(deployment):
            return False
        olds: list[KubeObject] = [*(sets if is_daemon(deployment) else split(deployment, sets)[1])]
        if daemons is not None and not is_daemon(deployment):
            olds.append(daemons)
        counted = any(isinstance(old, ReplicaSet) and old.status.replicas for old in olds)
        return counted or any(not is_finished(pod) for old in olds for pod in self._pods.by_index(BY_OWNER, old.uid))

    async def _carry_out(self, deployment: Deployment, step: Plan) -> None:
        if step.create is not None:
            await self._create(deployment, step.create)
        for change in step.changes:
            await self._change(deployment, change)
        await self._change_daemons(deployment, step.daemons)
        for rs in step.delete:
            await self._delete(deployment, rs)
        version = deployment.metadata.resource_version
        if step.revision is not None:
            # Against the very version we read: so only our annotation lies between it and the answer's, and the status
            # that follows overrules neither a newer spec nor a condition that somebody else wrote.
            meta = {"resourceVersion": version, "annotations": {REVISION: str(step.revision)}}
            name, namespace = deployment.metadata.name, deployment.metadata.namespace
            version = (await self._api.patch(Deployment, name, {"metadata": meta}, namespace)).metadata.resource_version
        if step.status is not None:
            written = deployment.metadata.model_copy(update={"resource_version": version})
            await self._api.update(deployment.model_copy(update={"metadata": written, "status": step.status}), "status")

    async def _change_daemons(self, deployment: Deployment, change: DaemonChange) -> None:
        if change.create is not None:
            await self._create_daemons(deployment, change.create)
        if change.update is not None:
            self._of_daemons.wrote(deployment.key, await self._api.update(change.update))
        gone = change.delete
        if gone is not None:
            way = "Foreground" if change.in_foreground else "Background"
            name, namespace = gone.metadata.name, gone.metadata.namespace
            try:
                await self._api.delete(DaemonSet, name, namespace, uid=gone.uid, propagation=way)
            except (NotFound, Conflict):
                return
            self._of_daemons.deleted(deployment.key, gone)
            self._context.recorder.event(deployment, "Normal", "DeletedDaemonSet", f"Deleted daemon set {name}")

    async def _create_daemons(self, deployment: Deployment, wanted: DaemonSet) -> None:
        name = wanted.metadata.name
        try:
            made = await self._api.create(wanted)
        except AlreadyExists as error:
            there = await self._api.get(DaemonSet, name, wanted.metadata.namespace)
            controller = controller_of(there)
            if controller is None or controller.uid != deployment.uid:
                await self._tell_failure(deployment, f'daemon set "{name}"', "DaemonSetCreateError", error)
                raise
            made = there  # ours, from before a crash
        except Fenced:
            raise
        except ApiError as error:
            await self._tell_failure(deployment, f'daemon set "{name}"', "DaemonSetCreateError", error)
            raise
        self._of_daemons.wrote(deployment.key, made)
        self._context.recorder.event(deployment, "Normal", "CreatedDaemonSet", f"Created daemon set {name}")

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
            await self._tell_failure(deployment, f'replica set "{name}"', "ReplicaSetCreateError", error)
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

    async def _tell_failure(self, deployment: Deployment, what: str, reason: str, error: ApiError) -> None:
        if any(cause.reason == NAMESPACE_TERMINATING for cause in error.causes):
            return  # the deployment goes with its namespace: nothing is wrong
        text = f"Failed to create new {what}: {error}"
        self._context.recorder.event(deployment, "Warning", reason, text)
        if status.deadline(deployment) is None:
            return
        known = list(deployment.status.conditions)
        conditions = status.put(known, "Progressing", "False", reason, text, self._context.clock())
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
