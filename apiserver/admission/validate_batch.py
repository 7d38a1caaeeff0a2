"""What is wrong with a Job or a CronJob, in Kubernetes' wording."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from stark.crds.batch import CONTROLLER_UID, JOB_NAME, OLD_CONTROLLER_UID, OLD_JOB_NAME
from stark.crds.completions import IndexesError, count_indexes
from stark.crds.cron import ScheduleError, known_zone, parse_schedule
from stark.crds.names import dns_subdomain_problems
from stark.crds.podcontainers import every_written
from stark.crds.selectors import SelectorError, from_label_selector

from ..errors import Cause
from .complaints import bad_value, immutable, not_supported, required, too_long
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
FROZEN = (
    "selector",
    "template",
    "completionMode",
    "manualSelector",
    "managedBy",
    "podFailurePolicy",
    "backoffLimitPerIndex",
    "successPolicy",
)
INDEXES_MAX = 100_000
"""maxFailedIndexes, and completions where failures are counted per index."""
LIMITED_COMPLETIONS_MAX, LIMITED_INDEXES_MAX, LIMITED_PARALLELISM_MAX = 100_000, 10_000, 10_000
"""Beyond so many completions, no more indexes may fail, nor pods run at once, than so many (KEP-3850)."""
SUCCESS_INDEXES_MAX = 64 * 1024
"""Characters of succeededIndexes."""


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
    yield from _per_index_causes(path, spec, found)
    yield from _success_policy_causes(f"{path}.successPolicy", spec)
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
        where = f"{path}.podFailurePolicy.rules[{index}]"
        yield from _rule_causes(where, rule, names, per_index=spec.get("backoffLimitPerIndex") is not None)


def _per_index_causes(path: str, spec: Mapped, found: FoundSpec) -> Iterator[Cause]:
    """Complaints about backoffLimitPerIndex and maxFailedIndexes (KEP-3850)."""
    limit, most = spec.get("backoffLimitPerIndex"), spec.get("maxFailedIndexes")
    completions = spec.get("completions") or 0
    if limit is None:
        if most is not None:
            yield required(f"{path}.backoffLimitPerIndex", "when maxFailedIndexes is specified")
        return
    if spec.get("completionMode") != "Indexed":
        yield bad_value(f"{path}.backoffLimitPerIndex", limit, "requires indexed completion mode")
    restart = found.spec.get("restartPolicy", "Always")
    if restart != "Never":
        message = 'only "Never" is supported when backoffLimitPerIndex is specified'
        yield bad_value(f"{found.path}.restartPolicy", restart, message)
    if most is not None and most > completions:
        yield bad_value(f"{path}.maxFailedIndexes", most, "must be less than or equal to completions")
    if most is not None and most > INDEXES_MAX:
        yield bad_value(f"{path}.maxFailedIndexes", most, f"must be less than or equal to {INDEXES_MAX}")
    if completions > LIMITED_COMPLETIONS_MAX:
        if most is None:
            message = f"must be specified when completions is above {LIMITED_COMPLETIONS_MAX}"
            yield required(f"{path}.maxFailedIndexes", message)
        elif most > LIMITED_INDEXES_MAX:
            beyond = f"when completions is above {LIMITED_COMPLETIONS_MAX}"
            message = f"must be less than or equal to {LIMITED_INDEXES_MAX} {beyond}"
            yield bad_value(f"{path}.maxFailedIndexes", most, message)
        if (spec.get("parallelism") or 0) > LIMITED_PARALLELISM_MAX:
            message = (
                f"must be less than or equal to {LIMITED_PARALLELISM_MAX} when completions are above "
                f"{LIMITED_COMPLETIONS_MAX} and used with backoff limit per index"
            )
            yield bad_value(f"{path}.parallelism", spec["parallelism"], message)


def _success_policy_causes(path: str, spec: Mapped) -> Iterator[Cause]:
    """Complaints about successPolicy (KEP-3998)."""
    policy = spec.get("successPolicy")
    if policy is None:
        return
    if spec.get("completionMode") != "Indexed":
        yield bad_value(path, dict(policy), "requires indexed completion mode")
        return
    completions = spec.get("completions") or 0
    for number, rule in enumerate(policy.get("rules") or ()):
        yield from _success_rule_causes(f"{path}.rules[{number}]", rule, completions)


def _success_rule_causes(path: str, rule: Mapped, completions: int) -> Iterator[Cause]:
    named, count = rule.get("succeededIndexes"), rule.get("succeededCount")
    if named is None and count is None:
        yield required(path, "at least one of succeededCount or succeededIndexes must be specified")
        return
    number = None
    if named is not None:
        if len(named) > SUCCESS_INDEXES_MAX:
            yield too_long(f"{path}.succeededIndexes", SUCCESS_INDEXES_MAX)
            return
        try:
            number = count_indexes(named, completions)
        except IndexesError as error:
            yield bad_value(f"{path}.succeededIndexes", named, f"error parsing succeededIndexes: {error}")
    if count is not None and count > completions:
        message = f"must be less than or equal to {completions} (the number of specified completions)"
        yield bad_value(f"{path}.succeededCount", count, message)
    if count is not None and number is not None and count > number:
        message = (
            f"must be less than or equal to {number} (the number of indexes in the specified succeededIndexes field)"
        )
        yield bad_value(f"{path}.succeededCount", count, message)


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


def _rule_causes(path: str, rule: Mapped, containers: Sequence[Any], *, per_index: bool) -> Iterator[Cause]:
    if rule.get("action") == "FailIndex" and not per_index:
        message = "requires the backoffLimitPerIndex to be set"
        yield bad_value(f"{path}.action", "FailIndex", message)
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
