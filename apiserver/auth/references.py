"""Which Secrets, ConfigMaps and packs the pods of each node name: what an agent may read.

Kept from the cache of pods without looking at them: a change only notes which pod of which node has to be looked at
again, and that is done when the node asks next. So a status that is written a thousand times costs nothing here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from stark.crds.images import ImageError, pack_object_name, parse_image
from stark.crds.tenancy import Owner

Reference = tuple[str, str, str]
"""Plural, namespace (empty for packs) and name."""
SECRETS, CONFIG_MAPS, PACKS = "secrets", "configmaps", "packs"


class PodSource(Protocol):
    """The pods, as their cache has them."""

    def stale(self, node: str) -> set[str]:
        """Keys of the pods that have come to the node, changed or left it since this was asked last."""
        ...

    def pod(self, key: str) -> Mapping[str, Any] | None:
        """The pod of that key."""
        ...

    async def catch_up(self) -> None:
        """Wait, if it can be had, until everything that has been written so far is known."""
        ...


@dataclass(slots=True)
class _Node:
    """`pods`: what each pod names; `naming`: for each thing named, the owners of the pods that name it."""

    pods: dict[str, tuple[Owner, frozenset[Reference]]]
    naming: dict[Reference, dict[str, Owner]]


class References:
    """By node, who names what."""

    def __init__(self, pods: PodSource) -> None:
        self._pods = pods
        self._nodes: dict[str, _Node] = {}

    async def owners(self, node: str, reference: Reference) -> frozenset[Owner]:
        """Whose pods on the node name the object; empty when none does."""
        found = self._known(node, reference)
        if not found:
            # The pod may have been bound a moment ago, and its agent have heard of it from another server.
            await self._pods.catch_up()
            found = self._known(node, reference)
        return found

    def _known(self, node: str, reference: Reference) -> frozenset[Owner]:
        known = self._refreshed(node)
        return frozenset(known.naming.get(reference, {}).values()) if known is not None else frozenset()

    def _refreshed(self, node: str) -> _Node | None:
        stale = self._pods.stale(node)
        known = self._nodes.get(node)
        if known is None:
            if not stale:
                return None
            known = self._nodes[node] = _Node({}, {})
        for key in stale:
            _forget(known, key)
            pod = self._pods.pod(key)
            if pod is not None and (pod.get("spec") or {}).get("nodeName") == node:
                _remember(known, key, pod)
        if not known.pods:
            del self._nodes[node]
        return known


def _forget(node: _Node, key: str) -> None:
    _, references = node.pods.pop(key, (Owner(), frozenset[Reference]()))
    for reference in references:
        naming = node.naming[reference]
        del naming[key]
        if not naming:
            del node.naming[reference]


def _remember(node: _Node, key: str, pod: Mapping[str, Any]) -> None:
    owner, references = Owner.of(pod["metadata"].get("annotations")), frozenset(references_of(pod))
    node.pods[key] = (owner, references)
    for reference in references:
        node.naming.setdefault(reference, {})[key] = owner


def references_of(pod: Mapping[str, Any]) -> Iterator[Reference]:
    """Everything a pod names that its node has to read."""
    namespace, spec = pod["metadata"].get("namespace", ""), pod.get("spec") or {}
    for name in secret_references(spec):
        yield SECRETS, namespace, name
    for name in config_map_references(spec):
        yield CONFIG_MAPS, namespace, name
    for container in _containers(spec):
        try:
            pack = parse_image(container.get("image") or "")
        except ImageError:
            continue
        if pack is not None and pack.version:
            yield PACKS, "", pack_object_name(pack.name, pack.version)


def secret_references(spec: Mapping[str, Any]) -> Iterator[str]:
    """Names of the Secrets a pod needs."""
    for container in _containers(spec):
        yield from _environment_references(container, "secretKeyRef", "secretRef")
    for volume in spec.get("volumes") or ():
        if volume.get("secret"):
            yield volume["secret"].get("secretName", "")
        for source in (volume.get("projected") or {}).get("sources") or ():
            if source.get("secret"):
                yield source["secret"].get("name", "")
    for reference in spec.get("imagePullSecrets") or ():
        yield reference.get("name", "")


def config_map_references(spec: Mapping[str, Any]) -> Iterator[str]:
    """Names of the ConfigMaps a pod needs."""
    for container in _containers(spec):
        yield from _environment_references(container, "configMapKeyRef", "configMapRef")
    for volume in spec.get("volumes") or ():
        if volume.get("configMap"):
            yield volume["configMap"].get("name", "")
        for source in (volume.get("projected") or {}).get("sources") or ():
            if source.get("configMap"):
                yield source["configMap"].get("name", "")


def _containers(spec: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for key in ("initContainers", "containers"):
        yield from spec.get(key) or ()


def _environment_references(container: Mapping[str, Any], key: str, whole: str) -> Iterator[str]:
    for variable in container.get("env") or ():
        reference = (variable.get("valueFrom") or {}).get(key)
        if reference:
            yield reference.get("name", "")
    for source in container.get("envFrom") or ():
        if source.get(whole):
            yield source[whole].get("name", "")
