"""What is wrong with a Pack: its object name, and every change of what makes it the version it is."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from stark.crds.annotations import OWNER
from stark.crds.fields import SHA256_PATTERN
from stark.crds.images import is_version, pack_object_name
from stark.crds.packs import BUNDLES_MAX, DESCRIPTION_LENGTH_MAX, METADATA_KEYS_MAX, PACK_NAME_PATTERN

from ..auth.identities import is_admin
from ..errors import Cause
from .attributes import Attributes, Lookup
from .complaints import bad_value, duplicate, immutable, refused, required, too_long
from .validate_pack_trust import signature_causes

BUNDLE_BYTES_MAX = 512 * 1024 * 1024
"""Largest bundle the blob store takes (`packs.blobs.BlobSettings.blob_bytes_max`)."""
IMMUTABLE_FIELDS = ("name", "version", "runtime", "bundles")

Mapped = Mapping[str, Any]


def pack_causes(obj: Mapped, old: Mapped | None) -> Iterator[Cause]:
    """Every complaint about a Pack."""
    spec = obj.get("spec") or {}
    name, version = spec.get("name") or "", spec.get("version") or ""
    well_named = re.fullmatch(PACK_NAME_PATTERN, name) is not None
    if not well_named:
        message = "must begin with a letter and consist of at most 64 letters, digits, '-' and '_'"
        yield bad_value("spec.name", name, message)
    if not is_version(version):
        yield bad_value("spec.version", version, "must be a semantic version such as 1.2.0")
    elif well_named:
        yield from _object_name_causes(obj, name, version)
    if len(spec.get("description") or "") > DESCRIPTION_LENGTH_MAX:
        yield too_long("spec.description", DESCRIPTION_LENGTH_MAX)
    if len(spec.get("deprecated") or "") > DESCRIPTION_LENGTH_MAX:
        yield too_long("spec.deprecated", DESCRIPTION_LENGTH_MAX)
    if len(spec.get("metadata") or {}) > METADATA_KEYS_MAX:
        yield bad_value("spec.metadata", len(spec["metadata"]), f"must have at most {METADATA_KEYS_MAX} keys")
    yield from _bundle_causes(spec.get("bundles") or [])
    yield from signature_causes(spec.get("signatures") or [])
    if old is not None:
        for field in IMMUTABLE_FIELDS:
            yield from immutable(f"spec.{field}", (old.get("spec") or {}).get(field), spec.get(field))


def _object_name_causes(obj: Mapped, name: str, version: str) -> Iterator[Cause]:
    given, expected = (obj.get("metadata") or {}).get("name") or "", pack_object_name(name, version)
    if given != expected:
        message = f'must be "{expected}", which follows from spec.name and spec.version'
        yield bad_value("metadata.name", given, message)


def _bundle_causes(bundles: list[Mapped]) -> Iterator[Cause]:
    if not bundles:
        yield required("spec.bundles", "a pack has at least one bundle")
    if len(bundles) > BUNDLES_MAX:
        yield bad_value("spec.bundles", len(bundles), f"must have at most {BUNDLES_MAX} items")
    architectures: set[str] = set()
    for index, bundle in enumerate(bundles):
        path = f"spec.bundles[{index}]"
        architecture = bundle.get("architecture") or "any"
        if architecture in architectures:
            yield duplicate(f"{path}.architecture", architecture)
        architectures.add(architecture)
        digest, size = bundle.get("sha256") or "", bundle.get("size")
        if not re.fullmatch(SHA256_PATTERN, digest):
            yield bad_value(f"{path}.sha256", digest, "must be a sha256 in lower-case hex (64 digits)")
        if size is None:
            yield required(f"{path}.size")
        elif not 0 <= size <= BUNDLE_BYTES_MAX:
            yield bad_value(f"{path}.size", size, f"must be between 0 and {BUNDLE_BYTES_MAX}, inclusive")


async def pack_name_belongs_to_its_owner(attributes: Attributes, lookup: Lookup) -> None:
    """Refuse a version of a pack whose other versions belong to somebody else.

    Without this, anyone could register a higher version of a name that others deploy without a version.
    """
    resource, obj = attributes.resource, attributes.object
    if (resource.group, resource.plural) != ("stark.dev", "packs") or attributes.operation != "CREATE" or not obj:
        return
    if is_admin(attributes.user):
        return
    name = (obj.get("spec") or {}).get("name")
    for pack in await lookup.list("stark.dev", "packs"):
        if pack["spec"].get("name") != name:
            continue
        if (pack["metadata"].get("annotations") or {}).get(OWNER) != attributes.user.name:
            raise refused(attributes, f'the pack name "{name}" belongs to another user')
