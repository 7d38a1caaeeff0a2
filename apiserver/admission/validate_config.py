"""What is wrong with a ConfigMap, a Secret or a Node, above all with how they change."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from itertools import filterfalse
from typing import Any

from stark.crds.annotations import PREFIX
from stark.crds.config import CONFIG_SIZE_MAX
from stark.crds.incarnations import INCARNATION, incarnation_of, parse_number
from stark.crds.names import config_key_problems, is_config_key, label_key_problems, label_value_problems

from ..errors import Cause
from .complaints import bad_value, duplicate, immutable, not_allowed, required, too_long

SECRET_KEYS: Mapping[str, tuple[str, ...]] = {
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
}
"""Types of Secret that cannot do without certain keys."""

INCARNATION_MAX = 10**12
"""Highest number that somebody may set: no node has had so many lives, and as many are left."""
LABELS_MAX, ANNOTATIONS_MAX = 100, 100
"""Of one Node; one that has more already may keep them."""

Mapped = Mapping[str, Any]


def config_map_causes(obj: Mapped, old: Mapped | None) -> Iterator[Cause]:
    """Every complaint about a ConfigMap."""
    data, binary = obj.get("data") or {}, obj.get("binaryData") or {}
    yield from _key_causes("data", data)
    yield from _key_causes("binaryData", binary)
    for key in data if binary else ():
        if key in binary:
            message = f"duplicate of key present in data or binaryData: {key}"
            yield bad_value(f"data[{key}]", key, message)
    size = sum(map(len, map(str.encode, data.values())))
    size += sum(len(_decoded(value) or b"") for value in binary.values())
    if size > CONFIG_SIZE_MAX:
        yield too_long("", CONFIG_SIZE_MAX)
    if old is not None:
        yield from _immutable_causes(obj, old, ("data", "binaryData"))


def secret_causes(obj: Mapped, old: Mapped | None) -> Iterator[Cause]:
    """Every complaint about a Secret, after stringData has been moved into data."""
    data, kind = obj.get("data") or {}, obj.get("type") or "Opaque"
    yield from _key_causes("data", data)
    size = 0
    for key, value in data.items():
        content = _decoded(value)
        if content is None:
            yield bad_value(f"data[{key}]", "<redacted>", "must be base64 encoded")
        else:
            size += len(content)
    if size > CONFIG_SIZE_MAX:
        yield too_long("data", CONFIG_SIZE_MAX)
    for key in SECRET_KEYS.get(kind, ()):
        if key not in data:
            yield required(f"data[{key}]")
    if kind == "kubernetes.io/service-account-token":
        annotations = (obj.get("metadata") or {}).get("annotations") or {}
        if not annotations.get("kubernetes.io/service-account.name"):
            yield required("metadata.annotations[kubernetes.io/service-account.name]")
    if kind == "kubernetes.io/basic-auth" and not {"username", "password"} & data.keys():
        yield required("data[username]")
        yield required("data[password]")
    if old is not None:
        yield from immutable("type", old.get("type") or "Opaque", kind)
        yield from _immutable_causes(obj, old, ("data",))


def _key_causes(path: str, data: Mapped) -> Iterator[Cause]:
    for key in filterfalse(is_config_key, data):
        for problem in config_key_problems(key):
            yield bad_value(f"{path}[{key}]", key, problem)


def _decoded(value: str) -> bytes | None:
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return None


def _immutable_causes(obj: Mapped, old: Mapped, fields: tuple[str, ...]) -> Iterator[Cause]:
    if not old.get("immutable"):
        return
    if not obj.get("immutable"):
        yield not_allowed("immutable", "field is immutable when `immutable` is set")
    for field in fields:
        if (obj.get(field) or {}) != (old.get(field) or {}):
            yield not_allowed(field, "field is immutable when `immutable` is set")


def node_causes(obj: Mapped, old: Mapped | None) -> Iterator[Cause]:
    """Every complaint about a Node."""
    spec = obj.get("spec") or {}
    seen: set[tuple[str, str]] = set()
    for index, taint in enumerate(spec.get("taints") or ()):
        path = f"spec.taints[{index}]"
        key, effect = taint.get("key") or "", taint.get("effect") or ""
        for problem in label_key_problems(key):
            yield bad_value(f"{path}.key", key, problem)
        for problem in label_value_problems(taint.get("value") or ""):
            yield bad_value(f"{path}.value", taint["value"], problem)
        if not effect:
            yield required(f"{path}.effect")
        if (key, effect) in seen:
            yield duplicate(path, taint)
        seen.add((key, effect))
    metadata, before = obj.get("metadata") or {}, (old or {}).get("metadata") or {}
    for name, most in (("labels", LABELS_MAX), ("annotations", ANNOTATIONS_MAX)):
        count = _carried(metadata, name)
        if count > max(most, _carried(before, name)):
            yield Cause(f"metadata.{name}", f"Too many: {count}: must have at most {most} items", "FieldValueTooMany")
    yield from _incarnation_causes(obj.get("metadata") or {}, (old or {}).get("metadata") or {})
    if old is not None:
        before = (old.get("spec") or {}).get("providerID")
        if before:
            after = spec.get("providerID")
            if after != before:
                yield not_allowed("spec.providerID", 'node updates may not change providerID except from "" to valid')


def _carried(metadata: Mapped, name: str) -> int:
    """How many there are, but for annotations of our own: what the server notes itself takes nobody's place."""
    return sum(not (name == "annotations" and key.startswith(PREFIX)) for key in metadata.get(name) or ())


def _incarnation_causes(metadata: Mapped, before: Mapped) -> Iterator[Cause]:
    """A number that went back would let those in again who were fenced off."""
    said = (metadata.get("annotations") or {}).get(INCARNATION)
    known = incarnation_of(before).number
    path = f"metadata.annotations[{INCARNATION}]"
    if said is None:
        if known:
            yield not_allowed(path, "an incarnation is never taken away: it only grows")
        return
    number = parse_number(said)
    if number is None:
        yield bad_value(path, said, "must be a whole number above 0")
    elif number < known:
        yield bad_value(path, said, f"must not be below the present one, {known}")
    elif number > max(known + 1, INCARNATION_MAX):
        yield bad_value(path, said, f"must not be above {INCARNATION_MAX}: the next ones have to fit, too")
