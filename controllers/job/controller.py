"""Carry out what `planning` decides for each Job.

Reads Jobs and Pods, creates and deletes Pods, takes its finalizer off them, writes Job.status, and deletes a Job whose
time to live is over. Every pod of a job counts once, and a program that has succeeded is not run again, wherever this
controller is cut off and whoever deletes pods: see `tracking` for the order of the writes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from stark.client.api import PatchType
from stark.client.errors import ApiError, Conflict, Fenced, NotFound
from stark.client.indexes import OwnerIndex
from stark.crds.batch import JOB_CONTROLLER, JOB_TRACKING, Job
from stark.crds.meta import controller_of
from stark.crds.pods import Pod

from ..kit import DONE, Context, Controller, Expectations, Outcome, RequeueAfter, Source
from .orphans import keys_held_for, keys_of, orphans
from .per_index import NONE
from .planning import Plan, is_over, new_pod, plan, same_status
from .tracking import is_held

BY_OWNER = "controller-uid"
HELD = "held-for-job"
TERMINATING = "because it is being terminated"
"""How the server refuses new objects in a namespace that is being deleted."""


class Jobs(Controller):
    """See the module."""

    name = "job"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._api = context.api
        self._jobs = context.informers.of(Job)
        self._pods = context.informers.of(Pod, indexers={BY_OWNER: OwnerIndex(), HELD: keys_held_for})
        self._expectations = Expectations(self._pods)
        self._written: dict[str, str] = {}
        """The version of each job as we wrote it last, when we had the pods of that time before us."""

    def sources(self) -> Sequence[Source[Any]]:
        """Jobs, their pods, and pods that are held for a job they do not belong to. Pods of nobody are not adopted: a
        job's selector names its own uid."""
        return (Source(self._jobs), Source(self._pods, keys_of))

    async def reconcile(self, key: str) -> Outcome:
        """Let go what belongs to nobody; then plan, report, act, tell."""
        job = self._jobs.get(key)
        if not self._expectations.met(key):
            return RequeueAfter(self._expectations.remaining_s(key))
        lost = await orphans(self._api, key, self._pods.by_index(HELD, key), job)
        await _all_of(partial(self._hold, key, pod, hold=False) for pod in lost)
        if job is None:
            if not lost:
                self._expectations.forget(key)
            self._written.pop(key, None)
            return DONE
        if job.spec.managed_by not in (None, JOB_CONTROLLER):
            return DONE  # somebody else's, its status too
        return await self._work(job)

    async def _work(self, job: Job) -> Outcome:
        pods, cached = await self._pods_beside(job)
        step = plan(job, pods, self._context.clock())
        # The status goes first. It is written against the version that was read, so a plan made from a job that has
        # moved on ends here, as a conflict, before it makes or stops a pod.
        if not same_status(step.status, job.status):
            job = await self._api.update(job.model_copy(update={"status": step.status}), "status")
            if cached:
                self._written[job.key] = job.metadata.resource_version or ""
        for told in step.told:
            self._context.recorder.event(job, told.type, told.reason, told.message)
        await _all_of(partial(self._hold, job.key, pod, hold=False) for pod in step.release)
        if step.expire:
            await self._expire(job)
            return DONE
        await self._carry_out(job, step)
        return DONE if step.recheck_after_s is None else RequeueAfter(step.recheck_after_s)

    async def _pods_beside(self, job: Job) -> tuple[list[Pod], bool]:
        """The job's pods, no older than its status, and whether they are from the cache.

        Jobs and pods come to us on two ways. A status that has counted a pod, read beside the pod as it was before
        that, would count it twice: when another process wrote the status and our pods may be behind, the server is asked.
        """
        version = job.metadata.resource_version or "0"
        fresh = self._pods.resource_version >= int(version) or self._written.get(job.key) == version
        if fresh or is_over(job) or job.status.uncounted_terminated_pods is None:
            return [pod for pod in self._pods.by_index(BY_OWNER, job.uid) if _belongs(pod, job)], True
        self._written.pop(job.key, None)
        chosen = str(job.spec.selector.compiled()) if job.spec.selector is not None else ""
        found = await self._api.list_all(Pod, job.metadata.namespace, label_selector=chosen)
        return [pod for pod in found.items if _belongs(pod, job)], False

    async def _carry_out(self, job: Job, step: Plan) -> None:
        await _all_of(partial(self._hold, job.key, pod, hold=True) for pod in step.hold)
        await _all_of(partial(self._delete, job, pod) for pod in step.fail)
        await _all_of(partial(self._give_up, job, pod) for pod in step.delete)
        if not step.create:
            return
        first, *rest = step.create
        # One pod alone first: what refuses one pod refuses all.
        if await self._create(job, first, step):
            await _all_of(partial(self._create, job, index, step) for index in rest)

    async def _hold(self, key: str, pod: Pod, *, hold: bool) -> None:
        """Put the finalizer on the pod, or take it off."""
        change: dict[str, Any] = {"uid": pod.uid}
        if hold:
            # What has changed since we saw it running may have been counted meanwhile.
            change |= {"resourceVersion": pod.metadata.resource_version, "finalizers": [JOB_TRACKING]}
        else:
            change["$deleteFromPrimitiveList/finalizers"] = [JOB_TRACKING]
        try:
            changed = await self._api.patch(
                Pod, pod.metadata.name, {"metadata": change}, pod.metadata.namespace, type=PatchType.STRATEGIC
            )
        except NotFound:
            return
        except Conflict:
            if hold:
                raise
            return  # a namesake: the pod that is meant has gone
        self._expectations.wrote(key, changed)

    async def _give_up(self, job: Job, pod: Pod) -> None:
        """Stop a pod that is not wanted any more: it has not failed."""
        if is_held(pod):
            await self._hold(job.key, pod, hold=False)
        await self._delete(job, pod)

    async def _create(self, job: Job, index: int | None, step: Plan) -> bool:
        before = NONE if index is None else step.attempts.get(index, NONE)
        try:
            made = await self._api.create(new_pod(job, index, before))
        except Fenced:
            raise
        except ApiError as error:
            if TERMINATING in error.message:
                return False  # the job goes with its namespace
            self._context.recorder.event(job, "Warning", "FailedCreate", f"Error creating: {error.message}")
            raise
        self._expectations.wrote(job.key, made)
        self._context.recorder.event(job, "Normal", "SuccessfulCreate", f"Created pod: {made.metadata.name}")
        return True

    async def _delete(self, job: Job, pod: Pod) -> None:
        try:
            await self._api.delete(Pod, pod.metadata.name, pod.metadata.namespace, uid=pod.uid)
        except (NotFound, Conflict):
            return
        self._expectations.deleted(job.key, pod)
        self._context.recorder.event(job, "Normal", "SuccessfulDelete", f"Deleted pod: {pod.metadata.name}")

    async def _expire(self, job: Job) -> None:
        try:
            await self._api.delete(
                Job, job.metadata.name, job.metadata.namespace, uid=job.uid, propagation="Background"
            )
        except (NotFound, Conflict):
            return


def _belongs(pod: Pod, job: Job) -> bool:
    owner = controller_of(pod)
    return owner is not None and owner.uid == job.uid


async def _all_of(acts: Iterable[Any]) -> None:
    """Do all at once, to the end; then raise the first failure."""
    results = await asyncio.gather(*(act() for act in acts), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result


def build(context: Context) -> Controller:
    """For the catalog."""
    return Jobs(context)
