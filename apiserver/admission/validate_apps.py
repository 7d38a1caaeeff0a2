"""What is wrong with a workload: Deployments, ReplicaSets and other kinds that keep pods of a template running."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from stark.crds.annotations import CRASH_LOOP, FOLLOW_LATEST, MODE, MODE_DAEMON_SET, MODE_REPLICAS
from stark.crds.crash_loop import settings_problems
from stark.crds.names import dns_label_problems
from stark.crds.selectors import SelectorError, from_label_selector

from ..errors import Cause
from .complaints import bad_value, immutable, not_allowed, not_supported, required
from .podspecs import FoundSpec
from .validate_pods import labels_causes, pod_spec_causes

PERCENTAGE = re.compile(r"[0-9]+%")
STRATEGIES = ("Recreate", "RollingUpdate")
CHANGEABLE = ("replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit", "minReadySeconds")
"""What may change in the spec of a StatefulSet."""

Mapped = Mapping[str, Any]


def workload_causes(obj: Mapped, old: Mapped | None, found: FoundSpec | None) -> Iterator[Cause]:
    """Every complaint about a Deployment, ReplicaSet or DaemonSet."""
    spec = obj.get("spec") or {}
    if old is not None:
        yield from immutable("spec.selector", (old.get("spec") or {}).get("selector"), spec.get("selector"))
    yield from _pods_causes(spec, found, "deployment", "ReplicaSet")


def _pods_causes(spec: Mapped, found: FoundSpec | None, selecting: str, kind: str) -> Iterator[Cause]:
    """Complaints about selector and template; `selecting` and `kind` are what Kubernetes' messages say of the kind."""
    yield from _selector_causes(spec, found, selecting)
    if found is None:
        yield required("spec.template")
        return
    yield from labels_causes("spec.template.metadata.labels", found.metadata.get("labels") or {})
    yield from pod_spec_causes(found)
    restart_policy = found.spec.get("restartPolicy", "Always")
    if restart_policy != "Always":
        yield not_supported("spec.template.spec.restartPolicy", restart_policy, ["Always"])
    if found.spec.get("activeDeadlineSeconds") is not None:
        message = f"activeDeadlineSeconds in {kind} is not Supported"
        yield not_allowed("spec.template.spec.activeDeadlineSeconds", message)


def _selector_causes(spec: Mapped, found: FoundSpec | None, selecting: str) -> Iterator[Cause]:
    selector = spec.get("selector")
    if not selector:
        yield (
            required("spec.selector")
            if selector is None
            else bad_value("spec.selector", selector, f"empty selector is invalid for {selecting}")
        )
        return
    try:
        compiled = from_label_selector(selector)
    except SelectorError as error:
        yield bad_value("spec.selector", selector, str(error))
        return
    labels = found.metadata.get("labels") or {} if found is not None else {}
    if found is not None and not compiled.matches(labels):
        message = "`selector` does not match template `labels`"
        yield bad_value("spec.template.metadata.labels", labels, message)


def deployment_causes(obj: Mapped, old: Mapped | None, found: FoundSpec | None) -> Iterator[Cause]:
    """Every complaint about a Deployment."""
    yield from workload_causes(obj, old, found)
    yield from _setting_causes((obj.get("metadata") or {}).get("annotations") or {})
    spec = obj.get("spec") or {}
    yield from _strategy_causes(spec.get("strategy") or {})
    deadline, ready = spec.get("progressDeadlineSeconds"), spec.get("minReadySeconds") or 0
    if deadline is not None and deadline <= ready:
        yield bad_value("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds")


SETTINGS = {MODE: (MODE_DAEMON_SET, MODE_REPLICAS), FOLLOW_LATEST: ("false", "true")}
"""Annotations of a Deployment that have only these values."""


def _setting_causes(annotations: Mapped) -> Iterator[Cause]:
    for key, values in SETTINGS.items():
        if key in annotations and annotations[key] not in values:
            yield not_supported(f"metadata.annotations[{key}]", annotations[key], values)
    for problem in settings_problems(annotations[CRASH_LOOP]) if CRASH_LOOP in annotations else ():
        path = f"metadata.annotations[{CRASH_LOOP}]"
        yield bad_value(f"{path}.{problem.path}" if problem.path else path, problem.value, problem.message)


def daemonset_causes(obj: Mapped, old: Mapped | None, found: FoundSpec | None) -> Iterator[Cause]:
    """Every complaint about a DaemonSet."""
    yield from workload_causes(obj, old, found)
    strategy = (obj.get("spec") or {}).get("updateStrategy") or {}
    unavailable = (strategy.get("rollingUpdate") or {}).get("maxUnavailable")
    path = "spec.updateStrategy.rollingUpdate.maxUnavailable"
    yield from amount_causes(path, unavailable)
    if unavailable in (0, "0%"):
        yield bad_value(path, unavailable, "cannot be 0 when maxSurge is 0")


def statefulset_causes(obj: Mapped, old: Mapped | None, found: FoundSpec | None) -> Iterator[Cause]:
    """Every complaint about a StatefulSet."""
    spec = obj.get("spec") or {}
    if old is None:
        name = (obj.get("metadata") or {}).get("name") or ""
        for problem in dns_label_problems(name) if name else ():
            yield bad_value("metadata.name", name, problem)  # it becomes part of a hostname
    yield from _pods_causes(spec, found, "statefulset", "StatefulSet")
    yield from _ordered_update_causes(spec.get("updateStrategy") or {})
    if old is not None and _settled(spec) != _settled(old.get("spec") or {}):
        named = "', '".join(CHANGEABLE[:-1])
        message = f"updates to statefulset spec for fields other than '{named}' and '{CHANGEABLE[-1]}' are forbidden"
        yield not_allowed("spec", message)


def _settled(spec: Mapped) -> Mapped:
    return {name: value for name, value in spec.items() if name not in CHANGEABLE}


def _ordered_update_causes(strategy: Mapped) -> Iterator[Cause]:
    rolling, path = strategy.get("rollingUpdate"), "spec.updateStrategy.rollingUpdate"
    if rolling is None:
        return
    if strategy.get("type") == "OnDelete":
        yield bad_value(path, rolling, "only allowed for updateStrategy 'RollingUpdate'")
        return
    unavailable = rolling.get("maxUnavailable")
    yield from amount_causes(f"{path}.maxUnavailable", unavailable)
    if unavailable in (0, "0%"):
        yield bad_value(f"{path}.maxUnavailable", unavailable, "cannot be 0")
    if isinstance(unavailable, str) and PERCENTAGE.fullmatch(unavailable) and int(unavailable[:-1]) > 100:
        yield bad_value(f"{path}.maxUnavailable", unavailable, "must not be greater than 100%")


def revision_causes(obj: Mapped, old: Mapped | None, found: FoundSpec | None) -> Iterator[Cause]:
    """Every complaint about a ControllerRevision."""
    if old is not None:
        yield from immutable("data", old.get("data"), obj.get("data"))


def _strategy_causes(strategy: Mapped) -> Iterator[Cause]:
    kind, rolling = strategy.get("type") or "RollingUpdate", strategy.get("rollingUpdate")
    if kind not in STRATEGIES:
        yield not_supported("spec.strategy.type", kind, STRATEGIES)
    if rolling is None:
        return
    path = "spec.strategy.rollingUpdate"
    if kind == "Recreate":
        yield not_allowed(path, "may not be specified when strategy `type` is 'Recreate'")
        return
    for key in ("maxUnavailable", "maxSurge"):
        yield from amount_causes(f"{path}.{key}", rolling.get(key))
    unavailable, surge = rolling.get("maxUnavailable"), rolling.get("maxSurge")
    if unavailable in (0, "0%") and surge in (0, "0%"):
        yield bad_value(f"{path}.maxUnavailable", unavailable, "may not be 0 when `maxSurge` is 0")
    if isinstance(unavailable, str) and PERCENTAGE.fullmatch(unavailable) and int(unavailable[:-1]) > 100:
        yield bad_value(f"{path}.maxUnavailable", unavailable, "must not be greater than 100%")


def amount_causes(path: str, value: Any) -> Iterator[Cause]:
    """Complaints about a number of pods that may be a percentage."""
    if isinstance(value, int) and value < 0:
        yield bad_value(path, value, "must be greater than or equal to 0")
    elif isinstance(value, str) and not PERCENTAGE.fullmatch(value):
        message = (
            "a valid percent string must be a numeric string followed by an ending '%' "
            "(e.g. '1%', or '93%', regex used for validation is '[0-9]+%')"
        )
        yield bad_value(path, value, message)
