"""NodeMetrics and PodMetrics: nodes and pods as the caches have them, with what their agents say they use.

Selectors are about the node or pod itself, whose name and labels the metrics carry. What has no figures, because it does
not run, has not run for a whole window, or is on a node whose agent does not answer, is not there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

from ..cache.entry import Entry
from ..cache.filter import Filter
from ..registry import metadata
from ..registry.computed import Computed
from ..registry.options import Target
from ..registry.owning import narrowed
from ..registry.records import Records
from ..resources import Resource, Resources
from ..times import timestamp
from .figures import NodeFigures, Usage

GROUP: Final = "metrics.k8s.io"
API_VERSION: Final = f"{GROUP}/v1beta1"
NODE_NAME: Final = "spec.nodeName"

Object = dict[str, Any]


class Figures(Protocol):
    """Where the figures come from."""

    async def of(self, nodes: Iterable[str]) -> Mapping[str, NodeFigures]:
        """By node, of those that are known."""
        ...


class UsageOfNodes:
    """NodeMetrics."""

    def __init__(self, resources: Resources, records: Records, figures: Figures) -> None:
        self._nodes, self._records, self._figures = _stored(resources, "nodes"), records, figures

    async def find(self, wanted: Filter, target: Target) -> Sequence[Object]:
        """Of the nodes that are wanted and known."""
        cache = await self._records.cache(self._nodes)
        entries = cache.select(narrowed(wanted, target, cache.paths))
        figures = await self._figures.of(entry.name for entry in entries)
        return [
            {**_head("NodeMetrics", entry, of), "usage": of.node.to_wire()}
            for entry in entries
            if (of := figures.get(entry.name)) is not None
        ]


class UsageOfPods:
    """PodMetrics."""

    def __init__(self, resources: Resources, records: Records, figures: Figures) -> None:
        self._pods, self._records, self._figures = _stored(resources, "pods"), records, figures

    async def find(self, wanted: Filter, target: Target) -> Sequence[Object]:
        """Of the pods that are wanted and known."""
        cache = await self._records.cache(self._pods)
        at = cache.paths.index(NODE_NAME)
        entries = [entry for entry in cache.select(narrowed(wanted, target, cache.paths)) if entry.fields[at]]
        figures = await self._figures.of({entry.fields[at] for entry in entries})
        found = []
        for entry in entries:
            # Looked up at the node the pod is bound to: no agent speaks for another's pods.
            of = figures.get(entry.fields[at])
            containers = of.pods.get((entry.namespace, entry.name)) if of is not None else None
            if of is not None and containers:
                found.append(
                    {**_head("PodMetrics", entry, of), "containers": [_container(each) for each in containers]}
                )
        return found


def usage_kinds(resources: Resources, records: Records, figures: Figures) -> Mapping[tuple[str, str], Computed]:
    """What is computed, by group and plural."""
    return {
        (GROUP, "nodes"): UsageOfNodes(resources, records, figures),
        (GROUP, "pods"): UsageOfPods(resources, records, figures),
    }


def _stored(resources: Resources, plural: str) -> Resource:
    resource = resources.find("", "v1", plural)
    assert resource is not None, plural
    return resource


def _head(kind: str, entry: Entry, figures: NodeFigures) -> Object:
    meta: Object = {"name": entry.name}
    if entry.namespace:
        meta["namespace"] = entry.namespace
    meta["creationTimestamp"] = timestamp(metadata.now())
    if entry.labels:
        meta["labels"] = dict(entry.labels)
    head = {"kind": kind, "apiVersion": API_VERSION, "metadata": meta}
    return {**head, "timestamp": figures.timestamp, "window": figures.window}


def _container(each: tuple[str, Usage]) -> Object:
    name, usage = each
    return {"name": name, "usage": usage.to_wire()}
