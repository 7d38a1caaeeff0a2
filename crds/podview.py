"""The originals' nine pod states and their termination reasons, as a view of what Kubernetes' status says.

Nothing stores them: phases, conditions and reasons are what is kept, and this is the one place that reads them so.
Works on objects in wire form, so that the API server's facade, starkctl and controllers share it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from .podcontainers import SIDECAR

PodState = Literal["pending", "scheduled", "starting", "running", "stopping", "stopped", "failed", "evicted", "unknown"]

EVICTED = "Evicted"
PREEMPTED = "Preempted"
NODE_LOST = "NodeLost"
NODE_DISCONNECTED = "NodeDisconnected"
"""The agent stopped it because it had lost contact, as the pod asked for."""

EVICTION_REASONS = frozenset({EVICTED, PREEMPTED, "Preempting", "NodeDraining", "NodeMaintenance", "NodeUnhealthy"})
"""status.reason of a failed pod that was sent away rather than failed by itself."""

TERMINATION_REASONS: Mapping[str, str] = {
    NODE_LOST: "node_lost",
    NODE_DISCONNECTED: "node_lost",
    "NodeUnhealthy": "node_unhealthy",
    "NodeDraining": "node_draining",
    "NodeMaintenance": "node_maintenance",
    "NodeShutdown": "node_maintenance",
    EVICTED: "evicted_resources",
    PREEMPTED: "preempted",
    "Preempting": "preempted",
    "UserStopped": "user_stopped",
    "RollingUpdate": "rolling_update",
    "ScaledDown": "scaled_down",
    "DeploymentDeleted": "deployment_deleted",
    "Error": "error",
    "Unhealthy": "error",
    "InitError": "init_error",
    "FailedPostStartHook": "init_error",
    "ContainerCannotRun": "init_error",
    "CreateContainerError": "init_error",
    "RunContainerError": "init_error",
    "StartError": "init_error",
    "ConfigError": "config_error",
    "CreateContainerConfigError": "config_error",
    "PackLoadError": "pack_load_error",
    "PackNotFound": "pack_load_error",
    "ErrImagePull": "pack_load_error",
    "ImagePullBackOff": "pack_load_error",
    "InvalidImageName": "pack_load_error",
    "SignatureValidationFailed": "pack_load_error",
    "OOMKilled": "oom_killed",
    "DeadlineExceeded": "deadline_exceeded",
    "QuotaExceeded": "quota_exceeded",
    "Completed": "completed",
}
"""Kubernetes' reason word -> the originals'. What is not here is `unknown`."""

APPLICATION_REASONS = frozenset(
    {"error", "init_error", "config_error", "pack_load_error", "oom_killed", "deadline_exceeded"}
)
"""Reasons that are the program's own fault. Only these, and no reason at all, count towards a crash loop."""


def pod_state(pod: Mapping[str, Any]) -> PodState:
    """The state of a pod in wire form."""
    meta, spec, status = (pod.get(part) or {} for part in ("metadata", "spec", "status"))
    phase, reason = status.get("phase", "Pending"), status.get("reason", "")
    if phase == "Succeeded":
        return "stopped"
    if phase == "Failed":
        return "evicted" if reason in EVICTION_REASONS else "failed"
    if phase == "Unknown" or reason == NODE_LOST:
        return "unknown"
    if meta.get("deletionTimestamp"):
        return "stopping"
    if phase == "Running":
        return "running"
    if not spec.get("nodeName"):
        return "pending"
    return "starting" if status.get("startTime") else "scheduled"


def termination_reason(pod: Mapping[str, Any]) -> str | None:
    """Why a pod in wire form ended, in the originals' words; None while it has not ended or when it does not say."""
    status = pod.get("status") or {}
    if status.get("phase") not in ("Succeeded", "Failed"):
        return None
    if status.get("reason"):
        return TERMINATION_REASONS.get(status["reason"], "unknown")
    initializing = _initializing_reason(pod) if status["phase"] == "Failed" else None
    if initializing is not None:
        return initializing
    reasons = [TERMINATION_REASONS.get(reason, "unknown") for reason in _container_reasons(status)]
    if status["phase"] == "Succeeded":
        return "completed"
    return next((reason for reason in reasons if reason != "completed"), None)


def _initializing_reason(pod: Mapping[str, Any]) -> str | None:
    """Why an init container ended badly, so that the containers never had their turn; None when none did.

    How sidecars end is nobody's business: they are stopped with the pod.
    """
    initial = (pod.get("spec") or {}).get("initContainers") or ()
    ending = {container["name"] for container in initial if container.get("restartPolicy") != SIDECAR}
    for each in (pod.get("status") or {}).get("initContainerStatuses") or ():
        ended = (each.get("state") or {}).get("terminated") or {}
        if each["name"] in ending and ended.get("exitCode"):
            reason = TERMINATION_REASONS.get(ended.get("reason") or "", "error")
            return "init_error" if reason == "error" else reason
    return None


def counts_as_crash(pod: Mapping[str, Any]) -> bool:
    """Whether a failed pod in wire form is evidence of a crash loop."""
    if (pod.get("status") or {}).get("phase") != "Failed":
        return False
    reason = termination_reason(pod)
    return reason is None or reason in APPLICATION_REASONS


def _container_reasons(status: Mapping[str, Any]) -> Iterator[str]:
    for container in status.get("containerStatuses") or ():
        state = container.get("state") or {}
        found = state.get("terminated") or state.get("waiting") or {}
        if found.get("reason"):
            yield found["reason"]
