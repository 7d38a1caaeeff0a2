"""Carry out what `planning` decides for each CronJob.

Reads CronJobs and Jobs, creates and deletes Jobs, writes CronJob.status. The pods are the Jobs' business.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from stark.client.errors import AlreadyExists, ApiError, Conflict, Fenced, NotFound
from stark.client.indexes import OwnerIndex
from stark.crds.batch import CronJob, Job
from stark.crds.meta import controller_of

from ..kit import DONE, Context, Controller, Expectations, Outcome, RequeueAfter, Source, controller_key
from .planning import Plan, plan, reference_to, same_status

BY_OWNER = "controller-uid"
TERMINATING = "because it is being terminated"
"""How the server refuses new objects in a namespace that is being deleted."""


class CronJobs(Controller):
    """See the module."""

    name = "cronjob"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._api = context.api
        self._cronjobs = context.informers.of(CronJob)
        self._jobs = context.informers.of(Job, indexers={BY_OWNER: OwnerIndex()})
        self._expectations = Expectations(self._jobs)

    def sources(self) -> Sequence[Source[Any]]:
        """CronJobs, and the jobs they made."""
        return (Source(self._cronjobs), Source(self._jobs, controller_key(CronJob)))

    async def reconcile(self, key: str) -> Outcome:
        """Plan, act, report; and look again at the next time of the schedule."""
        cronjob = self._cronjobs.get(key)
        if cronjob is None:
            self._expectations.forget(key)
            return DONE
        if not self._expectations.met(key):
            return RequeueAfter(self._expectations.remaining_s(key))
        step = plan(cronjob, self._jobs.by_index(BY_OWNER, cronjob.uid), self._context.clock())
        await self._carry_out(cronjob, step)
        return DONE if step.next_in_s is None else RequeueAfter(step.next_in_s)

    async def _carry_out(self, cronjob: CronJob, step: Plan) -> None:
        for told in step.told:
            self._context.recorder.event(cronjob, told.type, told.reason, told.message)
        for job in (*step.forget, *step.replace):
            await self._delete(cronjob, job)
        status = step.status
        if step.start is not None:
            made = await self._start(cronjob, step.start)
            if made is None:
                return
            gone = {job.uid for job in step.replace}
            active = [each for each in status.active if each.uid not in gone]
            status = status.model_copy(update={"active": [*active, reference_to(made)]})
        if not same_status(status, cronjob.status):
            await self._api.update(cronjob.model_copy(update={"status": status}), "status")

    async def _start(self, cronjob: CronJob, wanted: Job) -> Job | None:
        """The job of this time: new, or from before a crash. None when the namespace is on its way out."""
        try:
            made = await self._api.create(wanted)
        except AlreadyExists:
            made = await self._api.get(Job, wanted.metadata.name, wanted.metadata.namespace)
            owner = controller_of(made)
            if owner is None or owner.uid != cronjob.uid:
                raise
            return made
        except Fenced:
            raise
        except ApiError as error:
            if TERMINATING in error.message:
                return None
            self._context.recorder.event(cronjob, "Warning", "FailedCreate", f"Error creating job: {error.message}")
            raise
        self._expectations.wrote(cronjob.key, made)
        self._context.recorder.event(cronjob, "Normal", "SuccessfulCreate", f"Created job {made.metadata.name}")
        return made

    async def _delete(self, cronjob: CronJob, job: Job) -> None:
        try:
            await self._api.delete(
                Job, job.metadata.name, job.metadata.namespace, uid=job.uid, propagation="Background"
            )
        except (NotFound, Conflict):
            return
        self._expectations.deleted(cronjob.key, job)
        self._context.recorder.event(cronjob, "Normal", "SuccessfulDelete", f"Deleted job {job.metadata.name}")


def build(context: Context) -> Controller:
    """For the catalog."""
    return CronJobs(context)
