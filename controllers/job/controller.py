"""Carry out what `planning` decides for each Job.

Reads Jobs and Pods, creates and deletes Pods, writes Job.status, and deletes a Job whose time to live is over. A
program that has succeeded is not run again as long as its pod, or the status that counted it, is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from stark.client.errors import ApiError, Conflict, Fenced, NotFound
from stark.client.indexes import OwnerIndex
from stark.crds.batch import Job
from stark.crds.pods import Pod

from ..kit import DONE, Context, Controller, Expectations, Outcome, RequeueAfter, Source, controller_key
from ..kit.claims import controller_of
from .planning import Plan, new_pod, plan, same_status

BY_OWNER = "controller-uid"
TERMINATING = "because it is being terminated"
"""How the server refuses new objects in a namespace that is being deleted."""


class Jobs(Controller):
    """See the module."""

    name = "job"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._api = context.api
        self._jobs = context.informers.of(Job)
        self._pods = context.informers.of(Pod, indexers={BY_OWNER: OwnerIndex()})
        self._expectations = Expectations(self._pods)

    def sources(self) -> Sequence[Source[Any]]:
        """Jobs, and their pods. Pods of nobody are not adopted: a job's selector names its own uid."""
        return (Source(self._jobs), Source(self._pods, controller_key(Job)))

    async def reconcile(self, key: str) -> Outcome:
        """Plan, report, act, tell."""
        job = self._jobs.get(key)
        if job is None:
            self._expectations.forget(key)
            return DONE
        if not self._expectations.met(key):
            return RequeueAfter(self._expectations.remaining_s(key))
        pods = [pod for pod in self._pods.by_index(BY_OWNER, job.uid) if _belongs(pod, job)]
        step = plan(job, pods, self._context.clock())
        # The status goes first. It is written against the version that was read, so a plan made from a job that has
        # moved on ends here, as a conflict, before it makes or stops a pod.
        if not same_status(step.status, job.status):
            await self._api.update(job.model_copy(update={"status": step.status}), "status")
        for told in step.told:
            self._context.recorder.event(job, told.type, told.reason, told.message)
        if step.expire:
            await self._expire(job)
            return DONE
        await self._carry_out(job, step)
        return DONE if step.recheck_after_s is None else RequeueAfter(step.recheck_after_s)

    async def _carry_out(self, job: Job, step: Plan) -> None:
        acts: Iterable[Any] = [partial(self._delete, job, pod) for pod in step.delete]
        await _all_of(acts)
        if not step.create:
            return
        first, *rest = step.create
        # One pod alone first: what refuses one pod refuses all.
        if await self._create(job, first):
            await _all_of([partial(self._create, job, index) for index in rest])

    async def _create(self, job: Job, index: int | None) -> bool:
        try:
            made = await self._api.create(new_pod(job, index))
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
