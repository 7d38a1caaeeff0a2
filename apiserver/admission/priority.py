"""Turn a pod's priority class into its number, once, and keep the classes apart.

A pod keeps the number it got: deleting a class later moves nobody. A number that is not its class's (without a class: the
default class's, or 0) is refused: who may jump the queue is decided with the classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stark.crds.pods import PRIORITY_MAX
from stark.crds.scheduling import SYSTEM_PRIORITY_CLASSES

from ..errors import Cause
from .attributes import Attributes, Lookup
from .complaints import bad_value, not_allowed, refused
from .podspecs import writes_pod

GROUP, CLASSES = "scheduling.k8s.io", "priorityclasses"
PREEMPT = "PreemptLowerPriority"
SYSTEM_PREFIX = "system-"
RESOLVED = ("priorityClassName", "priority", "preemptionPolicy")

Mapped = Mapping[str, Any]


async def pod_priority(attributes: Attributes, lookup: Lookup) -> None:
    """Fill in priority, class and preemption policy of a new pod; on update keep what it has."""
    if not writes_pod(attributes) or attributes.object is None:
        return
    spec = attributes.object.get("spec") or {}
    if attributes.operation == "UPDATE":
        old = (attributes.old or {}).get("spec") or {}
        for field in RESOLVED:
            if spec.get(field) in (None, "") and field in old:
                spec[field] = old[field]
        return
    chosen = await _class_of(attributes, lookup, spec)
    value = int(chosen["value"]) if chosen else 0
    if chosen is not None:
        spec["priorityClassName"] = chosen["metadata"]["name"]
        policy = chosen.get("preemptionPolicy") or PREEMPT
        if spec.get("preemptionPolicy") not in (None, policy):
            given = spec["preemptionPolicy"]
            raise refused(attributes, _mismatch("string value of PreemptionPolicy", given, policy))
        spec["preemptionPolicy"] = policy
    if spec.get("priority") not in (None, value):
        raise refused(attributes, _mismatch("integer value of priority", spec["priority"], value))
    spec["priority"] = value
    spec.setdefault("preemptionPolicy", PREEMPT)


def _mismatch(what: str, given: Any, computed: Any) -> str:
    return (
        f"the {what} ({given}) must not be provided in pod spec; "
        f"priority admission controller computed {computed} from the given PriorityClass name"
    )


async def _class_of(attributes: Attributes, lookup: Lookup, spec: Mapped) -> Mapped | None:
    """The class the pod names, or the global default for a pod that says nothing."""
    name = spec.get("priorityClassName")
    if name:
        found = await lookup.get(GROUP, CLASSES, "", name)
        if found is None:
            raise refused(attributes, f"no PriorityClass with name {name} was found")
        return found
    defaults = [each for each in await lookup.list(GROUP, CLASSES) if each.get("globalDefault")]
    # Two defaults can only come of two servers at once; then the lower is the safer, as in Kubernetes.
    return min(defaults, key=lambda each: int(each["value"]), default=None)


async def priority_classes(attributes: Attributes, lookup: Lookup) -> None:
    """Refuse a second global default, and the deletion of a system class."""
    if (attributes.resource.group, attributes.resource.plural) != (GROUP, CLASSES):
        return
    if attributes.operation == "DELETE":
        if attributes.name in SYSTEM_PRIORITY_CLASSES:
            raise refused(attributes, "this is a system priority class and cannot be deleted")
        return
    if attributes.object is None or not attributes.object.get("globalDefault"):
        return
    own = attributes.object["metadata"].get("name")
    for other in await lookup.list(GROUP, CLASSES):
        if other.get("globalDefault") and other["metadata"]["name"] != own:
            raise refused(attributes, f"PriorityClass {other['metadata']['name']} is already marked as default")


def priority_class_causes(obj: Mapped, old: Mapped | None) -> Iterator[Cause]:
    """Every complaint about a PriorityClass."""
    name, value = obj["metadata"].get("name") or "", obj.get("value") or 0
    if name.startswith(SYSTEM_PREFIX):
        if SYSTEM_PRIORITY_CLASSES.get(name) != value:
            message = "priority class names with 'system-' prefix are reserved for system use only"
            yield not_allowed("metadata.name", message)
    elif value > PRIORITY_MAX:
        yield not_allowed("value", f"maximum allowed value of a user defined priority is {PRIORITY_MAX}")
    if old is None:
        return
    if value != (old.get("value") or 0):
        yield not_allowed("value", "may not be changed in an update.")
    policy = obj.get("preemptionPolicy") or PREEMPT
    if policy != (old.get("preemptionPolicy") or PREEMPT):
        yield bad_value("preemptionPolicy", policy, "field is immutable")
