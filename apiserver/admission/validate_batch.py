"""What is wrong with a Job or a CronJob, in Kubernetes' wording."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from stark.crds.batch import CONTROLLER_UID, JOB_NAME, OLD_CONTROLLER_UID, OLD_JOB_NAME
from stark.crds.cron import ScheduleError, known_zone, parse_schedule
from stark.crds.names import dns_subdomain_problems
from stark.crds.podcontainers import every_written
from stark.crds.selectors import SelectorError, from_label_selector

from ..errors import Cause
from .complaints import bad_value, immutable, not_supported, required
from .podspecs import FoundSpec
from .validate_pods import labels_causes, pod_spec_causes

RESTART_POLICIES = ("OnFailure", "Never")
INDEXED_PARALLELISM_MAX = 100_000
"""Pods at once of an indexed job: their numbers are looked through at every change."""
CRONJOB_NAME_MAX = 52
"""Characters: its jobs are called the same and eleven more."""
JOB_NAME_MAX = 63
"""Characters: the name is the value of a label of its pods."""

Mapped = Mapping[str, Any]
FROZEN = ("selector", "template", "completionMode", "manualSelector", "managedBy", "podFailurePolicy")


def job_causes(obj: Mapped, old: Mapped | None, found: FoundSpec | None) -> Iterator[Cause]:
    """Every complaint about a Job."""
    spec = obj.get("spec") or {}
    name = str((obj.get("metadata") or {}).get("name") or "")
    if len(name) > JOB_NAME_MAX:
        yield bad_value("metadata.name", name, f"must be no more than {JOB_NAME_MAX} characters")
    if old is not None:
        before = old.get("spec") or {}
        for field in FROZEN:
            yield from immutable(f"spec.{field}", before.get(field), spec.get(field))
        yield from _completions_causes(spec, before)
    elif found is not None:
        yield from _selector_causes(spec, found)
    yield from job_spec_causes("spec", spec, found)


def job_spec_causes(path: str, spec: Mapped, found: FoundSpec | None) -> Iterator[Cause]:
    """Complaints about a job's spec, in a Job or in a CronJob's template."""
    if found is None:
        yield required(f"{path}.template")
        return
    yield from labels_causes(f"{path}.template.metadata.labels", found.metadata.get("labels") or {})
    yield from pod_spec_causes(found)
    policy = found.spec.get("restartPolicy", "Always")
    if policy not in RESTART_POLICIES:
        yield not_supported(f"{found.path}.restartPolicy", policy, RESTART_POLICIES)
    yield from _failure_policy_causes(path, spec, found)
    yield from _manager_causes(f"{path}.managedBy", spec.get("managedBy"))
    if spec.get("completionMode") == "Indexed":
        if spec.get("completions") is None:
            yield required(f"{path}.completions", "when completion mode is Indexed")
        if (spec.get("parallelism") or 0) > INDEXED_PARALLELISM_MAX:
            message = f"must be less than or equal to {INDEXED_PARALLELISM_MAX} when completion mode is Indexed"
            yield bad_value(f"{path}.parallelism", spec["parallelism"], message)


def _failure_policy_causes(path: str, spec: Mapped, found: FoundSpec) -> Iterator[Cause]:
    """Complaints about podFailurePolicy and podReplacementPolicy (KEP-3329, KEP-3939)."""
    policy, replacement = spec.get("podFailurePolicy"), spec.get("podReplacementPolicy")
    if policy is None:
        return
    if replacement not in (None, "Failed"):
        yield not_supported(f"{path}.podReplacementPolicy", replacement, ["Failed"])
    restart = found.spec.get("restartPolicy", "Always")
    if restart != "Never":
        message = 'only "Never" is supported when podFailurePolicy is specified'
        yield bad_value(f"{found.path}.restartPolicy", restart, message)
    names = [container.get("name") for container in every_written(found.spec)]
    for index, rule in enumerate(policy.get("rules") or ()):
        yield from _rule_causes(f"{path}.podFailurePolicy.rules[{index}]", rule, names)


def _manager_causes(path: str, manager: str | None) -> Iterator[Cause]:
    """A controller is named by a domain and a path (KEP-4368)."""
    if manager is None:
        return
    domain, slash, name = manager.partition("/")
    if not slash or not domain or not name:
        message = 'must be a domain-prefixed path (such as "acme.io/foo")'
        yield bad_value(path, manager, message)
        return
    for problem in dns_subdomain_problems(domain):
        yield bad_value(path, manager, problem)


def _rule_causes(path: str, rule: Mapped, containers: Sequence[Any]) -> Iterator[Cause]:
    codes, conditions = rule.get("onExitCodes"), rule.get("onPodConditions")
    if codes is not None and conditions:
        yield bad_value(path, dict(rule), "specifying both OnExitCodes and OnPodConditions is not supported")
    elif codes is None and not conditions:
        yield bad_value(path, dict(rule), "specifying one of OnExitCodes and OnPodConditions is required")
    if codes is None:
        return
    name, values = codes.get("containerName"), codes.get("values") or []
    if name is not None and name not in containers:
        message = "must be one of the container or initContainer names in the pod template"
        yield bad_value(f"{path}.onExitCodes.containerName", name, message)
    if values != sorted(values):
        yield bad_value(f"{path}.onExitCodes.values", values, "must be ordered")
    if codes.get("operator") == "In" and 0 in values:
        where = f"{path}.onExitCodes.values[{values.index(0)}]"
        yield bad_value(where, 0, "must not be 0 for the In operator")


def _selector_causes(spec: Mapped, found: FoundSpec) -> Iterator[Cause]:
    selector = spec.get("selector")
    if not spec.get("manualSelector"):
        labels = found.metadata.get("labels") or {}
        for key in (CONTROLLER_UID, OLD_CONTROLLER_UID, JOB_NAME, OLD_JOB_NAME):
            if key in labels:
                yield bad_value("spec.template.metadata.labels", {key: labels[key]}, "is set by the server")
        if selector:
            yield bad_value("spec.selector", selector, "`selector` not auto-generated")
        return
    if not selector:
        yield required("spec.selector")
        return
    labels = found.metadata.get("labels") or {}
    try:
        if not from_label_selector(selector).matches(labels):
            message = "`selector` does not match template `labels`"
            yield bad_value("spec.template.metadata.labels", labels, message)
    except SelectorError as error:
        yield bad_value("spec.selector", selector, str(error))


def _completions_causes(spec: Mapped, before: Mapped) -> Iterator[Cause]:
    """An indexed job may be made larger or smaller as a whole; any other goal stays."""
    new, old = spec.get("completions"), before.get("completions")
    if new != old and not (spec.get("completionMode") == "Indexed" and new is not None and new == spec["parallelism"]):
        yield bad_value("spec.completions", new, "field is immutable")


def cronjob_causes(obj: Mapped, old: Mapped | None, found: FoundSpec | None) -> Iterator[Cause]:
    """Every complaint about a CronJob."""
    spec = obj.get("spec") or {}
    name = str((obj.get("metadata") or {}).get("name") or "")
    if old is None and len(name) > CRONJOB_NAME_MAX:
        yield bad_value("metadata.name", name, f"must be no more than {CRONJOB_NAME_MAX} characters")
    try:
        parse_schedule(spec.get("schedule") or "")
    except ScheduleError as error:
        yield bad_value("spec.schedule", spec.get("schedule"), str(error))
    zone = spec.get("timeZone")
    if zone is not None and not known_zone(zone):
        yield bad_value("spec.timeZone", zone, f"unknown time zone {zone}")
    template = (spec.get("jobTemplate") or {}).get("spec") or {}
    if template.get("manualSelector"):
        yield not_supported("spec.jobTemplate.spec.manualSelector", True, ["nil", "false"])
    yield from job_spec_causes("spec.jobTemplate.spec", template, found)
