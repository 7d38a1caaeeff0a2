"""Follow-latest: which newer release of its pack a deployment should run. Pure.

Newer means higher by semantic versioning, never registered later: a late fix of an old line is no way back. A deployment
follows the pack of its first container that runs one, in all the containers that run that pack. It moves only forward,
to a release whose bundles are all there, that its owner may run, and that the crash-loop controller has not blocked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from stark.crds.annotations import (
    BLOCKED_VERSIONS,
    CHANGE_CAUSE,
    FOLLOW_LATEST,
    AnnotationError,
    blocked_versions,
    flag,
)
from stark.crds.apps import Deployment
from stark.crds.crash_loop import block_remaining_s, readable_blocks, settings_or_default
from stark.crds.images import ImageError, PackRef, is_prerelease, is_version, parse_image, version_key
from stark.crds.packs import Pack
from stark.crds.podcontainers import every_container
from stark.crds.pods import Container
from stark.crds.tenancy import Owner, pack_refusal

AVAILABLE = "Available"


@dataclass(frozen=True, slots=True)
class Following:
    """What to change now, and when to look again although nothing happens."""

    images: Mapping[str, str] = field(default_factory=dict)
    """Container name -> new image; empty when the deployment runs what it should."""
    cause: str = ""
    """What is noted as the reason of the new revision."""
    recheck_after_s: float | None = None
    """Until the first block of a version that would be wanted ends."""

    def patch(self, deployment: Deployment) -> dict[str, Any]:
        """A strategic merge patch that fails when the deployment has changed meanwhile."""
        initial = {container.name for container in deployment.spec.template.spec.init_containers}
        lists: dict[str, list[dict[str, str]]] = {}
        for name, image in self.images.items():
            key = "initContainers" if name in initial else "containers"
            lists.setdefault(key, []).append({"name": name, "image": image})
        meta = {
            "uid": deployment.uid,
            "resourceVersion": deployment.metadata.resource_version,
            "annotations": {CHANGE_CAUSE: self.cause},
        }
        return {"metadata": meta, "spec": {"template": {"spec": lists}}}


NOTHING = Following()


def followed(deployment: Deployment) -> PackRef | None:
    """The pack and version that the deployment runs, when it wants to run the latest."""
    return running(deployment) if flag(deployment.metadata.annotations, FOLLOW_LATEST) else None


def running(deployment: Deployment) -> PackRef | None:
    """The pack of the first container that runs one; None when none does."""
    return next((reference for _, reference in _packs(deployment.spec.template.spec.containers)), None)


def _packs(containers: Iterable[Container]) -> Iterable[tuple[str, PackRef]]:
    """Containers that run a pack of a certain version."""
    for container in containers:
        try:
            reference = parse_image(container.image or "")
        except ImageError:
            continue
        if reference is not None and reference.version is not None:
            yield container.name, reference


def plan_following(deployment: Deployment, packs: Sequence[Pack], now: datetime) -> Following:
    """Whether to roll out another version. `packs` are the versions of the pack that the deployment follows.

    A person's pause stops this, a pause by the crash-loop controller does not: a newer version is what ends it.
    """
    current = followed(deployment)
    if current is None or deployment.spec.paused or deployment.metadata.deletion_timestamp is not None:
        return NOTHING
    try:
        blocked = _blocked(deployment, now)
    except AnnotationError:
        return NOTHING  # what is known to be broken cannot be read: nothing is rolled out that may be it
    ahead = _ahead(deployment, packs, current)
    # The whole seconds of the wire are rounded down, so a block that ends in this second has ended.
    free = [version for version in ahead if not blocked.get(version)]
    waits = [
        blocked[version]
        for version in ahead
        if version not in free and (not free or version_key(version) > version_key(free[-1]))
    ]
    recheck = min(waits) + 1.0 if waits else None
    if not free:
        return Following(recheck_after_s=recheck)
    return _towards(deployment, current, free[-1], recheck)


def _ahead(deployment: Deployment, packs: Sequence[Pack], current: PackRef) -> list[str]:
    """Releases above the present one that may run, the highest last; of equals the one registered last."""
    owner = Owner.of(deployment.metadata.annotations)
    assert current.version is not None, current
    present = version_key(current.version)
    fit = [pack for pack in packs if _may_run(pack, owner) and version_key(pack.spec.version) > present]
    fit.sort(key=lambda pack: (version_key(pack.spec.version), _created(pack), pack.metadata.name))
    return [pack.spec.version for pack in fit]


def _may_run(pack: Pack, owner: Owner) -> bool:
    version = pack.spec.version
    if not is_version(version) or is_prerelease(version):
        return False
    if pack.metadata.deletion_timestamp is not None or pack.spec.deprecated or pack.status.phase != AVAILABLE:
        return False
    return not pack_refusal(owner, Owner.of(pack.metadata.annotations), pack.spec.visibility)


def _created(pack: Pack) -> float:
    created = pack.metadata.creation_timestamp
    return created.timestamp() if created else 0.0


def _towards(deployment: Deployment, current: PackRef, version: str, recheck: float | None) -> Following:
    """The change that brings every container of the pack to the version."""
    image = str(PackRef(current.name, version))
    containers = every_container(deployment.spec.template.spec)
    images = {name: image for name, reference in _packs(containers) if reference.name == current.name}
    return Following(images, f"follow-latest: {current.name} {current.version} -> {version}", recheck)


def _blocked(deployment: Deployment, now: datetime) -> dict[str, float]:
    """Version -> seconds for which it is not tried, as the crash-loop controller reads them. Raises AnnotationError."""
    annotations = deployment.metadata.annotations
    settings, blocks = settings_or_default(annotations), readable_blocks(annotations)
    if len(blocks) < len(blocked_versions(annotations)):
        raise AnnotationError(f"{BLOCKED_VERSIONS}: not every time and number in it can be read")
    return {each.version: block_remaining_s(each, settings, now) for each in blocks}
