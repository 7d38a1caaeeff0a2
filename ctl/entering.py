"""Which pod and container `exec`, `attach`, `cp` and `port-forward` mean, in kubectl's words."""

from __future__ import annotations

import sys
from typing import Any

from stark.crds.podcontainers import every_written

from .errors import CommandError
from .options import Session
from .targets import parse_targets

DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"


def pod_of(session: Session, word: str) -> dict[str, Any]:
    """The pod `POD` or `pod/POD`, or of a workload `TYPE/NAME` the oldest that is ready. Raises CommandError."""
    (target,) = parse_targets([word if "/" in word else f"pods/{word}"], session.catalog)
    name = target.names[0]
    found = session.api.get(target.kind.path(session.namespace, name))
    if target.kind.plural == "pods":
        return found
    spec = found.get("spec") or {}
    selector = spec.get("selector") or {}
    labels = selector if target.kind.plural == "services" else selector.get("matchLabels")
    if not labels:
        raise CommandError(f"cannot attach to {target.kind.label}/{name}: it has no selector, and so no pods")
    text = ",".join(f"{key}={value}" for key, value in labels.items())
    pods = session.api.get(f"/api/v1/namespaces/{session.namespace}/pods", labelSelector=text).get("items") or []
    if not pods:
        raise CommandError(f"{target.kind.label}/{name} has no pods yet: `starkctl describe` it to learn why")
    chosen: dict[str, Any] = min(
        pods, key=lambda pod: (not _ready(pod), pod["metadata"]["creationTimestamp"], pod["metadata"]["name"])
    )
    return chosen


def enterable(pod: dict[str, Any], what: str) -> None:
    """Refuse a pod whose containers have all ended. Raises CommandError."""
    phase = (pod.get("status") or {}).get("phase")
    if phase in ("Succeeded", "Failed"):
        raise CommandError(f"cannot {what} a container in a completed pod; current phase is {phase}")


def container_of(pod: dict[str, Any], asked: str, *, quiet: bool = False) -> dict[str, Any]:
    """The container named, else the annotated one, else the first, which is then said. Raises CommandError."""
    containers = list(every_written(pod["spec"]))
    names = [container["name"] for container in containers]
    name = asked or str((pod["metadata"].get("annotations") or {}).get(DEFAULT_CONTAINER) or "")
    if not name or (name not in names and not asked):
        name = pod["spec"]["containers"][0]["name"]
        if len(names) > 1 and not quiet:
            print(f'Defaulted container "{name}" out of: {", ".join(names)}', file=sys.stderr)
    if name not in names:
        raise CommandError(f"container {name} not found in pod {pod['metadata']['name']}")
    return dict(containers[names.index(name)])


def path_of(pod: dict[str, Any], subresource: str) -> str:
    """Where the pod's streams are."""
    metadata = pod["metadata"]
    return f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}/{subresource}"


def _ready(pod: dict[str, Any]) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)
