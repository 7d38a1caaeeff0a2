"""Which pods a drain takes off a node, and which stay or need a word from a person. kubectl's filters (pkg/drain).

Works on objects in wire form, for `starkctl drain` and for the controller node-maintenance. Free of pydantic.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Mapped = Mapping[str, Any]
FINISHED = ("Succeeded", "Failed")
BUDGET_CAUSE = "DisruptionBudget"
"""Reason of the cause in a refusal by a disruption budget."""


@dataclass(frozen=True, slots=True)
class DrainRules:
    """What whoever drains agrees to."""

    ignore_daemon_sets: bool = False
    """Leave pods of DaemonSets where they are: they would come back at once."""
    force: bool = False
    """Take pods that have no controller, and that nobody makes again."""
    delete_empty_dir: bool = False
    """Take pods whose emptyDir volumes are lost with them."""
    skip_deleted_s: float = 0.0
    """Do not wait for pods that have been on their way out for longer than that; 0: wait for all."""


@dataclass(frozen=True, slots=True)
class DrainPlan:
    """What becomes of a node's pods."""

    go: Sequence[Mapped] = ()
    ignored: Sequence[Mapped] = ()
    """Pods of DaemonSets, which stay."""
    unmanaged: Sequence[Mapped] = ()
    """Pods without a controller that go all the same."""
    refusals: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Why it cannot be done: the complaint, and the pods it is about as `<namespace>/<name>`."""


DAEMON_REFUSAL = "cannot delete DaemonSet-managed Pods (use --ignore-daemonsets to ignore)"
UNMANAGED_REFUSAL = "cannot delete Pods that declare no controller (use --force to override)"
STORAGE_REFUSAL = "cannot delete Pods with local storage (use --delete-emptydir-data to override)"


def plan_drain(
    pods: Iterable[Mapped], rules: DrainRules, deleted_for_s: Mapping[str, float] | None = None
) -> DrainPlan:
    """Sort a node's pods. `deleted_for_s`: by uid, for how long those on their way out have been."""
    go: list[Mapped] = []
    ignored: list[Mapped] = []
    unmanaged: list[Mapped] = []
    refusals: dict[str, list[str]] = {}
    for pod in pods:
        since_s = (deleted_for_s or {}).get(pod["metadata"]["uid"])
        if rules.skip_deleted_s and since_s is not None and since_s > rules.skip_deleted_s:
            continue
        is_over = (pod.get("status") or {}).get("phase") in FINISHED
        owner = controller_of(pod)
        if owner is not None and owner.get("kind") == "DaemonSet" and not is_over:
            ignored.append(pod)
            if not rules.ignore_daemon_sets:
                refusals.setdefault(DAEMON_REFUSAL, []).append(pod_key(pod))
            continue
        if owner is None and not is_over:
            unmanaged.append(pod)
            if not rules.force:
                refusals.setdefault(UNMANAGED_REFUSAL, []).append(pod_key(pod))
                continue
        volumes = (pod.get("spec") or {}).get("volumes") or ()
        if not is_over and not rules.delete_empty_dir and any(volume.get("emptyDir") is not None for volume in volumes):
            refusals.setdefault(STORAGE_REFUSAL, []).append(pod_key(pod))
            continue
        go.append(pod)
    return DrainPlan(go, ignored, unmanaged, refusals)


def controller_of(pod: Mapped) -> Mapped | None:
    """The owner that makes the pod again when it is gone."""
    owners = (pod.get("metadata") or {}).get("ownerReferences") or ()
    return next((owner for owner in owners if owner.get("controller")), None)


def pod_key(pod: Mapped) -> str:
    """`<namespace>/<name>`."""
    return f"{pod['metadata'].get('namespace', '')}/{pod['metadata']['name']}"


def budget_complaint(status: Mapped) -> str:
    """What a disruption budget said in a refusal; empty when it was none of its."""
    causes = (status.get("details") or {}).get("causes") or ()
    return next((str(cause.get("message") or "") for cause in causes if cause.get("reason") == BUDGET_CAUSE), "")


def eviction_of(pod: Mapped, grace_s: int | None = None, *, dry_run: bool = False) -> dict[str, Any]:
    """The body that asks for a pod's eviction: this very pod, not a namesake that came later."""
    options: dict[str, Any] = {"preconditions": {"uid": pod["metadata"]["uid"]}}
    if grace_s is not None:
        options["gracePeriodSeconds"] = grace_s
    if dry_run:
        options["dryRun"] = ["All"]
    meta = {"name": pod["metadata"]["name"], "namespace": pod["metadata"].get("namespace", "")}
    return {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": meta, "deleteOptions": options}
