"""`/api/nodes`: nodes as the originals show them, in their states and their units."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

from stark.crds.annotations import OWNER, RUNTIME_PREFIX
from stark.crds.nodestate import ALIASES, STATES, last_seen, node_state, why
from stark.crds.podcontainers import pod_amounts
from stark.crds.quantity import byte_count, milli_cpu

from ..errors import Cause, NotFound
from ..request import Answer, Request
from .envelope import success
from .facade import Route, bad_fields, read_fields
from .inner import Inner, Object
from .listing import annotations_of, found_by_id, labels_of, matching, paging_of
from .shapes import MIB, TAINT, amounts_shown, records_of, texts_of

NODES: Final = "/api/v1/nodes"
LEASES: Final = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
FILTERS: Final = ("runtimeType", "runtime", "status", "search", "labelSelector")
CHANGEABLE: Final[Mapping[str, type]] = {"labels": dict, "annotations": dict, "taints": list, "unschedulable": bool}
NEW: Final[Mapping[str, type]] = {**CHANGEABLE, "name": str}
ENDED: Final = ("Succeeded", "Failed")


class NodeDesk:
    """The handlers."""

    def __init__(self, inner: Inner) -> None:
        self._inner = inner

    def routes(self) -> Sequence[Route]:
        """What is answered here."""
        return (
            Route("GET", "/api/nodes", self.list),
            Route("POST", "/api/nodes", self.create),
            Route("GET", "/api/nodes/*", self.get),
            Route("PATCH", "/api/nodes/*", self.change),
            Route("DELETE", "/api/nodes/*", self.delete),
            Route("GET", "/api/nodes/name/*", self.get_by_name),
        )

    async def list(self, request: Request, found: Sequence[str]) -> Answer:
        """The nodes that who asks may see, by name."""
        query = request.query
        paging = paging_of(query, FILTERS)
        status = ALIASES.get(query.first("status"), query.first("status"))
        if status and status not in STATES:
            raise bad_fields([Cause("status", f"must be one of {', '.join((*STATES, *ALIASES))}")])
        runtime = query.first("runtimeType") or query.first("runtime")
        fits = matching(query.first("search"), lambda item: str(item["metadata"]["name"]))
        nodes = [
            item
            async for item in self._inner.every(request, NODES, {"labelSelector": query.first("labelSelector")})
            if status in ("", node_state(item)) and (not runtime or runtime in runtimes(item)) and fits(item)
        ]
        nodes.sort(key=lambda item: str(item["metadata"]["name"]))
        page = paging.of(nodes)
        used = await self._used(request, [node["metadata"]["name"] for node in page])
        return success(paging.told("nodes", nodes, [await self._shown(request, node, used) for node in page]))

    async def get(self, request: Request, found: Sequence[str]) -> Answer:
        """One node by its uid."""
        return await self._answer(request, await found_by_id(self._inner, request, NODES, found[0], "node"))

    async def get_by_name(self, request: Request, found: Sequence[str]) -> Answer:
        """One node by its name."""
        node = await self._inner.find(request, f"{NODES}/{found[0]}")
        if node is None:
            raise NotFound(f"no node is called {found[0]}")
        return await self._answer(request, node)

    async def create(self, request: Request, found: Sequence[str]) -> Answer:
        """A node before its agent joins: its labels and taints are there from the first moment."""
        fields = await read_fields(request, NEW, ("name",))
        meta = {
            "name": fields["name"],
            "labels": texts_of(fields, "labels"),
            "annotations": texts_of(fields, "annotations"),
        }
        spec = {"taints": records_of(fields, "taints", TAINT), "unschedulable": fields.get("unschedulable", False)}
        body = {"apiVersion": "v1", "kind": "Node", "metadata": meta, "spec": spec}
        return await self._answer(request, await self._inner.send(request, "POST", NODES, body), 201)

    async def change(self, request: Request, found: Sequence[str]) -> Answer:
        """Labels and annotations, of which null takes one off; all taints at once; whether new pods may come."""
        fields = await read_fields(request, CHANGEABLE)
        node = await found_by_id(self._inner, request, NODES, found[0], "node", by_name=True)
        patch: Object = {"metadata": {"resourceVersion": node["metadata"]["resourceVersion"]}, "spec": {}}
        for name in ("labels", "annotations"):
            if name in fields:
                given = fields[name]
                kept = texts_of({name: {key: value for key, value in given.items() if value is not None}}, name)
                patch["metadata"][name] = {**kept, **{key: None for key, value in given.items() if value is None}}
        if "taints" in fields:
            patch["spec"]["taints"] = records_of(fields, "taints", TAINT)
        if "unschedulable" in fields:
            patch["spec"]["unschedulable"] = fields["unschedulable"]
        return await self._answer(request, await self._inner.merge(request, _path(node), patch))

    async def delete(self, request: Request, found: Sequence[str]) -> Answer:
        """Take the node out of the cluster. Its pods are collected."""
        node = await found_by_id(self._inner, request, NODES, found[0], "node", by_name=True)
        await self._inner.send(request, "DELETE", _path(node))
        return success({"deleted": True, "nodeId": node["metadata"]["uid"]})

    async def _answer(self, request: Request, node: Object, status: int = 200) -> Answer:
        used = await self._used(request, [node["metadata"]["name"]])
        return success({"node": await self._shown(request, node, used)}, status)

    async def _used(self, request: Request, names: Sequence[str]) -> Mapping[str, Mapping[str, int]]:
        """What the pods that who asks may see have asked for on these nodes, by node."""
        found: dict[str, dict[str, int]] = defaultdict(lambda: {"cpu": 0, "memory": 0, "pods": 0})
        wanted = set(names)
        async for pod in self._pods(request, names):
            node = (pod["spec"]).get("nodeName")
            if node not in wanted or (pod.get("status") or {}).get("phase") in ENDED:
                continue
            asked = pod_amounts(pod["spec"], "requests")
            used = found[node]
            used["cpu"] += milli_cpu(asked.get("cpu", "0"))
            used["memory"] += byte_count(asked.get("memory", "0")) // MIB
            used["pods"] += 1
        return found

    def _pods(self, request: Request, names: Sequence[str]) -> AsyncIterator[Object]:
        selector = {"fieldSelector": f"spec.nodeName={names[0]}"} if len(names) == 1 else None
        return self._inner.every(request, "/api/v1/pods", selector)

    async def _shown(self, request: Request, node: Object, used: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
        """A node as the originals show it."""
        meta, spec, status = node["metadata"], node.get("spec") or {}, node.get("status") or {}
        lease = await self._inner.find(request, f"{LEASES}/{meta['name']}")
        seen = last_seen(node, lease)
        info, kinds = status.get("nodeInfo") or {}, runtimes(node)
        return {
            "id": meta["uid"],
            "name": meta["name"],
            "runtimeType": "browser" if kinds == ["browser"] else "node",
            "runtimes": kinds,
            "status": node_state(node),
            "statusMessage": "; ".join(why(node)) or None,
            "lastHeartbeat": seen.isoformat().replace("+00:00", "Z") if seen is not None else None,
            "capabilities": {
                "version": info.get("kubeletVersion"),
                "architecture": info.get("architecture"),
                "operatingSystem": info.get("operatingSystem"),
            },
            "registeredBy": annotations_of(node).get(OWNER),
            "ipAddress": next((a["address"] for a in status.get("addresses") or () if a["type"] == "InternalIP"), None),
            "allocatable": amounts_shown(status.get("allocatable")),
            "allocated": dict(used.get(meta["name"]) or {"cpu": 0, "memory": 0, "pods": 0}),
            "labels": labels_of(node),
            "annotations": annotations_of(node),
            "taints": spec.get("taints") or [],
            "unschedulable": bool(spec.get("unschedulable")),
            "createdAt": meta["creationTimestamp"],
        }


def runtimes(node: Object) -> list[str]:
    """What kinds of packs the node runs."""
    return sorted(name.removeprefix(RUNTIME_PREFIX) for name in labels_of(node) if name.startswith(RUNTIME_PREFIX))


def _path(node: Object) -> str:
    return f"{NODES}/{node['metadata']['name']}"
