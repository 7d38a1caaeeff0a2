"""Jobs and CronJobs (batch/v1): pods that run until they have succeeded, once or on a schedule."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from .conditions import Condition
from .fields import LIST_ATOMIC, LIST_SET, WRITTEN, Count, Int32, Int64, list_map, written
from .labels import SELECTOR_MARKS, LabelSelector
from .meta import KubeObject, Model, ObjectMeta, ResourceDef, Time
from .pods import ObjectReference, PodTemplateSpec

BACKOFF_LIMIT = 6
BACKOFF_LIMIT_NONE = 2**31 - 1
"""Default of backoffLimit where every index has a limit of its own."""
SUCCESS_RULES_MAX = 20
SUCCESSFUL_JOBS_HISTORY_LIMIT = 3
FAILED_JOBS_HISTORY_LIMIT = 1
FAILURE_RULES_MAX = 20
EXIT_CODES_MAX = 255
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
INDEX_FAILURES = "batch.kubernetes.io/job-index-failure-count"
"""Annotation of an indexed job's pods: how often the index had failed before this one, of what counts (KEP-3850)."""
INDEX_IGNORED_FAILURES = "batch.kubernetes.io/job-index-ignored-failure-count"
"""The same of failures that were passed over."""
COMPLETION_INDEX_VARIABLE = "JOB_COMPLETION_INDEX"
"""Environment variable with the same number."""
JOB_CONTROLLER = "kubernetes.io/job-controller"
"""What `managedBy` of a job calls the controller that comes with us (KEP-4368)."""
JOB_TRACKING = "batch.kubernetes.io/job-tracking"
"""Finalizer of a job's pods: holds a pod until the job's status has counted how it ended (KEP-2307)."""
SCHEDULED_AT = "batch.kubernetes.io/cronjob-scheduled-timestamp"
"""Annotation of a CronJob's jobs: the time of the schedule they were made for."""


class PodFailurePolicyOnExitCodes(Model):
    """Which exit codes a rule is about; 0 never is."""

    container_name: str | None = None
    """Of this container; default any."""
    operator: Literal["In", "NotIn"]
    """In: one of the values. NotIn: any other than these."""
    values: list[Int32] = Field(min_length=1, max_length=EXIT_CODES_MAX, json_schema_extra=LIST_SET)
    """Exit codes, in rising order."""


class PodFailurePolicyOnPodConditionsPattern(Model):
    """Which condition of a pod a rule is about."""

    type: str
    """Its type, e.g. DisruptionTarget: evicted, preempted, or lost with its node."""
    status: Literal["True", "False", "Unknown"] = "True"
    """Its status."""


class PodFailurePolicyRule(Model):
    """What a failed pod means to the job. Exactly one of the two requirements."""

    action: Literal["FailJob", "FailIndex", "Ignore", "Count"]
    """FailJob ends the job, FailIndex gives up the pod's index (with backoffLimitPerIndex), Ignore replaces the pod without
    counting it, Count counts it towards the limits."""
    on_exit_codes: PodFailurePolicyOnExitCodes | None = None
    """By the exit code of a container."""
    on_pod_conditions: list[PodFailurePolicyOnPodConditionsPattern] = Field(
        default_factory=list, max_length=FAILURE_RULES_MAX, json_schema_extra=LIST_ATOMIC
    )
    """By one of these conditions."""


class PodFailurePolicy(Model):
    """What failed pods mean; the first rule that fits decides."""

    rules: list[PodFailurePolicyRule] = Field(max_length=FAILURE_RULES_MAX, json_schema_extra=LIST_ATOMIC)
    """In their order. A pod that none fits counts."""


class SuccessPolicyRule(Model):
    """When an indexed job has succeeded before all of its completions have."""

    succeeded_indexes: str | None = None
    """These have succeeded, e.g. `0,2-5`; with succeededCount, that many of them."""
    succeeded_count: Int32 | None = Field(default=None, ge=1)
    """So many have succeeded: of succeededIndexes, else of all."""


class SuccessPolicy(Model):
    """When the job is a success; the first rule that is met decides."""

    rules: list[SuccessPolicyRule] = Field(min_length=1, max_length=SUCCESS_RULES_MAX, json_schema_extra=LIST_ATOMIC)
    """In their order. Without any that is met, all completions have to succeed."""


class JobSpec(Model):
    """How often a program has to succeed, how many at once, and when to give up."""

    parallelism: Count | None = None
    """Pods that may run at the same time. Default 1."""
    completions: Count | None = None
    """Pods that have to succeed. Without it (and with parallelism) the pods share a queue of work: the job is complete
    when one has succeeded and all have ended. Default 1 when parallelism is not given either."""
    backoff_limit: Count = Field(default=BACKOFF_LIMIT, json_schema_extra={WRITTEN: False})
    """Failures after which the job has failed: failed pods, and restarts of containers in pods that run. Default 6; none
    with backoffLimitPerIndex."""
    backoff_limit_per_index: Count | None = None
    """Failures after which one completion of an indexed job is given up, while the others go on; cannot be changed."""
    max_failed_indexes: Count | None = None
    """Completions that may be given up before the whole job fails; default all of them, and then it fails at its end."""
    success_policy: SuccessPolicy | None = None
    """When an indexed job has succeeded before all of its completions have; cannot be changed."""
    pod_failure_policy: PodFailurePolicy | None = None
    """What failed pods mean, beyond that they count; cannot be changed, and needs restartPolicy Never."""
    pod_replacement_policy: Literal["TerminatingOrFailed", "Failed"] | None = None
    """When a pod that is being stopped is replaced: at once, or when it has ended. Default TerminatingOrFailed, with
    podFailurePolicy Failed."""
    active_deadline_seconds: Int64 | None = Field(default=None, ge=1)
    """Seconds after its start at which the job has failed, whatever its pods do. Time spent suspended does not count."""
    ttl_seconds_after_finished: Count | None = None
    """Seconds after its end at which the job is deleted, and its pods with it; default never."""
    suspend: bool = written(False)
    """While true it has no pods; those that run are stopped."""
    completion_mode: CompletionMode = "NonIndexed"
    """Indexed gives every completion a number, from 0: the variable JOB_COMPLETION_INDEX and the annotation
    `batch.kubernetes.io/job-completion-index` of its pod."""
    manual_selector: bool | None = None
    """Set to true to give the selector and the labels yourself; otherwise the server does."""
    selector: LabelSelector | None = Field(default=None, json_schema_extra=SELECTOR_MARKS)
    """Pods that belong to it; set by the server, cannot be changed."""
    managed_by: str | None = Field(default=None, max_length=63)
    """The controller that runs it, as `domain/name`: a job that names another one than Stark's own, which is called
    `kubernetes.io/job-controller` (the default), is left to it. Cannot be changed."""
    template: PodTemplateSpec
    """What its pods look like; cannot be changed. Its restartPolicy must be Never or OnFailure."""


class UncountedTerminatedPods(Model):
    """Pods whose end is known and not yet in the numbers: what makes each count once (KEP-2307)."""

    succeeded: list[str] = Field(default_factory=list, json_schema_extra=LIST_SET)
    """Uids of pods that have succeeded."""
    failed: list[str] = Field(default_factory=list, json_schema_extra=LIST_SET)
    """Uids of pods that have failed."""


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
    failed_indexes: str | None = None
    """Of an indexed job with backoffLimitPerIndex, the numbers that are given up."""
    uncounted_terminated_pods: UncountedTerminatedPods | None = None
    """Pods that have ended and are still to be added to `succeeded` and `failed`. Absent from a job that began before
    its pods were held by a finalizer: such a job is counted by its pods to its end."""


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


class JobTemplateSpec(Model):
    """What the jobs of a CronJob look like when they are created."""

    metadata: ObjectMeta = Field(default_factory=ObjectMeta)
    """Labels and annotations of the jobs."""
    spec: JobSpec
    """Spec of the jobs."""


class CronJobSpec(Model):
    """When which job is made."""

    schedule: str = Field(min_length=1)
    """Five fields: minute, hour, day of the month, month, day of the week; or `@hourly` and the like."""
    time_zone: str | None = None
    """The zone whose clock the schedule is about, e.g. `Europe/Berlin`; default UTC."""
    starting_deadline_seconds: Int64 | None = Field(default=None, ge=0)
    """Seconds by which a start may be late; a later one is missed. Default: the last missed one is caught up whenever."""
    concurrency_policy: Literal["Allow", "Forbid", "Replace"] = "Allow"
    """What happens when the last job still runs: Allow starts another beside it, Forbid skips this time, Replace
    stops the old one."""
    suspend: bool = written(False)
    """While true nothing is started; times that pass are missed."""
    job_template: JobTemplateSpec
    """What its jobs look like."""
    successful_jobs_history_limit: Count = SUCCESSFUL_JOBS_HISTORY_LIMIT
    """Complete jobs that are kept."""
    failed_jobs_history_limit: Count = FAILED_JOBS_HISTORY_LIMIT
    """Failed jobs that are kept."""


class CronJobStatus(Model):
    """What was started."""

    active: list[ObjectReference] = Field(default_factory=list, json_schema_extra=LIST_ATOMIC)
    """Jobs that run."""
    last_schedule_time: Time | None = None
    """The scheduled time of the last job."""
    last_successful_time: Time | None = None
    """When a job was complete last."""


class CronJob(KubeObject):
    """Makes a job at every time of a schedule."""

    RESOURCE: ClassVar[ResourceDef] = ResourceDef(
        group="batch",
        version="v1",
        kind="CronJob",
        plural="cronjobs",
        namespaced=True,
        short_names=("cj",),
        categories=("all",),
        subresources=("status",),
    )

    spec: CronJobSpec
    """What is started when."""
    status: CronJobStatus = Field(default_factory=CronJobStatus)
    """What was started."""
