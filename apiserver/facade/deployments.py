"""`/api/deployments`: deployments as the originals show them; 0 replicas is one pod on every matching node."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from stark.crds.annotations import FOLLOW_LATEST, MODE, MODE_DAEMON_SET, flag
from stark.crds.crash_loop import resumed, view
from stark.crds.deploymentview import STATUSES, is_daemon, status_of
from stark.crds.images import PackRef
from stark.crds.packpods import images_in, packs_of

from ..errors import Cause, NotFound
from ..request import Answer, Request
from .envelope import Refused, success
from .facade import Route, bad_fields, read_fields
from .inner import Inner, Object
from .listing import annotations_of, checked_namespace, creator_of, found_by_id, labels_of, newest_first, paging_of
from .packs import pack_of_version
from .pods import WORKLOAD, Names, workload_spec
from .shapes import amounts_shown, texts_of

DEPLOYMENTS: Final = "/apis/apps/v1/deployments"
NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
REPLICAS_MAX: Final = 1_000
SELECTOR_LABEL: Final = "app"
FILTERS: Final = ("namespace", "status", "labelSelector", "packName")
NEW: Final[Mapping[str, type]] = {
    **WORKLOAD,
    "name": str,
    "replicas": int,
    "followLatest": bool,
    "podLabels": dict,
    "podAnnotations": dict,
}
CHANGEABLE: Final[Mapping[str, type]] = {
    "replicas": int,
    "packVersion": str,
    "followLatest": bool,
    "status": str,
    "labels": dict,
    "annotations": dict,
}


class DeploymentDesk:
    """The handlers."""

    def __init__(self, inner: Inner) -> None:
        self._inner = inner

    def routes(self) -> Sequence[Route]:
        """What is answered here."""
        return (
            Route("GET", "/api/deployments", self.list),
            Route("POST", "/api/deployments", self.create),
            Route("GET", "/api/deployments/*", self.get),
            Route("PATCH", "/api/deployments/*", self.change),
            Route("DELETE", "/api/deployments/*", self.delete),
            Route("GET", "/api/deployments/name/*", self.get_by_name),
            Route("POST", "/api/deployments/*/scale", self.scale),
        )

    async def list(self, request: Request, found: Sequence[str]) -> Answer:
        """The deployments that who asks may see, the newest first."""
        query = request.query
        paging = paging_of(query, FILTERS)
        status, pack = query.first("status"), query.first("packName")
        if status and status not in STATUSES:
            raise bad_fields([Cause("status", f"must be one of {', '.join(STATUSES)}")])
        selector = {"labelSelector": query.first("labelSelector")}
        items = newest_first(
            [
                item
                async for item in self._inner.every(
                    request, _path(checked_namespace(query.first("namespace"))), selector
                )
                if status in ("", status_of(item)) and (not pack or any(each[1] == pack for each in _packs(item)))
            ]
        )
        names = Names(self._inner, request)
        return success(paging.told("deployments", items, [await _shown(names, item) for item in paging.of(items)]))

    async def get(self, request: Request, found: Sequence[str]) -> Answer:
        """One deployment by its uid."""
        return await self._answer(request, await self._find(request, found[0]))

    async def get_by_name(self, request: Request, found: Sequence[str]) -> Answer:
        """One deployment by its name, in `?namespace=`."""
        namespace = checked_namespace(request.query.first("namespace") or "default")
        item = await self._inner.find(request, _path(namespace, found[0]))
        if item is None:
            raise NotFound(f"there is no deployment {found[0]} in the namespace {namespace}")
        return await self._answer(request, item)

    async def create(self, request: Request, found: Sequence[str]) -> Answer:
        """A new one."""
        fields = await read_fields(request, NEW, ("name",))
        name = fields["name"]
        if not NAME.fullmatch(name):
            message = "must be at most 63 small letters, digits and '-', beginning and ending with a letter or digit"
            raise bad_fields([Cause("name", message)])
        replicas = _replicas(fields, 1)
        _, spec = await workload_spec(self._inner, request, fields)
        notes = texts_of(fields, "annotations")
        if replicas == 0:
            notes[MODE] = MODE_DAEMON_SET
        if fields.get("followLatest"):
            notes[FOLLOW_LATEST] = "true"
        labels = {SELECTOR_LABEL: name, **texts_of(fields, "labels")}
        template = {
            "labels": {**texts_of(fields, "podLabels"), SELECTOR_LABEL: name},
            "annotations": texts_of(fields, "podAnnotations"),
        }
        body = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "labels": labels, "annotations": notes},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": {SELECTOR_LABEL: name}},
                "template": {"metadata": template, "spec": spec},
            },
        }
        path = _path(checked_namespace(fields.get("namespace") or "default"))
        return await self._answer(request, await self._inner.send(request, "POST", path, body), 201)

    async def change(self, request: Request, found: Sequence[str]) -> Answer:
        """Replicas, version, following, `status` (paused or active), labels and annotations (null takes one off)."""
        fields = await read_fields(request, CHANGEABLE)
        live = await self._find(request, found[0])
        patch = _scaled(live, _replicas(fields, 0)) if "replicas" in fields else {"metadata": {}, "spec": {}}
        meta, spec = patch["metadata"], patch["spec"]
        meta["resourceVersion"] = live["metadata"]["resourceVersion"]
        for name in ("labels", "annotations"):
            if name in fields:
                kept = texts_of({name: {key: value for key, value in fields[name].items() if value is not None}}, name)
                gone = {key: None for key, value in fields[name].items() if value is None}
                meta[name] = {**(meta.get(name) or {}), **kept, **gone}
        if "followLatest" in fields:
            follows = "true" if fields["followLatest"] else None
            meta["annotations"] = {**(meta.get("annotations") or {}), FOLLOW_LATEST: follows}
        if "status" in fields:
            if fields["status"] not in ("active", "paused"):
                raise bad_fields([Cause("status", "must be active or paused")])
            spec["paused"] = fields["status"] == "paused"
            if fields["status"] == "active":
                meta["annotations"] = {**(meta.get("annotations") or {}), **resumed(annotations_of(live))}
        if "packVersion" in fields:
            spec["template"] = {"spec": await self._version(request, live, fields["packVersion"])}
        return await self._answer(request, await self._inner.strategic(request, _own_path(live), patch))

    async def _version(self, request: Request, live: Object, version: str) -> Object:
        packs = _packs(live)
        if not packs:
            raise Refused("INVALID_STATE", f"deployment {live['metadata']['name']} runs no pack")
        pack = packs[0][1]
        if await pack_of_version(self._inner, request, pack, version) is None:
            raise Refused("VERSION_NOT_FOUND", f"pack {pack} has no version {version}", 404)
        return images_in(live["spec"]["template"]["spec"], pack, str(PackRef(pack, version)))

    async def scale(self, request: Request, found: Sequence[str]) -> Answer:
        """So many pods, or with 0 one on every matching node."""
        fields = await read_fields(request, {"replicas": int}, ("replicas",))
        live = await self._find(request, found[0])
        patch = _scaled(live, _replicas(fields, 0))
        return await self._answer(request, await self._inner.merge(request, _own_path(live), patch))

    async def delete(self, request: Request, found: Sequence[str]) -> Answer:
        """Delete it, and its pods with it."""
        live = await self._find(request, found[0])
        query = {"propagationPolicy": "Foreground"}
        await self._inner.send(request, "DELETE", _own_path(live), None, **query)
        return success({"deleted": True, "deploymentId": live["metadata"]["uid"]})

    async def _find(self, request: Request, word: str) -> Object:
        return await found_by_id(self._inner, request, DEPLOYMENTS, word, "deployment")

    async def _answer(self, request: Request, item: Object, status: int = 200) -> Answer:
        return success({"deployment": await _shown(Names(self._inner, request), item)}, status)


def _path(namespace: str, name: str = "") -> str:
    if not namespace:
        return DEPLOYMENTS
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    return f"{path}/{name}" if name else path


def _own_path(item: Object) -> str:
    return _path(item["metadata"]["namespace"], item["metadata"]["name"])


def _packs(item: Object) -> list[tuple[str, str, str]]:
    return packs_of(item["spec"]["template"]["spec"])


def _replicas(fields: Mapping[str, Any], default: int) -> int:
    given: int = fields.get("replicas", default)
    if not 0 <= given <= REPLICAS_MAX:
        raise bad_fields([Cause("replicas", f"must be between 0 and {REPLICAS_MAX}")])
    return given


def _scaled(live: Object, replicas: int) -> Object:
    """Mode and number in one change."""
    patch: Object = {"metadata": {}, "spec": {"replicas": replicas}}
    if is_daemon(live) != (replicas == 0):
        patch["metadata"]["annotations"] = {MODE: MODE_DAEMON_SET if replicas == 0 else None}
    return patch


async def _shown(names: Names, item: Object) -> dict[str, Any]:
    """A deployment as the originals show it."""
    meta, spec, status = item["metadata"], item["spec"], item.get("status") or {}
    pods = spec["template"]
    _, pack, version = next(iter(_packs(item)), ("", "", ""))
    resources = pods["spec"]["containers"][0].get("resources") or {}
    crashing = view(item, datetime.now(UTC))
    return {
        "id": meta["uid"],
        "name": meta["name"],
        "namespace": meta["namespace"],
        "packId": await names.pack_id(pack, version) if pack and version else None,
        "packName": pack or None,
        "packVersion": version or None,
        "followLatest": flag(annotations_of(item), FOLLOW_LATEST),
        "replicas": 0 if is_daemon(item) else spec.get("replicas", 1),
        "mode": "daemonset" if is_daemon(item) else "replicas",
        "status": status_of(item),
        "labels": labels_of(item),
        "annotations": annotations_of(item),
        "podLabels": pods["metadata"].get("labels") or {},
        "nodeSelector": pods["spec"].get("nodeSelector") or {},
        "tolerations": pods["spec"].get("tolerations") or [],
        "resourceRequests": amounts_shown(resources.get("requests")),
        "resourceLimits": amounts_shown(resources.get("limits")),
        "readyReplicas": status.get("readyReplicas") or 0,
        "availableReplicas": status.get("availableReplicas") or 0,
        "updatedReplicas": status.get("updatedReplicas") or 0,
        "createdBy": creator_of(item),
        "createdAt": meta["creationTimestamp"],
        "statusMessage": crashing.paused or None,
        "lastSuccessfulVersion": crashing.last_successful,
        "consecutiveFailures": crashing.failures,
        "retryInSeconds": crashing.retry_in_s,
        "blockedVersions": [
            {"version": each.version, "attempts": each.attempts, "retryInSeconds": each.retry_in_s}
            for each in crashing.blocked
        ],
    }
