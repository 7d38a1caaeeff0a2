"""What a job makes of a pod that failed: counted, passed over, or the job's end, by podFailurePolicy (KEP-3329). Pure.

The first rule that fits decides; without one the pod counts. So a pod that was evicted, preempted or lost with its node
need not count towards the back-off limit (`onPodConditions: DisruptionTarget`, `Ignore`), and an exit code that no new
try can mend ends the job at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from stark.crds.batch import Job, PodFailurePolicyOnExitCodes, PodFailurePolicyRule
from stark.crds.pods import ContainerStateTerminated, Pod

Action = Literal["Count", "Ignore", "FailIndex", "FailJob"]


@dataclass(frozen=True, slots=True)
class Judgement:
    """What to do about a failed pod, and why the job, or its index, fails if it does."""

    action: Action
    message: str = ""


COUNTS = Judgement("Count")


def waits_for_phase(job: Job) -> bool:
    """Whether a pod that is being stopped is replaced only when it has ended, and has failed only then. A policy has to
    see how a pod ended, so with one it is always so."""
    policy = job.spec.pod_replacement_policy
    return policy == "Failed" or (policy is None and job.spec.pod_failure_policy is not None)


def judge(job: Job, pod: Pod) -> Judgement:
    """The judgement over a pod of the job that has ended without success."""
    policy = job.spec.pod_failure_policy
    for index, rule in enumerate(policy.rules if policy is not None else ()):
        why = _fits(rule, pod)
        if why is not None:
            return Judgement(rule.action, f"{why} matching {rule.action} rule at index {index}")
    return COUNTS


def _fits(rule: PodFailurePolicyRule, pod: Pod) -> str | None:
    """Why the rule is about this pod, in Kubernetes' words; None when it is not."""
    if rule.on_exit_codes is not None:
        for status in (*pod.status.container_statuses, *pod.status.init_container_statuses):
            ended = status.state.terminated
            if ended is not None and _is_code(rule.on_exit_codes, status.name, ended):
                return f"Container {status.name} for pod {pod.key} failed with exit code {ended.exit_code}"
        return None
    for wanted in rule.on_pod_conditions:
        for condition in pod.status.conditions:
            if (condition.type, condition.status) == (wanted.type, wanted.status):
                return f"Pod {pod.key} has condition {wanted.type}"
    return None


def _is_code(wanted: PodFailurePolicyOnExitCodes, name: str, ended: ContainerStateTerminated) -> bool:
    if ended.exit_code == 0 or wanted.container_name not in (None, name):
        return False
    return (ended.exit_code in wanted.values) == (wanted.operator == "In")
