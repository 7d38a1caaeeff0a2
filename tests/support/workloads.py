"""Pods, nodes, ReplicaSets, Deployments and Jobs as a server would hold them, in one line each."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from stark.crds.apps import Deployment, ReplicaSet
from stark.crds.batch import Job
from stark.crds.meta import decode
from stark.crds.nodes import Node
from stark.crds.packs import Pack
from stark.crds.pods import Pod

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def at(seconds: float) -> str:
    """A time on the wire, `seconds` after NOW."""
    return (NOW + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def meta(name: str, *, created: float = 0, namespace: str | None = "default", **more: Any) -> dict[str, Any]:
    """Metadata with a uid made of the name."""
    return {
        "name": name,
        "uid": f"uid-{name}",
        "resourceVersion": "1",
        "creationTimestamp": at(created),
        **({"namespace": namespace} if namespace else {}),
        **more,
    }


def template(image: str = "pack.stark/web:1.0.0", **labels: str) -> dict[str, Any]:
    """A pod template."""
    return {
        "metadata": {"labels": {"app": "web", **labels}},
        "spec": {"containers": [{"name": "main", "image": image}]},
    }


def owned_by(name: str, kind: str = "ReplicaSet", api_version: str = "apps/v1") -> list[dict[str, Any]]:
    """Owner references with one controller."""
    return [
        {
            "apiVersion": api_version,
            "kind": kind,
            "name": name,
            "uid": f"uid-{name}",
            "controller": True,
            "blockOwnerDeletion": True,
        }
    ]


def pod(
    name: str,
    *,
    node: str = "",
    phase: str = "Pending",
    ready: float | None = None,
    spec: dict[str, Any] | None = None,
    metadata: dict[str, Any] | None = None,
    restarts: int = 0,
    created: float = 0,
) -> Pod:
    """A pod; `ready` is when it became ready, in seconds after NOW."""
    status: dict[str, Any] = {"phase": phase}
    if ready is not None:
        status["conditions"] = [{"type": "Ready", "status": "True", "lastTransitionTime": at(ready)}]
    if restarts:
        status["containerStatuses"] = [{"name": "main", "restartCount": restarts}]
    body = {
        "metadata": meta(name, created=created, **{"labels": {"app": "web"}, **(metadata or {})}),
        "spec": {**template()["spec"], **({"nodeName": node} if node else {}), **(spec or {})},
        "status": status,
    }
    return decode(body, Pod)


def node(
    name: str,
    *,
    ready: str | None = "True",
    spec: dict[str, Any] | None = None,
    labels: dict[str, str] | None = None,
) -> Node:
    """A node with 4 cores, 8 GiB and room for 110 pods; `ready` is its Ready condition's status."""
    amounts = {"cpu": "4", "memory": "8Gi", "pods": "110"}
    beat = {"lastHeartbeatTime": at(-10), "lastTransitionTime": at(-100)}
    conditions = [{"type": "Ready", "status": ready, "reason": "AgentReady", **beat}] if ready else []
    defaults = {"kubernetes.io/arch": "amd64", "stark.dev/runtime-node": "22"}
    wire_labels = {**defaults, **(labels or {})}
    body = {
        "metadata": meta(name, namespace=None, labels=wire_labels),
        "spec": spec or {},
        "status": {"capacity": amounts, "allocatable": amounts, "conditions": conditions},
    }
    return decode(body, Node)


def pack(
    name: str, version: str, *, runtime: str = "node", phase: str = "Available", architectures: Any = ("any",)
) -> Pack:
    """A pack."""
    bundles = [{"architecture": each, "sha256": "0" * 64, "size": 1} for each in architectures]
    body = {
        "metadata": meta(f"{name}.{version}", namespace=None),
        "spec": {"name": name, "version": version, "runtime": runtime, "bundles": bundles},
        "status": {"phase": phase},
    }
    return decode(body, Pack)


def deployment(
    replicas: int = 3,
    *,
    image: str = "pack.stark/web:1.0.0",
    spec: dict[str, Any] | None = None,
    status: dict[str, Any] | None = None,
    metadata: dict[str, Any] | None = None,
) -> Deployment:
    """A Deployment named web."""
    body = {
        "metadata": meta("web", generation=1, **(metadata or {})),
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": template(image),
            **(spec or {}),
        },
        "status": status or {},
    }
    return decode(body, Deployment)


def replica_set(
    name: str,
    replicas: int,
    *,
    image: str = "pack.stark/web:1.0.0",
    there: int | None = None,
    available: int | None = None,
    revision: int = 1,
    desired: int | None = None,
    most: int | None = None,
    created: float = 0,
    spec: dict[str, Any] | None = None,
    status: dict[str, Any] | None = None,
    metadata: dict[str, Any] | None = None,
) -> ReplicaSet:
    """A ReplicaSet of the Deployment web; all its pods are there and available unless said otherwise."""
    there = replicas if there is None else there
    annotations = {"deployment.kubernetes.io/revision": str(revision)}
    if desired is not None:
        annotations["deployment.kubernetes.io/desired-replicas"] = str(desired)
    if most is not None:
        annotations["deployment.kubernetes.io/max-replicas"] = str(most)
    known = there if available is None else available
    body = {
        "metadata": meta(
            name,
            created=created,
            generation=1,
            annotations=annotations,
            ownerReferences=owned_by("web", "Deployment"),
            **(metadata or {}),
        ),
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web", "pod-template-hash": name}},
            "template": template(image, **{"pod-template-hash": name}),
            **(spec or {}),
        },
        "status": {
            "replicas": there,
            "readyReplicas": known,
            "availableReplicas": known,
            "observedGeneration": 1,
            **(status or {}),
        },
    }
    return decode(body, ReplicaSet)


def job(
    name: str = "sums",
    *,
    created: float = 0,
    spec: dict[str, Any] | None = None,
    status: dict[str, Any] | None = None,
    metadata: dict[str, Any] | None = None,
) -> Job:
    """A Job that began at NOW and has one pod to do."""
    labels = {"batch.kubernetes.io/controller-uid": f"uid-{name}"}
    inner = template(**labels)
    inner["spec"]["restartPolicy"] = "Never"
    body = {
        "metadata": meta(name, created=created, generation=1, **(metadata or {})),
        "spec": {
            "parallelism": 1,
            "completions": 1,
            "selector": {"matchLabels": labels},
            "template": inner,
            **(spec or {}),
        },
        "status": {"startTime": at(0)} if status is None else status,
    }
    return decode(body, Job)
