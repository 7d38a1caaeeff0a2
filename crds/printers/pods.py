"""The rows of pods and nodes: what `kubectl get pods` calls Running, CrashLoopBackOff or Init:0/1, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from ..podcontainers import SIDECAR, lasting_written
from .base import (
    NONE,
    UNKNOWN,
    Cells,
    Object,
    age_of,
    condition_is_true,
    human_duration,
    meta_of,
    name_of,
    parse_time,
    spec_of,
    status_of,
)


def pod_cells(pod: Object, now: datetime) -> Cells:
    """Name, ready count, status, restarts, age, IP, node, nominated node, readiness gates."""
    summary = summarize_pod(pod)
    restarts = str(summary.restarts)
    if summary.restarts and summary.last_restart is not None:
        restarts = f"{summary.restarts} ({human_duration(now - summary.last_restart)} ago)"
    spec, status = spec_of(pod), status_of(pod)
    addresses: list[Object] = status.get("podIPs") or [{"ip": status.get("podIP")}]
    gates: list[Object] = spec.get("readinessGates") or []
    met = sum(condition_is_true(pod, gate.get("conditionType", "")) for gate in gates)
    return [
        name_of(pod),
        f"{summary.ready}/{sum(1 for _ in lasting_written(spec))}",
        summary.status,
        restarts,
        age_of(pod, now),
        addresses[0].get("ip") or NONE,
        spec.get("nodeName") or NONE,
        status.get("nominatedNodeName") or NONE,
        f"{met}/{len(gates)}" if gates else NONE,
    ]


@dataclass(slots=True)
class PodSummary:
    """What the STATUS, READY and RESTARTS columns say."""

    status: str
    ready: int = 0
    restarts: int = 0
    last_restart: datetime | None = None

    def count_restarts(self, container: Object) -> None:
        """Add one container's restarts, and remember when the last one was."""
        self.restarts += container.get("restartCount") or 0
        ended = ((container.get("lastState") or {}).get("terminated") or {}).get("finishedAt")
        moment = parse_time(ended)
        if moment is not None and (self.last_restart is None or moment > self.last_restart):
            self.last_restart = moment


def summarize_pod(pod: Object) -> PodSummary:
    """The status word of a pod as kubectl shows it, with its ready containers and restarts."""
    status = status_of(pod)
    summary = PodSummary(status.get("reason") or status.get("phase") or "")
    conditions: Iterable[Object] = status.get("conditions") or ()
    if any(c.get("type") == "PodScheduled" and c.get("reason") == "SchedulingGated" for c in conditions):
        summary.status = "SchedulingGated"
    initializing = _summarize_init(pod, summary)
    if not initializing or condition_is_true(pod, "Initialized"):
        # From here on the restarts of init containers are history; those of sidecars are not.
        summary.restarts, summary.last_restart = 0, None
        for status in status_of(pod).get("initContainerStatuses") or ():
            if status.get("name") in _sidecars(pod):
                summary.count_restarts(status)
        _summarize_containers(pod, summary)
    if meta_of(pod).get("deletionTimestamp"):
        if status.get("reason") == "NodeLost":
            summary.status = "Unknown"
        elif status.get("phase") not in ("Succeeded", "Failed"):
            summary.status = "Terminating"
    return summary


def _summarize_init(pod: Object, summary: PodSummary) -> bool:
    """Whether an init container is not done yet; the status word then says which."""
    sidecars = _sidecars(pod)
    for index, container in enumerate(status_of(pod).get("initContainerStatuses") or ()):
        summary.count_restarts(container)
        state = container.get("state") or {}
        ended, waiting = state.get("terminated"), (state.get("waiting") or {}).get("reason")
        if ended is not None and not ended.get("exitCode"):
            continue
        if container.get("started") and container.get("name") in sidecars:
            summary.ready += bool(container.get("ready"))
            continue
        if ended is not None:
            summary.status = f"Init:{_ended_word(ended)}"
        elif waiting and waiting != "PodInitializing":
            summary.status = f"Init:{waiting}"
        else:
            summary.status = f"Init:{index}/{len(spec_of(pod).get('initContainers') or ())}"
        return True
    return False


def _sidecars(pod: Object) -> frozenset[str]:
    initial: Iterable[Object] = spec_of(pod).get("initContainers") or ()
    return frozenset(container["name"] for container in initial if container.get("restartPolicy") == SIDECAR)


def _summarize_containers(pod: Object, summary: PodSummary) -> None:
    running = False
    for container in reversed(status_of(pod).get("containerStatuses") or ()):
        summary.count_restarts(container)
        state = container.get("state") or {}
        waiting, ended = (state.get("waiting") or {}).get("reason"), state.get("terminated")
        if waiting:
            summary.status = waiting
        elif ended is not None:
            summary.status = _ended_word(ended)
        elif container.get("ready") and state.get("running") is not None:
            running = True
            summary.ready += 1
    if running and summary.status == "Completed":
        summary.status = "Running" if condition_is_true(pod, "Ready") else "NotReady"


def _ended_word(ended: Object) -> str:
    if ended.get("reason"):
        return str(ended["reason"])
    return f"Signal:{ended['signal']}" if ended.get("signal") else f"ExitCode:{ended.get('exitCode', 0)}"


ROLE_PREFIX = "node-role.kubernetes.io/"
ROLE_LABEL = "kubernetes.io/role"


def node_roles(node: Object) -> list[str]:
    """The roles that a node's labels give it, sorted."""
    labels: Mapping[str, str] = meta_of(node).get("labels") or {}
    roles = {key.removeprefix(ROLE_PREFIX) for key in labels if key.startswith(ROLE_PREFIX) and key != ROLE_PREFIX}
    return sorted(roles | {value for key, value in labels.items() if key == ROLE_LABEL and value})


def node_status(node: Object) -> str:
    """`Ready`, `NotReady` or `Unknown`, with `,SchedulingDisabled` when it is cordoned."""
    conditions: Iterable[Object] = status_of(node).get("conditions") or ()
    ready = next((item for item in conditions if item.get("type") == "Ready"), None)
    word = "Unknown" if ready is None else "Ready" if ready.get("status") == "True" else "NotReady"
    return f"{word},SchedulingDisabled" if spec_of(node).get("unschedulable") else word


def node_cells(node: Object, now: datetime) -> Cells:
    """Name, status, roles, age, version, addresses, operating system, kernel, container runtime."""
    status = status_of(node)
    info: Object = status.get("nodeInfo") or {}
    addresses: Iterable[Object] = status.get("addresses") or ()
    by_type = {item.get("type"): item.get("address") for item in reversed(list(addresses))}
    return [
        name_of(node),
        node_status(node),
        ",".join(node_roles(node)) or NONE,
        age_of(node, now),
        info.get("kubeletVersion", ""),
        by_type.get("InternalIP") or NONE,
        by_type.get("ExternalIP") or NONE,
        info.get("osImage") or UNKNOWN,
        info.get("kernelVersion") or UNKNOWN,
        info.get("containerRuntimeVersion") or UNKNOWN,
    ]
