"""Every label and annotation that Stark reads or writes on an object, with its type and who writes it.

Kubernetes' own kinds have no room for our fields (typed clients forbid extra ones), so what Stark adds to them stands
here, under `stark.dev/`. A word that is not in this module is not ours. Free of pydantic.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

PREFIX = "stark.dev/"

# ---- Labels of nodes, written by the agent ----

HOSTNAME = "kubernetes.io/hostname"
"""Label: the machine's name."""
ARCH = "kubernetes.io/arch"
"""Label: Go's name of the processor, amd64, arm64 or riscv64."""
OS = "kubernetes.io/os"
"""Label: Go's name of the operating system, e.g. linux."""
NODE_TYPE = "stark.dev/node-type"
"""Label: `server` or `browser`."""
NODE_TYPE_SERVER = "server"
NODE_TYPE_BROWSER = "browser"
RUNTIME_PREFIX = "stark.dev/runtime-"
"""Labels `stark.dev/runtime-<runtime>: <version>`: the node can run packs of that runtime."""
NODE_RUNTIMES = ("node", "python", "binary", "browser", "container")
"""What may follow RUNTIME_PREFIX. A universal pack needs `node` or `browser`, a container image `container`."""
ISOLATION_PREFIX = "stark.dev/isolation-"
"""Labels `stark.dev/isolation-<class>: "true"`: the node can give pods this class of isolation (docs/isolation.md)."""
ZONE = "topology.kubernetes.io/zone"
"""Label: the failure zone."""
SERVER = "stark.dev/server"
"""Label: name of the Server the node runs on."""


def runtime_label(runtime: str) -> str:
    """The label that says a node can run packs of this runtime: `stark.dev/runtime-node`."""
    return f"{RUNTIME_PREFIX}{runtime}"


# ---- Taints, written by the node-lifecycle controller ----

TAINT_NOT_READY = "node.kubernetes.io/not-ready"
"""Taint: the agent says that it is not ready."""
TAINT_UNREACHABLE = "node.kubernetes.io/unreachable"
"""Taint: the agent says nothing any more."""
TAINT_UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
"""Taint: the node is cordoned."""
TAINT_MEMORY_PRESSURE = "node.kubernetes.io/memory-pressure"
"""Taint: the node is short of memory."""
TAINT_DISK_PRESSURE = "node.kubernetes.io/disk-pressure"
"""Taint: the node is short of disk."""

# ---- Whatever explains itself ----

DESCRIPTION = "kubernetes.io/description"
"""Annotation: what the object is for, for people; on the authority's ConfigMap in every namespace."""

# ---- Pods ----

PORTS = "stark.dev/ports"
"""Annotation of pods, written by the agent: JSON {"<port name or number>": hostPort}."""
ISOLATION = "stark.dev/isolation"
"""Annotation of pods, written by users: the class of isolation they must have, `process`, `strict` or `trusted`. Annotation
of nodes, written by the agent: how limits and users are enforced there, as JSON."""
EFFECTIVE_ISOLATION = "stark.dev/effective-isolation"
"""Annotation of pods, written by the agent: the class of isolation the pod has."""
PLACEMENT = "stark.dev/placement"
"""Annotation of a pod in the answer to a dry run, never stored: JSON, where it would go and why (docs/scheduling.md)."""
VERSION_HISTORY = "stark.dev/version-history"
"""Annotation of pods, written by `starkctl pod rollback`: JSON list of {"at", "from", "to", "reason"}, the oldest first."""
STOP_WHEN_DISCONNECTED = "stark.dev/stop-when-disconnected-seconds"
"""Annotation of pods, written by users: the agent stops the pod when the API server has taken no heartbeat for so long."""
POD_TEMPLATE_HASH = "pod-template-hash"
"""Label of ReplicaSets and pods, written by the deployment controller: which template they come from."""
POD_GROUP = "stark.dev/pod-group"
"""Label of pods, written by users: name of the PodGroup in their namespace with which they are placed, all or none."""
DEADLINE = "stark.dev/deadline"
"""Annotation of pods, written by the job controller and users: RFC 3339 time by which the work must be done. Of waiting
pods of equal priority the one with the earliest deadline is placed first."""
CREATED_BY = "stark.dev/created-by"
"""Annotation of any object, written by the API server: name of the user who created it."""
OWNER = "stark.dev/owner"
"""Annotation of any object, written by the API server: name of the user whose it is."""
OWNER_ROLE = "stark.dev/owner-role"
"""Annotation of any object, written by the API server: `admin` when the owner was an administrator, `user` when the owner
could reach only what is their own, else absent."""

# ---- Nodes, whom they serve ----

ACCEPT_PUBLIC_PACKS = "stark.dev/accept-public-packs"
"""Annotation of nodes, written by their agents and owners: `false` keeps out public packs that other users run."""
OPEN_NODE = "stark.dev/open-to-all"
"""Annotation of nodes, written by administrators: `true` lets everybody's pods onto a node that has no owner."""

# ---- Roles, written by administrators ----

SCOPE = "stark.dev/scope"
"""Annotation of Roles and ClusterRoles: `own` grants their rules only on objects whose OWNER the asker is."""
SCOPE_OWN = "own"

# ---- Deployments, written by users ----

FOLLOW_LATEST = "stark.dev/follow-latest"
"""Annotation: `true` lets the deployment controller roll out every newer release of the pack."""
MODE = "stark.dev/mode"
"""Annotation: `DaemonSet` runs one pod on every matching node instead of `replicas` pods."""
MODE_DAEMON_SET = "DaemonSet"
MODE_REPLICAS = "Replicas"
"""The mode of a Deployment that says nothing of it."""
CRASH_LOOP = "stark.dev/crash-loop"
"""Annotation: JSON with when a version counts as broken and how long it is left alone; see `crash_loop.Settings`."""

ROLLOUT_ON_CHANGE = "stark.dev/rollout-on-change"
"""Annotation of a Deployment, DaemonSet or StatefulSet: `true` replaces its pods when what configures them changes."""

# ---- Deployments, written by controllers ----

CONFIG_VERSIONS = "stark.dev/config-versions"
"""Annotation of the same, written by the controller config-rollout: JSON {"secret/<name>": version}."""
CONFIG_CHECKSUM = "stark.dev/config-checksum"
"""Annotation of pod templates, written by the controller config-rollout: which versions caused the last rollout."""

REVISION = "deployment.kubernetes.io/revision"
"""Annotation of Deployments and ReplicaSets, written by the deployment controller: a counter of rollouts."""
DESIRED_REPLICAS = "deployment.kubernetes.io/desired-replicas"
"""Annotation of ReplicaSets, written by the deployment controller: replicas of the deployment when it was scaled."""
MAX_REPLICAS = "deployment.kubernetes.io/max-replicas"
"""Annotation of ReplicaSets, written by the deployment controller: desired replicas and surge."""
CHANGE_CAUSE = "kubernetes.io/change-cause"
"""Annotation of Deployments, written by users: why this revision was made; copied to its ReplicaSet."""
RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"
"""Annotation of pod templates, written by `rollout restart`: when."""
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
"""Annotation of any object, written by `apply`: the manifest as it was applied last."""
BLOCKED_VERSIONS = "stark.dev/blocked-versions"
"""Annotation of Deployments, written by the crash-loop controller: JSON list of BlockedVersion."""
LAST_SUCCESSFUL_VERSION = "stark.dev/last-successful-version"
"""Annotation of Deployments, written by the crash-loop controller: the version of the last rollout that held."""
LAST_SUCCESSFUL_PACK = "stark.dev/last-successful-pack"
"""Annotation of Deployments, written by the crash-loop controller: the pack whose version that is."""
LAST_SUCCESSFUL_TEMPLATE = "stark.dev/last-successful-template"
"""Annotation of Deployments, written by the crash-loop controller: the fingerprint of the template that held last."""
COUNTED_FAILURES = "stark.dev/counted-failures"
"""Annotation of Deployments, written by the crash-loop controller: JSON with the failures in a row of the present
template, and until when it is paused; see `crash_loop.Counted`."""
CRASH_LOOP_PAUSED = "stark.dev/crash-loop-paused"
"""Annotation of Deployments, written by the crash-loop controller: why it stopped them; `resume` removes it."""

KEPT_BY_UNDO = (
    FOLLOW_LATEST,
    MODE,
    CRASH_LOOP,
    ROLLOUT_ON_CHANGE,
    CONFIG_VERSIONS,
    BLOCKED_VERSIONS,
    LAST_SUCCESSFUL_VERSION,
    LAST_SUCCESSFUL_PACK,
    LAST_SUCCESSFUL_TEMPLATE,
)
"""Annotations of a Deployment that all its ReplicaSets carry as it does: `kubectl rollout undo` replaces a Deployment's
annotations by those of a ReplicaSet, and going back to a template must change neither a setting nor what is known."""
LIFTED_BY_UNDO = (COUNTED_FAILURES, CRASH_LOOP_PAUSED)
"""Annotations of a Deployment that none of its ReplicaSets carries: an undo is a new template, and ends them."""

# ---- Label values ----

NAMESPACE_NAME = "kubernetes.io/metadata.name"
"""Label of namespaces, written by the API server: their name, so that selectors can name them."""
MANAGED_BY = "app.kubernetes.io/managed-by"
"""Label of any object: the tool that keeps it."""

STOP_SECONDS_DIGITS_MAX = 9


class AnnotationError(ValueError):
    """An annotation's value is not what its declaration says; the message names it."""


def flag(annotations: Mapping[str, str] | None, key: str) -> bool:
    """Whether the annotation is there and `true`."""
    return (annotations or {}).get(key, "").lower() == "true"


@dataclass(frozen=True, slots=True)
class BlockedVersion:
    """A version that a deployment does not try again before a moment."""

    version: str
    """Of a pack, or the template's fingerprint where the version is not what changed."""
    until: str
    """RFC 3339. What is past blocks no more, and only remembers the attempts."""
    attempts: int
    """How often it has failed."""
    template: str = ""
    """Fingerprint of the template that failed last with it."""
    cause: str = ""
    """How it failed last, for people."""


def blocked_versions(annotations: Mapping[str, str] | None) -> tuple[BlockedVersion, ...]:
    """The blocked versions of a deployment. Raises AnnotationError when they are not readable."""
    body = _json(annotations, BLOCKED_VERSIONS, [])
    try:
        return tuple(_blocked_version(item) for item in body)
    except (TypeError, KeyError, ValueError, AttributeError, OverflowError) as error:
        raise AnnotationError(f"{BLOCKED_VERSIONS}: must be a JSON list of version, until and attempts") from error


def _blocked_version(item: Mapping[str, Any]) -> BlockedVersion:
    template, cause = str(item.get("template", "")), str(item.get("cause", ""))
    return BlockedVersion(str(item["version"]), str(item["until"]), int(item["attempts"]), template, cause)


def format_blocked_versions(blocked: tuple[BlockedVersion, ...]) -> str:
    """The annotation's value for blocked versions."""
    return json.dumps([asdict(each) for each in blocked], separators=(",", ":"))


def host_ports(annotations: Mapping[str, str] | None) -> dict[str, int]:
    """Port name or number -> port on the node, as the agent recorded it. Raises AnnotationError when unreadable."""
    body = _json(annotations, PORTS, {})
    try:
        return {str(name): int(port) for name, port in body.items()}
    except (AttributeError, TypeError, ValueError, OverflowError) as error:
        raise AnnotationError(f"{PORTS}: must be a JSON object of port numbers") from error


def stop_when_disconnected_s(annotations: Mapping[str, str] | None) -> int | None:
    """How long the pod may run without contact to the control plane; None: for ever. Raises AnnotationError."""
    text = (annotations or {}).get(STOP_WHEN_DISCONNECTED)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and 0 < len(text) <= STOP_SECONDS_DIGITS_MAX and int(text) > 0):
        raise AnnotationError(f"{STOP_WHEN_DISCONNECTED}: must be a whole number of seconds above 0, got {text!r}")
    return int(text)


def _json(annotations: Mapping[str, str] | None, key: str, default: Any) -> Any:
    text = (annotations or {}).get(key)
    if not text:
        return default
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise AnnotationError(f"{key}: is not JSON: {error}") from error
