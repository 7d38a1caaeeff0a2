"""When two pod templates are the same, and a short name for one: what rollouts, histories and blocked versions are about."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from .annotations import POD_TEMPLATE_HASH
from .images import ImageError, PackRef, parse_image
from .pods import Container, PodTemplateSpec

FINGERPRINT_LENGTH = 12
"""Hex digits of a fingerprint: 48 bits, among the few templates of one Deployment."""


def template_facts(template: PodTemplateSpec) -> dict[str, Any]:
    """The template without the hash label and without fields at their defaults: what equality is about."""
    facts = template.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    meta = facts.get("metadata", {})
    meta.get("labels", {}).pop(POD_TEMPLATE_HASH, None)
    kept = {key: meta[key] for key in ("labels", "annotations") if meta.get(key)}
    return {"metadata": kept, "spec": facts.get("spec", {})}


def same_template(one: PodTemplateSpec, other: PodTemplateSpec | None) -> bool:
    """Whether pods of both would be the same."""
    return other is not None and template_facts(one) == template_facts(other)


def fingerprint(template: PodTemplateSpec) -> str:
    """The same for equal templates, and, unlike the hash that names ReplicaSets, for nothing else."""
    body = json.dumps(template_facts(template), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(body.encode()).hexdigest()[:FINGERPRINT_LENGTH]


def pack_of(template: PodTemplateSpec) -> PackRef | None:
    """The pack of the first container that runs a pack of a certain version; None when none does."""
    for container in template.spec.containers:
        try:
            reference = parse_image(container.image or "")
        except ImageError:
            continue
        if reference is not None and reference.version is not None:
            return reference
    return None


def with_pack_version(template: PodTemplateSpec, name: str, version: str) -> PodTemplateSpec:
    """The template with that version of the pack in every container that runs the pack."""
    lists = {
        "init_containers": [_with_version(container, name, version) for container in template.spec.init_containers],
        "containers": [_with_version(container, name, version) for container in template.spec.containers],
    }
    spec = template.spec.model_copy(update=lists)
    return template.model_copy(update={"spec": spec})


def _with_version(container: Container, name: str, version: str) -> Container:
    try:
        reference = parse_image(container.image or "")
    except ImageError:
        return container
    if reference is None or reference.name != name:
        return container
    return container.model_copy(update={"image": str(PackRef(name, version))})


def without_hash(template: PodTemplateSpec) -> PodTemplateSpec:
    """A ReplicaSet's template as its Deployment had it."""
    labels = {key: value for key, value in template.metadata.labels.items() if key != POD_TEMPLATE_HASH}
    return template.model_copy(update={"metadata": template.metadata.model_copy(update={"labels": labels})})
