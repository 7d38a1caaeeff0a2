"""The part of an API server that an agent needs, in memory over real HTTP: pods, packs, bundles, nodes, leases, events."""

from __future__ import annotations

import asyncio
import hashlib
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from stark.client.config import ClientConfig
from stark.crds.images import pack_object_name

NODE = "testnode"


def status_error(code: int, reason: str, message: str = "") -> web.Response:
    body = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "reason": reason,
        "message": message,
        "code": code,
    }
    return web.json_response(body, status=code)


def merge(target: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """A merge patch in which conditions are merged by type, as strategic merge patch does."""
    out = dict(target)
    for key, value in patch.items():
        if value is None:
            out.pop(key, None)
        elif key == "conditions":
            merged = {c["type"]: c for c in out.get(key, [])} | {c["type"]: c for c in value}
            out[key] = list(merged.values())
        elif isinstance(value, dict):
            out[key] = merge(out.get(key, {}), value)
        else:
            out[key] = value
    return out


class AgentApi:
    """State of the server. `url` stays the same over `stop` and `start`."""

    def __init__(self) -> None:
        self.pods: dict[str, dict[str, Any]] = {}
        self.others: dict[str, dict[str, Any]] = {}
        self.bundles: dict[str, bytes] = {}
        self.events: list[dict[str, Any]] = []
        self.port = 0
        self.version = 1
        self._history: list[dict[str, Any]] = []
        self._changed = asyncio.Condition()
        self._runner: web.AppRunner | None = None
        self.statuses: list[tuple[str, dict[str, Any]]] = []
        self.accounts: set[str] = {"default"}
        self.token_requests: list[dict[str, Any]] = []
        self.mute: set[str] = set()
        """Paths whose next change is made without an answer: its connection breaks."""

    @property
    def config(self) -> ClientConfig:
        return ClientConfig(server=f"http://127.0.0.1:{self.port}")

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/api/v1/pods", self._list_pods)
        app.router.add_patch("/api/v1/namespaces/{ns}/pods/{name}/status", self._patch_status)
        app.router.add_delete("/api/v1/namespaces/{ns}/pods/{name}", self._delete_pod)
        app.router.add_get("/apis/stark.dev/v1/packs/{name}/bundles/{sha}", self._bundle)
        app.router.add_post("/api/v1/namespaces/{ns}/serviceaccounts/{name}/token", self._token)
        app.router.add_route("*", "/{path:.*}", self._other)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    # -- what tests do ----------------------------------------------------------------------------------------------

    def add_pack(self, name: str, version: str, source: bytes, runtime: str = "node", **metadata: Any) -> str:
        """Register a pack; returns its image."""
        digest = hashlib.sha256(source).hexdigest()
        self.bundles[digest] = source
        object_name = pack_object_name(name, version)
        spec = {
            "name": name,
            "version": version,
            "runtime": runtime,
            "metadata": metadata,
            "bundles": [{"architecture": "any", "sha256": digest, "size": len(source)}],
        }
        self.others[f"apis/stark.dev/v1/packs/{object_name}"] = {
            "apiVersion": "stark.dev/v1",
            "kind": "Pack",
            "metadata": {"name": object_name, "uid": str(uuid.uuid4())},
            "spec": spec,
        }
        return f"pack.stark/{name}:{version}"

    def add_policy(self, name: str, **spec: Any) -> None:
        """Make a PackTrustPolicy."""
        path = "apis/stark.dev/v1/packtrustpolicies"
        listed = self.others.setdefault(
            path, {"apiVersion": "stark.dev/v1", "kind": "List", "metadata": {}, "items": []}
        )
        listed["items"].append({"metadata": {"name": name}, "spec": spec})

    async def add_pod(self, name: str, image: str, **spec: Any) -> str:
        """Create a bound pod with one container `main`; `container` overrides its fields. Returns its uid."""
        uid = str(uuid.uuid4())
        container = {"name": "main", "image": image, **spec.pop("container", {})}
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": "default", "uid": uid, "generation": 1, **spec.pop("metadata", {})},
            "spec": {"nodeName": NODE, "containers": [container], **spec},
            "status": {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "True"}]},
        }
        self.pods[name] = pod
        await self.tell("ADDED", pod)
        return uid

    async def change(self, name: str, **parts: Any) -> None:
        self.pods[name] = merge(self.pods[name], parts)
        await self.tell("MODIFIED", self.pods[name])

    async def delete(self, name: str, grace_s: int = 5) -> None:
        """Begin a graceful deletion."""
        meta = {"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": grace_s}
        await self.change(name, metadata=meta)

    async def remove(self, name: str) -> None:
        """Remove at once, as a forced deletion does."""
        await self.tell("DELETED", self.pods.pop(name))

    async def tell(self, kind: str, pod: dict[str, Any]) -> None:
        async with self._changed:
            self.version += 1
            pod["metadata"]["resourceVersion"] = str(self.version)
            self._history.append({"type": kind, "object": json.loads(json.dumps(pod)), "version": self.version})
            self._changed.notify_all()

    def state(self, name: str) -> dict[str, Any]:
        """The status of the pod's only container."""
        statuses = self.pods[name].get("status", {}).get("containerStatuses") or [{}]
        found: dict[str, Any] = statuses[0]
        return found

    def ready(self, name: str) -> bool:
        conditions = self.pods[name].get("status", {}).get("conditions", [])
        return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)

    # -- handlers ---------------------------------------------------------------------------------------------------

    async def _list_pods(self, request: web.Request) -> web.StreamResponse:
        if request.query.get("watch") == "true":
            return await self._watch(request)
        meta = {"resourceVersion": str(self.version)}
        return web.json_response({"kind": "PodList", "metadata": meta, "items": list(self.pods.values())})

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        seen = int(request.query["resourceVersion"])
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: self.version > seen)  # noqa: B023 - awaited in the same turn
                fresh = [entry for entry in self._history if entry["version"] > seen]
                seen = self.version
            for entry in fresh:
                await response.write(json.dumps({"type": entry["type"], "object": entry["object"]}).encode() + b"\n")

    async def _patch_status(self, request: web.Request) -> web.Response:
        name, patch = request.match_info["name"], await request.json()
        pod = self.pods.get(name)
        if pod is None:
            return status_error(404, "NotFound")
        if patch["metadata"].pop("uid") != pod["metadata"]["uid"]:
            return status_error(409, "Conflict", "uid")
        self.statuses.append((name, patch["status"]))
        self.pods[name] = merge(pod, patch)
        await self.tell("MODIFIED", self.pods[name])
        return web.json_response(self.pods[name])

    async def _delete_pod(self, request: web.Request) -> web.Response:
        name, options = request.match_info["name"], await request.json()
        pod = self.pods.get(name)
        if pod is None:
            return status_error(404, "NotFound")
        assert options["gracePeriodSeconds"] == 0
        if options["preconditions"]["uid"] != pod["metadata"]["uid"]:
            return status_error(409, "Conflict", "uid")
        await self.remove(name)
        return web.json_response(pod)

    async def _bundle(self, request: web.Request) -> web.Response:
        data = self.bundles.get(request.match_info["sha"])
        return web.Response(body=data) if data is not None else status_error(404, "NotFound", "no such bundle")

    async def _token(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in self.accounts:
            return status_error(404, "NotFound", f'serviceaccounts "{name}" not found')
        body = await request.json()
        self.token_requests.append(body)
        return web.json_response({**body, "status": {"token": f"token-{len(self.token_requests)}"}}, status=201)

    async def _other(self, request: web.Request) -> web.Response:
        path = request.match_info["path"]
        if request.method == "GET":
            found = self.others.get(path)
            return web.json_response(found) if found else status_error(404, "NotFound", f"{path} not found")
        body = await request.json()
        if request.method == "POST":
            if path.endswith("/events"):
                self.events.append(body)
                return web.json_response(body, status=201)
            body["metadata"].setdefault("uid", str(uuid.uuid4()))
            path = f"{path}/{body['metadata']['name']}"
            if path in self.others:
                return status_error(409, "AlreadyExists")
            self.others[path] = body
            return web.json_response(body, status=201)
        path = path.removesuffix("/status")
        if path not in self.others:
            return status_error(404, "NotFound")
        self.others[path] = merge(self.others[path], body)
        if path in self.mute:
            self.mute.discard(path)
            assert request.transport is not None
            request.transport.close()  # it is done, and nobody is told
        return web.json_response(self.others[path])


@asynccontextmanager
async def agent_api() -> AsyncIterator[AgentApi]:
    """A server for the duration of a test."""
    api = AgentApi()
    await api.start()
    try:
        yield api
    finally:
        await api.stop()
