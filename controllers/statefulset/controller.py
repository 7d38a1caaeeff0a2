"""Carry out what `planning` decides for each StatefulSet.

Reads StatefulSets, Pods and ControllerRevisions; makes, labels, adopts, releases and deletes Pods; keeps the templates as
ControllerRevisions; writes StatefulSet.status. A pod that is on its way out is waited for, however long that takes: on a
node that cannot be reached it may still run, and there is never a second one of its name.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Sequence
from typing import Any

from stark.client.errors import AlreadyExists, ApiError, Conflict, Fenced, NotFound
from stark.client.indexes import OrphanIndex, OwnerIndex
from stark.crds.apps import ControllerRevision, StatefulSet
from stark.crds.meta import controller_of
from stark.crds.podfacts import is_finished
from stark.crds.pods import Pod

from ..kit import DONE, Context, Controller, Expectations, Outcome, RequeueAfter, Source, controller_key
from ..kit.claims import ORPHANS, adoption, claim, release
from .history import TEMPLATE_HASH, History, plan_history, superfluous
from .identity import identity_labels, ordinal_of, ordinals
from .planning import Plan, plan

BY_OWNER = "controller-uid"
TERMINATING = "because it is being terminated"
"""How the server refuses new objects in a namespace that is being deleted."""


class StatefulSets(Controller):
    """See the module."""

    name = "statefulset"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._api = context.api
        self._sets = context.informers.of(StatefulSet)
        self._pods = context.informers.of(Pod, indexers={BY_OWNER: OwnerIndex(), ORPHANS: OrphanIndex()})
        self._revisions = context.informers.of(
            ControllerRevision, indexers={BY_OWNER: OwnerIndex(), ORPHANS: OrphanIndex()}
        )
        self._written = (Expectations(self._pods), Expectations(self._revisions))

    def sources(self) -> Sequence[Source[Any]]:
        """StatefulSets, and the pods and revisions that belong to one or could."""
        return (
            Source(self._sets),
            Source(self._pods, self._interested),
            Source(self._revisions, controller_key(StatefulSet)),
        )

    def _interested(self, pod: Pod) -> Iterable[str]:
        if controller_of(pod) is not None:
            return controller_key(StatefulSet)(pod)
        parent = pod.metadata.name.rpartition("-")[0]
        return (f"{pod.metadata.namespace}/{parent}",) if parent else ()

    async def reconcile(self, key: str) -> Outcome:
        """Claim, remember the template, plan, act, report."""
        sts = self._sets.get(key)
        if sts is None:
            for written in self._written:
                written.forget(key)
            return DONE
        waits = [written.remaining_s(key) for written in self._written if not written.met(key)]
        if waits:
            return RequeueAfter(max(waits))
        pods, revisions = await self._claim_pods(sts), await self._claim_revisions(sts)
        history = plan_history(sts, revisions)
        if sts.metadata.deletion_timestamp is None and not await self._remember(sts, history):
            return DONE
        step = plan(sts, pods, history, self._context.clock())
        try:
            await self._carry_out(sts, step)
        except ApiError as error:
            if TERMINATING in error.message:
                return DONE  # the set goes with its namespace
            await self._report(sts, step)
            raise
        await self._report(sts, step)
        await self._forget(sts, revisions, history, pods)
        return DONE if step.recheck_after_s is None else RequeueAfter(step.recheck_after_s)

    async def _claim_pods(self, sts: StatefulSet) -> list[Pod]:
        orphans = self._pods.by_index(ORPHANS, sts.metadata.namespace or "")
        named = [pod for pod in orphans if ordinal_of(sts.metadata.name, pod.metadata.name) is not None]
        claims = claim(sts, sts.spec.selector.compiled(), [*self._pods.by_index(BY_OWNER, sts.uid), *named])
        owned = list(claims.owned)
        if claims.adopt and await self._is_alive(sts):
            for pod in claims.adopt:
                owned.append(await self._api.patch(Pod, pod.metadata.name, adoption(sts, pod), pod.metadata.namespace))
                self._written[0].wrote(sts.key, owned[-1])
        for pod in claims.release:
            with contextlib.suppress(NotFound):
                await self._api.patch(Pod, pod.metadata.name, release(sts, pod), pod.metadata.namespace)
        return owned

    async def _claim_revisions(self, sts: StatefulSet) -> list[ControllerRevision]:
        """Its own, and those that a set of its name has left behind with its pods."""
        orphans = self._revisions.by_index(ORPHANS, sts.metadata.namespace or "")
        prefix = f"{sts.metadata.name}-"
        left = [each for each in orphans if each.metadata.name.startswith(prefix) and _is_template(each)]
        claims = claim(sts, sts.spec.selector.compiled(), [*self._revisions.by_index(BY_OWNER, sts.uid), *left])
        owned = [*claims.owned, *claims.release]  # labels of a template that changed its own are no reason to let go
        if claims.adopt and await self._is_alive(sts):
            for each in claims.adopt:
                meta = each.metadata
                owned.append(await self._api.patch(ControllerRevision, meta.name, adoption(sts, each), meta.namespace))
                self._written[1].wrote(sts.key, owned[-1])
        return owned

    async def _is_alive(self, sts: StatefulSet) -> bool:
        """Ask the server itself: a cache may show a set that is being deleted, which must adopt nothing."""
        try:
            live = await self._api.get(StatefulSet, sts.metadata.name, sts.metadata.namespace)
        except NotFound:
            return False
        return live.metadata.uid == sts.uid and live.metadata.deletion_timestamp is None

    async def _remember(self, sts: StatefulSet, history: History) -> bool:
        """Write down the template before there are pods of it. False: not now, what has to be done first is done."""
        try:
            if history.create is not None:
                self._written[1].wrote(sts.key, await self._api.create(history.create))
            elif history.renumber is not None:
                self._written[1].wrote(sts.key, await self._api.update(history.renumber))
        except AlreadyExists:
            assert history.create is not None, sts.key
            await self._collided(sts, history.create)
            return False
        except ApiError as error:
            if TERMINATING not in error.message:
                raise
            return False
        return True

    async def _collided(self, sts: StatefulSet, wanted: ControllerRevision) -> None:
        """A name that is taken by something else is given up; the set counts that, which makes the next name."""
        meta = wanted.metadata
        there = await self._api.get(ControllerRevision, meta.name, meta.namespace)
        owner = controller_of(there)
        if owner is not None and owner.uid == sts.uid:
            raise Conflict(f"{sts.key}: the cache does not show its own revision {meta.name} yet")
        status = sts.status.model_copy(update={"collision_count": (sts.status.collision_count or 0) + 1})
        await self._api.update(sts.model_copy(update={"status": status}), "status")

    async def _carry_out(self, sts: StatefulSet, step: Plan) -> None:
        for pod, ordinal in step.label:
            patch = {"metadata": {"uid": pod.uid, "labels": identity_labels(sts.metadata.name, ordinal)}}
            with contextlib.suppress(NotFound, Conflict):
                changed = await self._api.patch(Pod, pod.metadata.name, patch, pod.metadata.namespace)
                self._written[0].wrote(sts.key, changed)
        done, size = 0, 1
        while done < len(step.create):
            # Each batch is twice the last, and a failure ends them: what refuses one pod refuses all.
            await _all_of([self._create(sts, pod) for pod in step.create[done : done + size]])
            done, size = done + size, size * 2
        await _all_of([self._delete(sts, pod) for pod in step.delete])

    async def _create(self, sts: StatefulSet, pod: Pod) -> None:
        what = f"create Pod {pod.metadata.name} in StatefulSet {sts.metadata.name}"
        try:
            made = await self._api.create(pod)
        except Fenced:
            raise
        except ApiError as error:
            if TERMINATING not in error.message:
                self._context.recorder.event(sts, "Warning", "FailedCreate", f"{what} failed error: {error.message}")
            raise
        self._written[0].wrote(sts.key, made)
        self._context.recorder.event(sts, "Normal", "SuccessfulCreate", f"{what} successful")

    async def _delete(self, sts: StatefulSet, pod: Pod) -> None:
        try:
            await self._api.delete(Pod, pod.metadata.name, pod.metadata.namespace, uid=pod.uid)
        except (NotFound, Conflict):
            return  # gone already, or a namesake has taken its place: the next look sees it
        self._written[0].deleted(sts.key, pod)
        if is_finished(pod) and ordinal_of(sts.metadata.name, pod.metadata.name) in ordinals(sts):
            self._tell_of_recreation(sts, pod)
        message = f"delete Pod {pod.metadata.name} in StatefulSet {sts.metadata.name} successful"
        self._context.recorder.event(sts, "Normal", "SuccessfulDelete", message)

    def _tell_of_recreation(self, sts: StatefulSet, pod: Pod) -> None:
        say, what = self._context.recorder.event, f"StatefulSet {sts.key} is recreating"
        if pod.status.phase == "Failed":
            say(sts, "Warning", "RecreatingFailedPod", f"{what} failed Pod {pod.metadata.name}")
        else:
            say(sts, "Normal", "RecreatingTerminatedPod", f"{what} terminated Pod {pod.metadata.name}")

    async def _report(self, sts: StatefulSet, step: Plan) -> None:
        if step.status.model_dump(exclude_defaults=True) != sts.status.model_dump(exclude_defaults=True):
            await self._api.update(sts.model_copy(update={"status": step.status}), "status")

    async def _forget(
        self, sts: StatefulSet, revisions: Sequence[ControllerRevision], history: History, pods: Sequence[Pod]
    ) -> None:
        if sts.metadata.deletion_timestamp is not None:
            return
        live = (history.current.metadata.name, history.update.metadata.name)
        for each in superfluous(sts, revisions, live, pods):
            with contextlib.suppress(NotFound, Conflict):
                meta = each.metadata
                await self._api.delete(ControllerRevision, meta.name, meta.namespace, uid=each.uid)


def _is_template(revision: ControllerRevision) -> bool:
    return TEMPLATE_HASH in revision.metadata.labels


async def _all_of(acts: Sequence[Any]) -> None:
    """Do all at once; then raise the first failure among them."""
    results = await asyncio.gather(*acts, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result


def build(context: Context) -> Controller:
    """For the catalog."""
    return StatefulSets(context)
