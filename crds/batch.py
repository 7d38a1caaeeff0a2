"""Jobs and CronJobs (batch/v1): pods that run until they have succeeded, once or on a schedule."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from .conditions import Condition
from .fields import Count, Int64, list_map
from .labels import SELECTOR_MARKS, LabelSelector
from .meta import KubeObject, Model, ResourceDef, Time
from .pods import PodTemplateSpec

BACKOFF_LIMIT = 6
CompletionMode = Literal["NonIndexed", "Indexed"]

CONTROLLER_UID = "batch.kubernetes.io/controller-uid"
"""Label of a job's pods, written by the API server: the job's uid; what its selector selects."""
JOB_NAME = "batch.kubernetes.io/job-name"
"""Label of a job's pods, written by the API server: the job's name, for people."""
OLD_CONTROLLER_UID = "controller-uid"
OLD_JOB_NAME = "job-name"
"""The same two as they were called before they had a prefix; scripts still look for them."""
COMPLETION_INDEX = "batch.kubernetes.io/job-completion-index"
"""Annotation and label of an indexed job's pods: which of the completions the pod is for, from 0."""
COMPLETION_INDEX_VARIABLE = "JOB_COMPLETION_INDEX"
"""Environment variable with the same number."""


class JobSpec(Model):
    """How often a program has to succeed, how many at once, and when to give up."""

    parallelism: Count | None = None
    """Pods that may run at the same time. Default 1."""
    completions: Count | None = None
    """Pods that have to succeed. Without it (and with parallelism) the pods share a queue of work: the job is complete
    when one has succeeded and all have ended. Default 1 when parallelism is not given either."""
    backoff_limit: Count = BACKOFF_LIMIT
    """Failures after which the job has failed: failed pods, and restarts of containers in pods that run."""
    active_deadline_seconds: Int64 | None = Field(default=None, ge=1)
    """Seconds after its start at which the job has failed, whatever its pods do. Time spent suspended does not count."""
    ttl_seconds_after_finished: Count | None = None
    """Seconds after its end at which the job is deleted, and its pods with it; default never."""
    suspend: bool = False
    """While true it has no pods; those that run are stopped."""
    completion_mode: CompletionMode = "NonIndexed"
    """Indexed gives every completion a number, from 0: the variable JOB_COMPLETION_INDEX and the annotation
    `batch.kubernetes.io/job-completion-index` of its pod."""
    manual_selector: bool | None = None
    """Set to true to give the selector and the labels yourself; otherwise the server does."""
    selector: LabelSelector | None = Field(default=None, json_schema_extra=SELECTOR_MARKS)
    """Pods that belong to it; set by the server, cannot be changed."""
    template: PodTemplateSpec
    """What its pods look like; cannot be changed. Its restartPolicy must be Never or OnFailure."""


class JobStatus(Model):
    """How far the job is."""

    conditions: list[Condition] = Field(default_factory=list, json_schema_extra=list_map("type"))
    """Conclusions, one of each type: Complete, Failed, Suspended; SuccessCriteriaMet and FailureTarget while the last
    pods end."""
    start_time: Time | None = None
    """When it began, or was resumed the last time."""
    completion_time: Time | None = None
    """When it was complete."""
    active: Count | None = None
    """Pods that run or will run."""
    ready: Count | None = None
    """Of those, the ones that are ready."""
    terminating: Count | None = None
    """Pods that are being stopped."""
    succeeded: Count | None = None
    """Pods that have succeeded."""
    failed: Count | None = None
    """Pods that have failed."""
    completed_indexes: str | None = None
    """Of an indexed job, the numbers that have succeeded, e.g. `0,2-5`."""


class Job(KubeObject):
    """Runs pods until enough of them have succeeded."""

    RESOURCE: ClassVar[ResourceDef] = ResourceDef(
        group="batch",
        version="v1",
        kind="Job",
        plural="jobs",
        namespaced=True,
        categories=("all",),
        subresources=("status",),
    )

    spec: JobSpec
    """What has to be done."""
    status: JobStatus = Field(default_factory=JobStatus)
    """How far it is."""
