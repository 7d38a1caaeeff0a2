"""`/api/pods`: pods as the originals show them, in their nine states and their units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, get_args

from stark.crds.images import PackRef
from stark.crds.packpods import ROLLED_BACK_FROM, Step, label_of, message_of, packs_of, previous_version, resources
from stark.crds.packpods import rollback_patch as patched
from stark.crds.podhistory import history_of, of_event
from stark.crds.podview import PodState, pod_state, termination_reason

from ..errors import ApiError, Cause
from ..request import Answer, Request
from .envelope import Refused, success
from .facade import Route, bad_fields, read_fields
from .inner import Inner, Object
from .listing import annotations_of, checked_namespace, creator_of, found_by_id, labels_of, newest_first, paging_of
from .nodes import NODES
from .packs import pack_by_id, pack_of_version
from .shapes import TOLERATION, amounts_shown, records_of, resources_given, texts_of

PODS: Final = "/api/v1/pods"
PRIORITY_CLASSES: Final = "/apis/scheduling.k8s.io/v1/priorityclasses"
USUAL_CLASS: Final = "priority-100"
"""Of pods that are made by hand, where the cluster has it still."""
PRIORITY_MAX: Final = 1_000
COUNT_MAX: Final = 100
"""Pods of one request."""
STATES: Final = get_args(PodState)
FILTERS: Final = ("namespace", "packId", "packName", "nodeId", "status", "labelSelector")
WORKLOAD: Final[Mapping[str, type]] = {
    "packId": str,
    "packName": str,
    "packVersion": str,
    "namespace": str,
    "labels": dict,
    "annotations": dict,
    "nodeSelector": dict,
    "tolerations": list,
    "resourceRequests": dict,
    "resourceLimits": dict,
    "priorityClassName": str,
}
NEW: Final[Mapping[str, type]] = {**WORKLOAD, "name": str, "nodeId": str, "priority": int, "count": int}


class PodDesk:
    """The handlers."""

    def __init__(self, inner: Inner) -> None:
        self._inner = inner

    def routes(self) -> Sequence[Route]:
        """What is answered here."""
        return (
            Route("GET", "/api/pods", self.list),
            Route("POST", "/api/pods", self.create),
            Route("GET", "/api/pods/*", self.get),
            Route("DELETE", "/api/pods/*", self.delete),
            Route("GET", "/api/pods/*/status", self.status),
            Route("GET", "/api/pods/*/history", self.history),
            Route("POST", "/api/pods/*/rollback", self.roll_back),
        )

    async def list(self, request: Request, found: Sequence[str]) -> Answer:
        """The pods that who asks may see, the newest first."""
        query = request.query
        paging = paging_of(query, FILTERS)
        status = query.first("status")
        if status and status not in STATES:
            raise bad_fields([Cause("status", f"must be one of {', '.join(STATES)}")])
        pack = await self._pack_filter(request)
        asked = {"labelSelector": query.first("labelSelector")}
        if query.first("nodeId"):
            node = await found_by_id(self._inner, request, NODES, query.first("nodeId"), "node", by_name=True)
            asked["fieldSelector"] = f"spec.nodeName={node['metadata']['name']}"
        pods = newest_first(
            [
                item
                async for item in self._inner.every(
                    request, pods_path(checked_namespace(query.first("namespace"))), asked
                )
                if status in ("", pod_state(item)) and (pack is None or _runs(item, *pack))
            ]
        )
        names = Names(self._inner, request)
        return success(paging.told("pods", pods, [await names.shown(item) for item in paging.of(pods)]))

    async def _pack_filter(self, request: Request) -> tuple[str, str] | None:
        """Name and version of the pack that pods must run; the version may be empty."""
        if request.query.first("packId"):
            spec = (await pack_by_id(self._inner, request, request.query.first("packId")))["spec"]
            return spec["name"], spec["version"]
        name = request.query.first("packName")
        return (name, "") if name else None

    async def get(self, request: Request, found: Sequence[str]) -> Answer:
        """One pod by its uid."""
        return success({"pod": await Names(self._inner, request).shown(await self._find(request, found[0]))})

    async def status(self, request: Request, found: Sequence[str]) -> Answer:
        """How one pod stands."""
        shown = await Names(self._inner, request).shown(await self._find(request, found[0]))
        told = ("id", "name", "namespace", "status", "statusMessage", "terminationReason", "nodeId", "packVersion")
        times = ("createdAt", "scheduledAt", "startedAt", "stoppedAt")
        return success({"status": {name: shown[name] for name in (*told, *times)}})

    async def history(self, request: Request, found: Sequence[str]) -> Answer:
        """What happened to one pod, the oldest first."""
        pod = await self._find(request, found[0])
        path = f"/api/v1/namespaces/{pod['metadata']['namespace']}/events"
        selector = {"fieldSelector": f"involvedObject.uid={pod['metadata']['uid']}"}
        events = [of_event(event) async for event in self._inner.every(request, path, selector)]
        return success(
            {
                "history": [
                    {"timestamp": entry.at, "action": entry.action, "actor": entry.actor, "message": entry.text}
                    for entry in history_of(pod, events)
                ]
            }
        )

    async def create(self, request: Request, found: Sequence[str]) -> Answer:
        """One pod, or `count` of them: all or none."""
        fields = await read_fields(request, NEW)
        count = fields.get("count", 1)
        if not 1 <= count <= COUNT_MAX:
            raise bad_fields([Cause("count", f"must be between 1 and {COUNT_MAX}")])
        if count > 1 and "name" in fields:
            raise bad_fields([Cause("name", "cannot be given to several pods")])
        body = await self._body(request, fields)
        path = pods_path(checked_namespace(fields.get("namespace") or "default"))
        made: list[Object] = []
        try:
            for _ in range(count):
                made.append(await self._inner.send(request, "POST", path, body))
        except ApiError:
            for pod in made:
                await self._inner.send(request, "DELETE", f"{path}/{pod['metadata']['name']}", gracePeriodSeconds="0")
            raise
        names = Names(self._inner, request)
        shown = [await names.shown(pod) for pod in made]
        return success({"pod": shown[0], "pods": shown} if count > 1 else {"pod": shown[0]}, 201)

    async def _body(self, request: Request, fields: Mapping[str, Any]) -> Object:
        pack, spec = await workload_spec(self._inner, request, fields)
        spec["restartPolicy"] = "Never"
        if "nodeId" in fields:
            node = await found_by_id(self._inner, request, NODES, fields["nodeId"], "node", by_name=True)
            spec["nodeName"] = node["metadata"]["name"]
        if "priority" in fields:
            if "priorityClassName" in fields:
                raise bad_fields([Cause("priority", "cannot be given with priorityClassName")])
            spec["priorityClassName"] = await self._class_of(request, fields["priority"])
        elif "priorityClassName" not in fields and await self._inner.find(request, f"{PRIORITY_CLASSES}/{USUAL_CLASS}"):
            spec["priorityClassName"] = USUAL_CLASS
        name = {"name": fields["name"]} if "name" in fields else {"generateName": f"{label_of(pack)}-"}
        labels = {"app": label_of(pack), **texts_of(fields, "labels")}
        meta = {**name, "labels": labels, "annotations": texts_of(fields, "annotations")}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}

    async def _class_of(self, request: Request, value: int) -> str:
        """A PriorityClass of that value, made when there is none and who asks may make it."""
        if not 0 <= value <= PRIORITY_MAX:
            raise bad_fields([Cause("priority", f"must be between 0 and {PRIORITY_MAX}")])
        async for each in self._inner.every(request, PRIORITY_CLASSES):
            if each.get("value", 0) == value:
                return str(each["metadata"]["name"])
        body = {
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": f"priority-{value}"},
            "value": value,
            "description": "Made for pods that were given this number.",
        }
        made = await self._inner.send(request, "POST", PRIORITY_CLASSES, body)
        return str(made["metadata"]["name"])

    async def delete(self, request: Request, found: Sequence[str]) -> Answer:
        """Stop the pod and delete it; with `?force=true` without waiting for its programs."""
        pod = await self._find(request, found[0])
        query = {"gracePeriodSeconds": "0"} if request.query.flag("force") else {}
        await self._inner.send(request, "DELETE", _path(pod), None, **query)
        return success({"deleted": True, "podId": pod["metadata"]["uid"]})

    async def roll_back(self, request: Request, found: Sequence[str]) -> Answer:
        """Restart the pod with another version of its pack, in its place: `targetVersion`, or the one it ran before."""
        fields = await read_fields(request, {"targetVersion": str, "reason": str})
        pod = await self._find(request, found[0])
        name = pod["metadata"]["name"]
        packs = packs_of(pod["spec"])
        if not packs:
            raise Refused("INVALID_STATE", f"pod {name} runs no pack: there is no version to go back to")
        keeper = next((o for o in pod["metadata"].get("ownerReferences") or () if o.get("controller")), None)
        if keeper is not None:
            what = f"{keeper['kind']} {keeper['name']}"
            raise Refused("CONFLICT", f"pod {name} is kept by {what}, which would undo this: roll that back", 409)
        state = pod_state(pod)
        if state not in ROLLED_BACK_FROM:
            raise Refused(
                "INVALID_STATE", f"pod {name} is {state}; only {', '.join(ROLLED_BACK_FROM)} can be rolled back"
            )
        _, pack, current = packs[0]
        version = fields.get("targetVersion") or previous_version(pod, current)
        if not version:
            raise bad_fields([Cause("targetVersion", "is required: the pod has run no other version")])
        if version == current:
            raise Refused("SAME_VERSION", f"pod {name} runs {pack} {version} already")
        if await pack_of_version(self._inner, request, pack, version) is None:
            raise Refused("VERSION_NOT_FOUND", f"pack {pack} has no version {version}", 404)
        step = Step(datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), current, version, fields.get("reason", ""))
        body = patched(pod, pack, str(PackRef(pack, version)), step)
        stored = await self._inner.strategic(request, _path(pod), body)
        shown = await Names(self._inner, request).shown(stored)
        told = {"podId": pod["metadata"]["uid"], "previousVersion": current, "newVersion": version}
        return success({**told, "pod": shown})

    async def _find(self, request: Request, word: str) -> Object:
        return await found_by_id(self._inner, request, PODS, word, "pod")


class Names:
    """Shows pods to one person; packs and nodes are looked up once."""

    def __init__(self, inner: Inner, request: Request) -> None:
        self._inner, self._request = inner, request
        self._packs: dict[tuple[str, str], str | None] = {}
        self._nodes: dict[str, str | None] = {}

    async def pack_id(self, name: str, version: str) -> str | None:
        """The version's uid; None when it is gone, or not for this person to see."""
        if (name, version) not in self._packs:
            pack = await pack_of_version(self._inner, self._request, name, version)
            self._packs[name, version] = pack["metadata"]["uid"] if pack is not None else None
        return self._packs[name, version]

    async def node_id(self, name: str) -> str | None:
        """The node's uid, likewise."""
        if name not in self._nodes:
            node = await self._inner.find(self._request, f"{NODES}/{name}")
            self._nodes[name] = node["metadata"]["uid"] if node is not None else None
        return self._nodes[name]

    async def shown(self, pod: Object) -> dict[str, Any]:
        """A pod as the originals show it."""
        meta, spec, status = pod["metadata"], pod["spec"], pod.get("status") or {}
        _, pack, version = next(iter(packs_of(spec)), ("", "", ""))
        node = spec.get("nodeName") or ""
        first = spec["containers"][0].get("resources") or {}
        return {
            "id": meta["uid"],
            "name": meta["name"],
            "namespace": meta["namespace"],
            "packId": await self.pack_id(pack, version) if pack and version else None,
            "packName": pack or None,
            "packVersion": version or None,
            "nodeId": await self.node_id(node) if node else None,
            "nodeName": node or None,
            "status": pod_state(pod),
            "statusMessage": message_of(pod) or None,
            "terminationReason": termination_reason(pod),
            "labels": labels_of(pod),
            "annotations": annotations_of(pod),
            "priority": spec.get("priority") or 0,
            "nodeSelector": spec.get("nodeSelector") or {},
            "tolerations": spec.get("tolerations") or [],
            "resourceRequests": amounts_shown(first.get("requests")),
            "resourceLimits": amounts_shown(first.get("limits")),
            "createdBy": creator_of(pod),
            "createdAt": meta["creationTimestamp"],
            **_times(pod, status),
        }


def _times(pod: Object, status: Mapping[str, Any]) -> dict[str, str | None]:
    conditions = {each["type"]: each for each in status.get("conditions") or ()}
    placed = conditions.get("PodScheduled") or {}
    states = [each.get("state") or {} for each in status.get("containerStatuses") or ()]
    ran = [state.get("running") or state.get("terminated") or {} for state in states]
    started = sorted(each["startedAt"] for each in ran if each.get("startedAt"))
    over = [state.get("terminated") or {} for state in states]
    ended = sorted(each["finishedAt"] for each in over if each.get("finishedAt"))
    is_over = status.get("phase") in ("Succeeded", "Failed")
    return {
        "scheduledAt": placed.get("lastTransitionTime") if placed.get("status") == "True" else None,
        "startedAt": started[0] if started else None,
        "stoppedAt": ended[-1] if ended and is_over else None,
    }


async def workload_spec(inner: Inner, request: Request, fields: Mapping[str, Any]) -> tuple[str, Object]:
    """The pack's name, and the spec of pods that run it as the fields of WORKLOAD say. Raises BadRequest, NotFound."""
    if ("packId" in fields) == ("packName" in fields):
        raise bad_fields([Cause("packId", "or packName is required, one of them")])
    if "packId" in fields:
        known = (await pack_by_id(inner, request, fields["packId"]))["spec"]
        pack, version = known["name"], fields.get("packVersion") or known["version"]
    else:
        pack, version = fields["packName"], fields.get("packVersion")
    container = {
        "name": label_of(pack),
        "image": str(PackRef(pack, version)),
        "resources": resources_given(fields, resources(None, None)),
    }
    spec: Object = {"containers": [container]}
    if "nodeSelector" in fields:
        spec["nodeSelector"] = texts_of(fields, "nodeSelector")
    if "tolerations" in fields:
        spec["tolerations"] = records_of(fields, "tolerations", TOLERATION)
    if "priorityClassName" in fields:
        spec["priorityClassName"] = fields["priorityClassName"]
    return pack, spec


def pods_path(namespace: str) -> str:
    """The collection of a namespace, or of all."""
    return f"/api/v1/namespaces/{namespace}/pods" if namespace else PODS


def _path(pod: Object) -> str:
    return f"{pods_path(pod['metadata']['namespace'])}/{pod['metadata']['name']}"


def _runs(pod: Object, name: str, version: str) -> bool:
    return any(pack == name and version in ("", each) for _, pack, each in packs_of(pod["spec"]))
