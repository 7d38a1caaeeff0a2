"""Make the pods of each ReplicaSet as many as it wants.

Reads ReplicaSets and Pods; creates and deletes pods, adopts and releases them, and writes ReplicaSet status. Writes are
counted against the cache (`Expectations`): a key is planned again only when the cache shows what we did for it last.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Any

from stark.client.errors import ApiError, Conflict, Fenced, NotFound
from stark.client.indexes import OrphanIndex, OwnerIndex
from stark.client.kinds import unstructured
from stark.crds.apps import ReplicaSet
from stark.crds.meta import controller_of, to_wire
from stark.crds.pods import Pod

from ..kit import DONE, Context, Controller, Expectations, Outcome, RequeueAfter, Source, controller_key, together
from ..kit.claims import ORPHANS, adoption, claim, release
from .planning import Failure, Plan, batches, new_pod, plan, same_status, status_of

BY_OWNER = "controller-uid"
RAW_POD = unstructured(Pod.RESOURCE)
"""Pods as mappings. Those of one ReplicaSet are alike, so one mapping makes them all; and of the answer only the name and
the version are looked at, because the whole object comes by the watch."""
TERMINATING = "because it is being terminated"
"""How the server refuses new objects in a namespace that is being deleted."""


class ReplicaSets(Controller):
    """See the module."""

    name = "replicaset"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._api = context.api
        self._sets = context.informers.of(ReplicaSet, indexers={BY_OWNER: OwnerIndex()})
        self._pods = context.informers.of(Pod, indexers={BY_OWNER: OwnerIndex(), ORPHANS: OrphanIndex()})
        self._expectations = Expectations(self._pods)
        self._of_controller = controller_key(ReplicaSet)

    def sources(self) -> Sequence[Source[Any]]:
        """ReplicaSets, and the pods that belong to one or could."""
        return (Source(self._sets), Source(self._pods, self._interested))

    def _interested(self, pod: Pod) -> Iterable[str]:
        if controller_of(pod) is not None:
            return self._of_controller(pod)
        if not pod.metadata.labels or pod.metadata.deletion_timestamp is not None:
            return ()
        # A pod of nobody may be adopted by any ReplicaSet of its namespace that selects it.
        candidates = self._sets.list(pod.metadata.namespace)
        return [rs.key for rs in candidates if rs.spec.selector.matches(pod.metadata.labels)]

    async def reconcile(self, key: str) -> Outcome:
        """Claim pods, plan, act, report."""
        rs = self._sets.get(key)
        if rs is None:
            self._expectations.forget(key)
            return DONE
        if not self._expectations.met(key):
            # The event that brings the cache up to date wakes the key; the time is for events that never come.
            return RequeueAfter(self._expectations.remaining_s(key))
        pods = await self._claim(rs)
        now = self._context.clock()
        step = plan(rs, pods, self._neighbours(rs), now)
        failure = await self._carry_out(rs, step)
        if failure is not None and TERMINATING in failure.message:
            return DONE  # the ReplicaSet goes with its namespace: nothing is wrong, and nothing is left to do
        await self._report(rs, pods, failure)
        if failure is not None:
            raise FailedStep(f"{rs.key}: {failure.message}")
        return DONE if step.recheck_after_s is None else RequeueAfter(step.recheck_after_s)

    async def _claim(self, rs: ReplicaSet) -> list[Pod]:
        mine = self._pods.by_index(BY_OWNER, rs.uid)
        orphans = self._pods.by_index(ORPHANS, rs.metadata.namespace or "")
        claims = claim(rs, rs.spec.selector.compiled(), [*mine, *orphans])
        owned = list(claims.owned)
        if claims.adopt and await self._is_alive(rs):
            for pod in claims.adopt:
                owned.append(await self._api.patch(Pod, pod.metadata.name, adoption(rs, pod), pod.metadata.namespace))
                self._expectations.wrote(rs.key, owned[-1])
        for pod in claims.release:
            try:
                await self._api.patch(Pod, pod.metadata.name, release(rs, pod), pod.metadata.namespace)
            except NotFound:
                continue
        return owned

    async def _is_alive(self, rs: ReplicaSet) -> bool:
        """Ask the server itself: a cache may show a ReplicaSet that is being deleted, which must adopt nothing."""
        try:
            live = await self._api.get(ReplicaSet, rs.metadata.name, rs.metadata.namespace)
        except NotFound:
            return False
        return live.metadata.uid == rs.uid and live.metadata.deletion_timestamp is None

    def _neighbours(self, rs: ReplicaSet) -> Iterable[Pod]:
        """The pods of all ReplicaSets of the same owner."""
        owner = controller_of(rs)
        related = self._sets.by_index(BY_OWNER, owner.uid) if owner else [rs]
        return [pod for other in related for pod in self._pods.by_index(BY_OWNER, other.uid)]

    async def _carry_out(self, rs: ReplicaSet, step: Plan) -> Failure | None:
        wanted = to_wire(new_pod(rs)) if step.create else {}
        for size in batches(step.create):
            # Each batch is twice the last, and a failure ends them: what refuses one pod refuses all.
            failure = await _all_of([partial(self._create, rs, wanted)] * size, "FailedCreate")
            if failure is not None:
                return failure
        return await _all_of([partial(self._delete, rs, pod) for pod in step.delete], "FailedDelete")

    async def _create(self, rs: ReplicaSet, wanted: dict[str, Any]) -> None:
        try:
            made = (await self._api.create(wanted, kind=RAW_POD))["metadata"]
        except Fenced:
            raise
        except ApiError as error:
            if TERMINATING not in error.message:
                self._context.recorder.event(rs, "Warning", "FailedCreate", f"Error creating: {error.message}")
            raise
        self._expectations.wrote_version(rs.key, made["resourceVersion"])
        self._context.recorder.event(rs, "Normal", "SuccessfulCreate", f"Created pod: {made['name']}")

    async def _delete(self, rs: ReplicaSet, pod: Pod) -> None:
        try:
            await self._api.delete(Pod, pod.metadata.name, pod.metadata.namespace, uid=pod.uid)
        except (NotFound, Conflict):
            # Gone already, or a namesake has taken its place: either way this one is no more.
            return
        self._expectations.deleted(rs.key, pod)
        self._context.recorder.event(rs, "Normal", "SuccessfulDelete", f"Deleted pod: {pod.metadata.name}")

    async def _report(self, rs: ReplicaSet, pods: Sequence[Pod], failure: Failure | None) -> None:
        status = status_of(rs, pods, failure, self._context.clock())
        if not same_status(status, rs.status):
            await self._api.update(rs.model_copy(update={"status": status}), "status")


class FailedStep(Exception):
    """Pods could not be made or deleted; the ReplicaSet's condition says why, and the key is tried again later."""


async def _all_of(acts: Sequence[Callable[[], Awaitable[None]]], reason: str) -> Failure | None:
    """Do all at once; the first failure of the API among them."""
    failures = await together(acts)
    for failure in failures:
        if isinstance(failure, Fenced) or not isinstance(failure, ApiError):
            raise failure
    return Failure(reason, str(failures[0])) if failures else None


def build(context: Context) -> Controller:
    """For the catalog."""
    return ReplicaSets(context)
