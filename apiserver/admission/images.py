"""Pin pack images to a version when they are written, and keep private packs to those who may run them.

A pod without a version would mean something else after every release; so the version is chosen once, here, for pods
and for the templates of workloads. A version that does not exist yet is only warned about: manifests may arrive before
the pack, and the scheduler holds the pod until it is there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stark.crds.images import ImageError, PackRef, latest_version, pack_object_name, parse_image

from ..errors import Cause, invalid
from .attributes import Attributes, Lookup
from .complaints import bad_value, named, refused
from .ownership import may_use
from .podspecs import FoundSpec, containers, find_spec, written_spec

GROUP = "stark.dev"
AVAILABLE = "Available"
PRIVATE = "private"


async def pin_images(attributes: Attributes, lookup: Lookup) -> None:
    """Complete pack images with a version; refuse packs that are misspelled, have no version, or are not the user's."""
    found = written_spec(attributes)
    if found is None:
        return
    before = _old_images(attributes)
    causes: list[Cause] = []
    for path, container in containers(found):
        image = container.get("image")
        if not isinstance(image, str):
            continue
        try:
            wanted = parse_image(image)
            if wanted is not None:
                container["image"] = await _pinned(attributes, lookup, wanted, before.get(container.get("name", "")))
        except ImageError as error:
            causes.append(bad_value(f"{path}.image", image, str(error)))
    if causes:
        resource = attributes.resource
        raise invalid(resource.kind, named(attributes), causes, group=resource.group)


def _old_images(attributes: Attributes) -> dict[str, PackRef]:
    """Container name -> pack, as they were before this update."""
    old: FoundSpec | None = find_spec(attributes.resource, attributes.old)
    images: dict[str, PackRef] = {}
    for _, container in containers(old) if old is not None else ():
        try:
            pack = parse_image(container.get("image") or "")
        except ImageError:
            continue  # stored before the rule; the new object is what is judged
        if pack is not None:
            images[container.get("name", "")] = pack
    return images


async def _pinned(attributes: Attributes, lookup: Lookup, wanted: PackRef, before: PackRef | None) -> str:
    """The image with a version. Raises ImageError when there is none to choose, Forbidden for a foreign private pack."""
    if wanted.version is None and before is not None and before.name == wanted.name and before.version:
        return str(before)
    if wanted == before:
        return str(wanted)  # was allowed when it came; a pack that turned private stops no update of what runs
    if wanted.version is None:
        return str(await _latest(attributes, lookup, wanted))
    pack = await lookup.get(GROUP, "packs", "", pack_object_name(wanted.name, wanted.version))
    if pack is None:
        attributes.warnings.append(
            f'pack "{wanted.name}" has no version {wanted.version}: '
            "pods stay pending with reason PackNotFound until it is registered"
        )
    elif not _usable(attributes, pack):
        raise refused(
            attributes, f'pack "{wanted.name}" version {wanted.version} is private and belongs to another user'
        )
    elif reason := pack["spec"].get("deprecated"):
        attributes.warnings.append(f'pack "{wanted.name}" version {wanted.version} is deprecated: {reason}')
    return str(wanted)


async def _latest(attributes: Attributes, lookup: Lookup, wanted: PackRef) -> PackRef:
    packs = [pack for pack in await lookup.list(GROUP, "packs") if pack["spec"]["name"] == wanted.name]
    packs.sort(key=lambda pack: pack["metadata"].get("creationTimestamp") or "")
    ready = [pack for pack in packs if (pack.get("status") or {}).get("phase") == AVAILABLE]
    usable = [pack for pack in ready if _usable(attributes, pack)]
    usable = [pack for pack in usable if not pack["spec"].get("deprecated")] or usable
    version = latest_version(pack["spec"]["version"] for pack in usable)
    if version is not None:
        return PackRef(wanted.name, version)
    if ready:
        raise refused(attributes, f'pack "{wanted.name}" is private and belongs to another user')
    if packs:
        raise ImageError(f'pack "{wanted.name}" has no version whose bundles are uploaded')
    raise ImageError(f'pack "{wanted.name}" has no version')


def _usable(attributes: Attributes, pack: Mapping[str, Any]) -> bool:
    return pack["spec"].get("visibility") != PRIVATE or may_use(attributes, pack)
