"""What is wrong with a pod or a pod template, beyond what a schema can say. Kubernetes' wording and paths."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from stark.crds.annotations import DEADLINE, STOP_WHEN_DISCONNECTED, AnnotationError, stop_when_disconnected_s
from stark.crds.names import env_name_problems, label_key_problems, label_value_problems, port_name_problems
from stark.crds.podfacts import deadline

from ..errors import Cause
from .complaints import bad_value, duplicate, not_allowed, not_supported, required
from .podspecs import CONTAINER_LISTS, FoundSpec, containers
from .validate_affinity import affinity_causes, spread_causes, tightening_causes, without_node_wishes
from .validate_lifecycle import lifecycle_causes, role_causes
from .validate_resources import resource_causes
from .validate_security import security_causes
from .validate_volumes import field_causes, resource_field_causes, volume_causes

PORT_MAX = 65_535
PROTOCOLS = ("SCTP", "TCP", "UDP")
VARIABLE_SOURCES = ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef")
BULK_SOURCES = ("configMapRef", "secretRef")

UPDATE_MESSAGE = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)

Mapped = Mapping[str, Any]


def pod_spec_causes(found: FoundSpec) -> Iterator[Cause]:
    """Every complaint about a pod spec, in a pod or in a template."""
    names: set[str] = set()
    host_ports: set[str] = set()
    for path, container in containers(found):
        name = container.get("name", "")
        if not name:
            yield required(f"{path}.name")
        elif name in names:
            yield duplicate(f"{path}.name", name)
        names.add(name)
        is_initial = path.startswith(f"{found.path}.initContainers[")
        # Init containers run one by one, so each may have the ports of the others.
        yield from _container_causes(path, container, set() if is_initial else host_ports)
        yield from lifecycle_causes(path, container, found.spec.get("terminationGracePeriodSeconds"))
        yield from role_causes(path, container, is_initial)
    try:
        stop_when_disconnected_s(found.metadata.get("annotations"))
    except AnnotationError as error:
        path = f"{found.path.removesuffix('spec')}metadata.annotations[{STOP_WHEN_DISCONNECTED}]"
        yield bad_value(path, found.metadata["annotations"][STOP_WHEN_DISCONNECTED], str(error).partition(": ")[2])
    yield from security_causes(found)
    yield from _toleration_causes(found.path, found.spec.get("tolerations") or ())
    yield from affinity_causes(f"{found.path}.affinity", found.spec.get("affinity") or {})
    constraints = found.spec.get("topologySpreadConstraints") or ()
    yield from spread_causes(f"{found.path}.topologySpreadConstraints", constraints)
    yield from labels_causes(f"{found.path}.nodeSelector", found.spec.get("nodeSelector") or {})
    yield from _gate_causes(f"{found.path}.schedulingGates", found.spec.get("schedulingGates") or ())
    yield from volume_causes(found)


def _gate_causes(path: str, gates: Iterable[Mapped]) -> Iterator[Cause]:
    names: set[str] = set()
    for index, gate in enumerate(gates):
        name = gate.get("name") or ""
        for problem in label_key_problems(name):
            yield bad_value(f"{path}[{index}].name", name, problem)
        if name in names:
            yield duplicate(f"{path}[{index}]", name)
        names.add(name)


def labels_causes(path: str, labels: Mapped) -> Iterator[Cause]:
    """Complaints about keys and values of labels."""
    for key, value in labels.items():
        for problem in label_key_problems(key):
            yield bad_value(path, key, problem)
        for problem in label_value_problems(str(value)):
            yield bad_value(path, value, problem)


def _container_causes(path: str, container: Mapped, host_ports: set[str]) -> Iterator[Cause]:
    image = container.get("image") or ""
    if not image.strip():
        yield required(f"{path}.image")
    elif image != image.strip():
        yield bad_value(f"{path}.image", image, "must not have leading or trailing whitespace")
    yield from _port_causes(f"{path}.ports", container.get("ports") or (), host_ports)
    for index, variable in enumerate(container.get("env") or ()):
        yield from _variable_causes(f"{path}.env[{index}]", variable)
    for index, source in enumerate(container.get("envFrom") or ()):
        yield from _one_source(f"{path}.envFrom[{index}]", source, BULK_SOURCES)
    yield from resource_causes(f"{path}.resources", container.get("resources") or {})


def _port_causes(path: str, ports: Iterable[Mapped], host_ports: set[str]) -> Iterator[Cause]:
    names: set[str] = set()
    for index, port in enumerate(ports):
        where = f"{path}[{index}]"
        name = port.get("name")
        if name:
            for problem in port_name_problems(name):
                yield bad_value(f"{where}.name", name, problem)
            if name in names:
                yield duplicate(f"{where}.name", name)
            names.add(name)
        for key, least in (("containerPort", 1), ("hostPort", 0)):
            number = port.get(key, least)
            if not least <= number <= PORT_MAX:
                yield bad_value(f"{where}.{key}", number, f"must be between 1 and {PORT_MAX}, inclusive")
        protocol = port.get("protocol") or "TCP"
        if protocol not in PROTOCOLS:
            yield not_supported(f"{where}.protocol", protocol, PROTOCOLS)
        if port.get("hostPort"):
            taken = f"{protocol}/{port.get('hostIP') or ''}/{port['hostPort']}"
            if taken in host_ports:
                yield duplicate(f"{where}.hostPort", taken)
            host_ports.add(taken)


def _variable_causes(path: str, variable: Mapped) -> Iterator[Cause]:
    name = variable.get("name") or ""
    if not name:
        yield required(f"{path}.name")
    else:
        for problem in env_name_problems(name):
            yield bad_value(f"{path}.name", name, problem)
    source = variable.get("valueFrom")
    if source is None:
        return
    if variable.get("value"):
        yield bad_value(f"{path}.valueFrom", "", "may not be specified when `value` is not empty")
    yield from _one_source(f"{path}.valueFrom", source, VARIABLE_SOURCES)
    if source.get("fieldRef"):
        yield from field_causes(f"{path}.valueFrom.fieldRef", source["fieldRef"])
    if source.get("resourceFieldRef"):
        yield from resource_field_causes(f"{path}.valueFrom.resourceFieldRef", source["resourceFieldRef"])


def _one_source(path: str, holder: Mapped, choices: tuple[str, ...]) -> Iterator[Cause]:
    given = [choice for choice in choices if holder.get(choice) is not None]
    if not given:
        spelled = [f"`{choice}`" for choice in choices]
        yield bad_value(path, "", f"must specify one of: {', '.join(spelled[:-1])} or {spelled[-1]}")
    elif len(given) > 1:
        yield bad_value(path, "", "may not have more than one field specified at a time")


def _toleration_causes(path: str, tolerations: Iterable[Mapped]) -> Iterator[Cause]:
    for index, toleration in enumerate(tolerations):
        where = f"{path}.tolerations[{index}]"
        key, operator = toleration.get("key") or "", toleration.get("operator") or "Equal"
        if key:
            for problem in label_key_problems(key):
                yield bad_value(f"{where}.key", key, problem)
        elif operator != "Exists":
            message = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
            yield bad_value(f"{where}.operator", toleration.get("operator") or "", message)
        if operator == "Exists" and toleration.get("value"):
            yield bad_value(f"{where}.operator", toleration["value"], "value must be empty when `operator` is 'Exists'")
        if toleration.get("tolerationSeconds") is not None and toleration.get("effect") != "NoExecute":
            message = "effect must be 'NoExecute' when `tolerationSeconds` is set"
            yield bad_value(f"{where}.effect", toleration.get("effect") or "", message)


def pod_causes(found: FoundSpec, old: Mapped | None) -> Iterator[Cause]:
    """Every complaint about a pod that is created, or updated from `old`."""
    yield from pod_spec_causes(found)
    yield from _due_causes(found.metadata.get("annotations") or {})
    if old is None and found.spec.get("schedulingGates") and found.spec.get("nodeName"):
        yield not_allowed("spec.nodeName", "cannot be set until all schedulingGates have been cleared")
    if old is not None:
        yield from pod_update_causes(found.spec, old.get("spec") or {})


def _due_causes(annotations: Mapped) -> Iterator[Cause]:
    due = annotations.get(DEADLINE)
    if due is not None and deadline(due) == math.inf:
        yield bad_value(f"metadata.annotations[{DEADLINE}]", due, "must be an RFC 3339 time with a zone")


def pod_update_causes(spec: Mapped, old: Mapped) -> Iterator[Cause]:
    """What may not change about a pod: everything but images, deadline, and tolerations that are added."""
    for key in CONTAINER_LISTS:
        if [c.get("name") for c in spec.get(key) or ()] != [c.get("name") for c in old.get(key) or ()]:
            yield not_allowed(f"spec.{key}", "pod updates may not add or remove containers")
            return
    yield from _deadline_causes(spec.get("activeDeadlineSeconds"), old.get("activeDeadlineSeconds"))
    kept = [_without_seconds(toleration) for toleration in spec.get("tolerations") or ()]
    if any(_without_seconds(toleration) not in kept for toleration in old.get("tolerations") or ()):
        yield not_allowed("spec.tolerations", "existing toleration can not be modified except its tolerationSeconds")
    known = {gate.get("name") for gate in old.get("schedulingGates") or ()}
    for index, gate in enumerate(spec.get("schedulingGates") or ()):
        if gate.get("name") not in known:
            message = f"only deletion is allowed, but found new scheduling gate '{gate.get('name')}'"
            yield not_allowed(f"spec.schedulingGates[{index}].name", message)
    if old.get("schedulingGates"):
        yield from tightening_causes(spec, old)
        spec, old = without_node_wishes(spec), without_node_wishes(old)
    if _frozen(spec) != _frozen(old):
        yield not_allowed("spec", UPDATE_MESSAGE)


def _deadline_causes(new: int | None, old: int | None) -> Iterator[Cause]:
    path = "spec.activeDeadlineSeconds"
    if old is None or new == old:
        return
    if new is None:
        yield bad_value(path, None, "must not update from a positive integer to nil value")
    elif new > old:
        yield bad_value(path, new, f"must be less than or equal to previous value {old}")


def _without_seconds(toleration: Mapped) -> dict[str, Any]:
    return {key: value for key, value in toleration.items() if key != "tolerationSeconds"}


def _frozen(spec: Mapped) -> dict[str, Any]:
    """The part of a pod spec that never changes; absent, null and empty are the same."""
    changeable = ("activeDeadlineSeconds", "tolerations", "schedulingGates")
    frozen = {key: value for key, value in spec.items() if key not in changeable and value not in (None, [], {}, "")}
    for key in ("containers", "initContainers"):
        if key in frozen:
            frozen[key] = [_frozen_container(container) for container in frozen[key]]
    return frozen


def _frozen_container(container: Mapped) -> dict[str, Any]:
    # The pull policy follows from the image when it is defaulted, so it may follow its change too.
    changeable = ("image", "imagePullPolicy")
    return {key: value for key, value in container.items() if key not in changeable and value not in (None, [], {}, "")}
