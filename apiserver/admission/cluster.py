"""What the settings of the cluster mean for objects that are written: how many there may be, and their defaults."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from stark.crds.annotations import ISOLATION
from stark.crds.images import is_pack
from stark.crds.isolation import PROCESS
from stark.crds.podcontainers import every_written

from ..registry.refusals import forbidden
from .attributes import Attributes, Lookup
from .defaults import with_default_tolerations
from .pod_security.levels import ENFORCE, LEVELS, policy_of
from .podspecs import find_spec, writes_pod, written_spec

BOUNDS = {"pods": "maxPods", "nodes": "maxNodes"}
GRACE = "terminationGracePeriodSeconds"

Config = Callable[[], Mapping[str, Any]]
"""The settings of this moment, each by its name on the wire."""
Count = Callable[[str], int]
"""How many objects of a resource of the core group there are."""


class ClusterRules:
    """The plugins."""

    def __init__(self, config: Config, count: Count) -> None:
        self._config, self._count = config, count

    async def grace(self, attributes: Attributes, lookup: Lookup) -> None:
        """The time to stop of a new pod or template; one that is there keeps what it has, whatever was set since."""
        found = written_spec(attributes)
        if found is None or attributes.resource.custom or found.spec.get(GRACE) is not None:
            return
        before = find_spec(attributes.resource, attributes.old) if attributes.old is not None else None
        kept = before.spec.get(GRACE) if before is not None else None
        found.spec[GRACE] = self._config()["defaultTerminationGracePeriodSeconds"] if kept is None else kept

    async def resources(self, attributes: Attributes, lookup: Lookup) -> None:
        """Requests and limits of what a container of a new pod says nothing about."""
        defaults = self._config()["defaultResources"]
        if not defaults or not writes_pod(attributes) or attributes.operation != "CREATE" or attributes.object is None:
            return
        for container in every_written(attributes.object.get("spec") or {}):
            fill(container, defaults)

    async def isolation(self, attributes: Attributes, lookup: Lookup) -> None:
        """The class of isolation of a new pod that asks for none.

        Where `trusted` is forbidden a pod must not come to have it for want of anything else on its node.
        """
        if not writes_pod(attributes) or attributes.operation != "CREATE" or attributes.object is None:
            return
        metadata = attributes.object.setdefault("metadata", {})
        annotations = metadata.get("annotations") or {}
        if annotations.get(ISOLATION):
            return
        wanted = self._config().get("defaultIsolation") or await _forced(attributes, lookup)
        if wanted:
            metadata["annotations"] = {**annotations, ISOLATION: wanted}

    async def tolerations(self, attributes: Attributes, lookup: Lookup) -> None:
        """How long a new pod that does not say it stays on a node that is not well."""
        if not writes_pod(attributes) or attributes.operation != "CREATE" or attributes.object is None:
            return
        spec, seconds = attributes.object.get("spec") or {}, self._config()["defaultTolerationSeconds"]
        spec["tolerations"] = with_default_tolerations(spec.get("tolerations") or [], seconds)

    async def bounds(self, attributes: Attributes, lookup: Lookup) -> None:
        """Refuse one pod or node more than the cluster takes. Several at the same moment may be let in together."""
        resource = attributes.resource
        if attributes.operation != "CREATE" or attributes.subresource or resource.group:
            return
        bound = BOUNDS.get(resource.plural)
        if bound is not None and self._count(resource.plural) >= self._config()[bound]:
            limit = self._config()[bound]
            raise forbidden(
                resource,
                attributes.name_of_object(),
                f"the cluster has {limit} {resource.plural}, as many as {bound} of ClusterConfig allows",
            )


async def _forced(attributes: Attributes, lookup: Lookup) -> str:
    written = every_written((attributes.object or {}).get("spec") or {})
    if not any(is_pack(container.get("image") or "") for container in written):
        return ""  # a container engine keeps them apart
    namespace = await lookup.get("", "namespaces", "", attributes.namespace) or {}
    labels = (namespace.get("metadata") or {}).get("labels") or {}
    return "" if policy_of(labels, ENFORCE).level == LEVELS[0] else PROCESS


def fill(container: dict[str, Any], defaults: Mapping[str, Any]) -> None:
    """Give the container a request and a limit for each resource for which it has neither."""
    resources: dict[str, Any] = container.get("resources") or {}
    said = {*(resources.get("requests") or {}), *(resources.get("limits") or {})}
    for field in ("requests", "limits"):
        amounts = {name: amount for name, amount in (defaults.get(field) or {}).items() if name not in said}
        if amounts:
            resources[field] = {**(resources.get(field) or {}), **amounts}
    if resources:
        container["resources"] = resources
