"""What is wrong with a pod's volumes and with where its containers mount them. Kubernetes' rules, wording and paths."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from stark.crds.names import dns_label_problems, label_key_problems
from stark.crds.quantity import QuantityError, parse_quantity

from ..errors import Cause
from .complaints import bad_value, duplicate, not_allowed, not_found, not_supported, required
from .podspecs import FoundSpec, containers

MODE_MAX: Final = 0o777
TOKEN_SECONDS_MIN: Final = 600
TOKEN_SECONDS_MAX: Final = 1 << 32
SOURCES: Final = ("emptyDir", "hostPath", "configMap", "secret", "downwardAPI", "projected")
PROJECTIONS: Final = ("secret", "configMap", "downwardAPI", "serviceAccountToken")
FILE_FIELDS: Final = ("metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid")
VARIABLE_FIELDS: Final = (
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
)
KNOWN_FIELDS: Final = {
    *FILE_FIELDS,
    *VARIABLE_FIELDS,
    "spec.restartPolicy",
    "spec.schedulerName",
    "status.phase",
}
"""Those that Kubernetes has a word for at all."""
RESOURCES: Final = (
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
)
_BYTES: Final = ("1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei")
DIVISORS: Final[Mapping[str, tuple[str, ...]]] = {"cpu": ("1m", "1"), "memory": _BYTES, "ephemeral-storage": _BYTES}
_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['([^']*)'\]")

Mapped = Mapping[str, Any]


def volume_causes(found: FoundSpec) -> Iterator[Cause]:
    """Every complaint about volumes and mounts, in a pod or in a template."""
    names: set[str] = set()
    for index, volume in enumerate(found.spec.get("volumes") or ()):
        path = f"{found.path}.volumes[{index}]"
        name = volume.get("name") or ""
        if not name:
            yield required(f"{path}.name")
        elif problems := dns_label_problems(name):
            yield from (bad_value(f"{path}.name", name, problem) for problem in problems)
        elif name in names:
            yield duplicate(f"{path}.name", name)
        names.add(name)
        yield from _source_causes(path, volume)
    for path, container in containers(found):
        yield from _mount_causes(f"{path}.volumeMounts", container.get("volumeMounts") or (), names)


def _source_causes(path: str, volume: Mapped) -> Iterator[Cause]:
    given = [source for source in SOURCES if volume.get(source) is not None]
    if not given:
        yield required(path, "must specify a volume type")
    for number, source in enumerate(given):
        where, told = f"{path}.{source}", volume[source]
        if number:
            yield not_allowed(where, "may not specify more than 1 volume type")
            continue
        match source:
            case "emptyDir":
                yield from _empty_dir_causes(where, told)
            case "hostPath":
                yield from _host_path_causes(where, told)
            case "configMap":
                yield from _named_causes(where, "name", told)
            case "secret":
                yield from _named_causes(where, "secretName", told)
            case "downwardAPI":
                yield from _mode_causes(f"{where}.defaultMode", told.get("defaultMode"))
                yield from _file_causes(f"{where}", told.get("items") or ())
            case _:
                yield from _projected_causes(where, told)


def _empty_dir_causes(path: str, told: Mapped) -> Iterator[Cause]:
    try:
        negative = parse_quantity(told.get("sizeLimit") or "0") < 0
    except QuantityError:
        negative = True
    if negative:
        yield not_allowed(f"{path}.sizeLimit", "SizeLimit field must be a valid resource quantity")


def _host_path_causes(path: str, told: Mapped) -> Iterator[Cause]:
    where = told.get("path") or ""
    if not where:
        yield required(f"{path}.path")
    elif ".." in where.split("/"):
        yield bad_value(f"{path}.path", where, "must not contain '..'")


def _named_causes(path: str, key: str, told: Mapped, *, with_mode: bool = True) -> Iterator[Cause]:
    if not told.get(key):
        yield required(f"{path}.{key}")
    if with_mode:
        yield from _mode_causes(f"{path}.defaultMode", told.get("defaultMode"))
    for index, item in enumerate(told.get("items") or ()):
        where = f"{path}.items[{index}]"
        if not item.get("key"):
            yield required(f"{where}.key")
        if not item.get("path"):
            yield required(f"{where}.path")
        else:
            yield from _local_causes(f"{where}.path", item["path"])
        yield from _mode_causes(f"{where}.mode", item.get("mode"))


def _file_causes(path: str, items: Iterable[Mapped]) -> Iterator[Cause]:
    for item in items:
        if not item.get("path"):
            yield required(f"{path}.path")
        else:
            yield from _local_causes(f"{path}.path", item["path"])
        field, resource = item.get("fieldRef"), item.get("resourceFieldRef")
        if field is not None:
            yield from field_causes(f"{path}.fieldRef", field, FILE_FIELDS)
            if resource is not None:
                message = "fieldRef and resourceFieldRef can not be specified simultaneously"
                yield bad_value(f"{path}", "resource", message)
        elif resource is not None:
            yield from resource_field_causes(f"{path}.resourceFieldRef", resource, in_volume=True)
        else:
            yield required(f"{path}", "one of fieldRef and resourceFieldRef is required")
        yield from _mode_causes(f"{path}.mode", item.get("mode"))


def field_causes(path: str, told: Mapped, supported: tuple[str, ...] = VARIABLE_FIELDS) -> Iterator[Cause]:
    """Complaints about a fieldRef; `supported` beside single labels and annotations."""
    field = told.get("fieldPath") or ""
    if not field:
        yield required(f"{path}.fieldPath")
        return
    subscript = _SUBSCRIPT.fullmatch(field)
    if subscript is None:
        if field not in KNOWN_FIELDS:
            message = f"error converting fieldPath: field label not supported: {field}"
            yield bad_value(f"{path}.fieldPath", field, message)
        elif field not in supported:
            yield not_supported(f"{path}.fieldPath", field, supported)
        return
    key = subscript.group(2)
    for problem in label_key_problems(key.lower() if subscript.group(1) == "annotations" else key):
        yield bad_value(path, key, problem)


def resource_field_causes(path: str, told: Mapped, *, in_volume: bool = False) -> Iterator[Cause]:
    """Complaints about a resourceFieldRef."""
    resource = told.get("resource") or ""
    if in_volume and not told.get("containerName"):
        yield required(f"{path}.containerName")
    elif not resource:
        yield required(f"{path}.resource")
    elif resource not in RESOURCES:
        yield not_supported(f"{path}.resource", resource, RESOURCES)
        return
    kind = resource.partition(".")[2]
    divisor = str(told.get("divisor") or "0")
    if kind not in DIVISORS or divisor == "0":
        return
    if parse_quantity(divisor) not in [parse_quantity(each) for each in DIVISORS[kind]]:
        shown = "1m and 1" if kind == "cpu" else ", ".join(DIVISORS[kind])
        label = "local ephemeral storage" if kind == "ephemeral-storage" else kind
        message = f"only divisor's values {shown} are supported with the {label} resource"
        yield bad_value(f"{path}.divisor", divisor, message)


def _projected_causes(path: str, told: Mapped) -> Iterator[Cause]:
    yield from _mode_causes(f"{path}.defaultMode", told.get("defaultMode"))
    taken: set[str] = set()
    for index, source in enumerate(told.get("sources") or ()):
        where = f"{path}.sources[{index}]"
        given = [kind for kind in PROJECTIONS if source.get(kind) is not None]
        if not given:
            yield required(where, "must specify a volume type")
        for number, kind in enumerate(given):
            if number:
                yield not_allowed(f"{where}.{kind}", "may not specify more than 1 volume type per source")
                continue
            yield from _projection_causes(f"{where}.{kind}", kind, source[kind])
            for one in [source[kind]] if kind == "serviceAccountToken" else source[kind].get("items") or ():
                target = one.get("path") or ""
                if target and target in taken:
                    yield bad_value(path, source[kind].get("name") or target, "conflicting duplicate paths")
                taken.add(target)


def _projection_causes(path: str, kind: str, told: Mapped) -> Iterator[Cause]:
    if kind in ("secret", "configMap"):
        yield from _named_causes(path, "name", told, with_mode=False)
    elif kind == "downwardAPI":
        yield from _file_causes(path, told.get("items") or ())
    else:
        seconds = told.get("expirationSeconds")
        if seconds is not None and seconds < TOKEN_SECONDS_MIN:
            yield bad_value(f"{path}.expirationSeconds", seconds, "may not specify a duration less than 10 minutes")
        if seconds is not None and seconds > TOKEN_SECONDS_MAX:
            message = "may not specify a duration larger than 2^32 seconds"
            yield bad_value(f"{path}.expirationSeconds", seconds, message)
        if not told.get("path"):
            yield required(f"{path}.path")
        else:
            yield from _local_causes(f"{path}.path", told["path"])


def _mode_causes(path: str, mode: int | None) -> Iterator[Cause]:
    if mode is not None and not 0 <= mode <= MODE_MAX:
        yield bad_value(path, mode, "must be a number between 0 and 0777 (octal), both inclusive")


def _local_causes(path: str, target: str) -> Iterator[Cause]:
    """A path within a volume that is written by us: our own names in it begin with two dots."""
    yield from _relative_causes(path, target)
    # An element ".." was told above.
    if target.startswith("..") and not target.startswith("../") and target != "..":
        yield bad_value(path, target, "must not start with '..'")


def _relative_causes(path: str, target: str) -> Iterator[Cause]:
    if target.startswith("/"):
        yield bad_value(path, target, "must be a relative path")
    if ".." in target.split("/"):
        yield bad_value(path, target, "must not contain '..'")


def _mount_causes(path: str, mounts: Iterable[Mapped], volumes: set[str]) -> Iterator[Cause]:
    taken: set[str] = set()
    for index, mount in enumerate(mounts):
        where = f"{path}[{index}]"
        name, target = mount.get("name") or "", mount.get("mountPath") or ""
        if not name:
            yield required(f"{where}.name")
        elif name not in volumes:
            yield not_found(f"{where}.name", name)
        if not target:
            yield required(f"{where}.mountPath")
        elif target in taken:
            yield bad_value(f"{where}.mountPath", target, "must be unique")
        taken.add(target)
        if mount.get("subPath"):
            yield from _relative_causes(f"{where}.subPath", mount["subPath"])
        if mount.get("subPathExpr"):
            if mount.get("subPath"):
                yield bad_value(
                    f"{where}.subPathExpr", mount["subPathExpr"], "subPathExpr and subPath are mutually exclusive"
                )
            yield from _relative_causes(f"{where}.subPathExpr", mount["subPathExpr"])
