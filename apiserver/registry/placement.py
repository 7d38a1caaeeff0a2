"""What is done to a pod through its own subresource, bound to a node; and a namespace's finalize."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import Cause
from ..times import timestamp
from . import metadata
from .options import Target, Writing, member
from .records import Stored
from .refusals import conflict, invalid_object
from .updating import check_version
from .writes import Writes

Object = dict[str, Any]


async def bind(writes: Writes, target: Target, binding: Mapping[str, Any], writing: Writing) -> Stored:
    """Give the pod its node, once. Raises Conflict when it has one, or is another pod, or is going away."""
    named = member(binding, "target")
    node, kind = named.get("name") or "", named.get("kind") or "Node"
    if kind != "Node":
        message = f'Unsupported value: "{kind}": supported values: "Node"'
        raise invalid_object(target.resource, target.name, [Cause("target.kind", message, "FieldValueNotSupported")])
    if not node:
        cause = Cause("target.name", "Required value", "FieldValueRequired")
        raise invalid_object(target.resource, target.name, [cause])
    meta = binding.get("metadata") or {}

    async def place(pod: Object) -> Object:
        _check_bindable(target, pod, meta, node)
        return _placed(pod, node, meta.get("annotations") or {})

    return await writes.mutate(target, place, writing)


def _check_bindable(target: Target, pod: Mapping[str, Any], meta: Mapping[str, Any], node: str) -> None:
    for field in ("uid", "resourceVersion"):
        if meta.get(field) and meta[field] != pod["metadata"][field]:
            actual = pod["metadata"][field]
            why = f"Precondition failed: {field} in precondition: {meta[field]}, {field} in object meta: {actual}"
            raise conflict(target.resource, target.name, why)
    if metadata.is_deleting(pod):
        raise conflict(
            target.resource, target.name, f"pod {target.name} is being deleted, cannot be assigned to a host"
        )
    if (pod.get("spec") or {}).get("schedulingGates"):
        raise conflict(target.resource, target.name, f"pod {target.name} has non-empty .spec.schedulingGates")
    bound = (pod.get("spec") or {}).get("nodeName")
    if bound:
        raise conflict(target.resource, target.name, f'pod {target.name} is already assigned to node "{bound}"')


def _placed(pod: Object, node: str, annotations: Mapping[str, str]) -> Object:
    meta, status = dict(pod["metadata"]), dict(pod.get("status") or {})
    if annotations:
        meta["annotations"] = {**(meta.get("annotations") or {}), **annotations}
    others = [item for item in status.get("conditions") or [] if item.get("type") != "PodScheduled"]
    moment = timestamp(metadata.now())
    scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": moment}
    status["conditions"] = [*others, scheduled]
    status.pop("nominatedNodeName", None)  # it has arrived
    return {**pod, "metadata": meta, "spec": {**pod["spec"], "nodeName": node}, "status": status}


async def finalize(writes: Writes, target: Target, namespace: Mapping[str, Any], writing: Writing) -> Stored:
    """Replace spec.finalizers of a namespace: who is done takes itself off the list. The last one ends it."""
    wanted = list((namespace.get("spec") or {}).get("finalizers") or [])
    given = {"metadata": namespace.get("metadata") or {}}

    async def replace(old: Object) -> Object:
        check_version(target, given, old, required=False)
        spec = {name: value for name, value in (old.get("spec") or {}).items() if name != "finalizers"}
        return {**old, "spec": {**spec, "finalizers": wanted} if wanted else spec}

    return await writes.mutate(target, replace, writing)
