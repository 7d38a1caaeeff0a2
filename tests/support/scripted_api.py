"""A small API server that says exactly what a test tells it to, over real HTTP, for what a real one seldom does.

Each watch request plays the next script: a sequence of frames, then how it ends. Lists answer from `objects`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web

from stark.client.config import ClientConfig

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Script:
    """One watch: bytes to send, piece by piece, and how it ends: `close` (as it should), `cut`, or `hang`."""

    pieces: Sequence[bytes] = ()
    end: str = "close"


@dataclass
class ScriptedApi:
    """State and record of the server."""

    url: str = ""
    objects: list[dict[str, Any]] = field(default_factory=list)
    version: int = 1
    scripts: list[Script] = field(default_factory=list)
    lists: list[dict[str, str]] = field(default_factory=list)
    """The query of each list request."""
    watches: list[dict[str, str]] = field(default_factory=list)
    requests: list[web.Request] = field(default_factory=list)
    refusals: list[web.Response] = field(default_factory=list)
    """Answers given, one each, to the next requests instead of what they asked for."""
    handler: Handler | None = None
    """Answers everything that is no list or watch."""

    watching: asyncio.Event = field(default_factory=asyncio.Event)
    """Set by the first watch request."""
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    """Ends the watches that hang, so that the server can go."""

    @property
    def config(self) -> ClientConfig:
        return ClientConfig(server=self.url)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        if self.refusals:
            return self.refusals.pop(0)
        if request.query.get("watch") == "true":
            return await self._watch(request)
        if self.handler is not None:
            return await self.handler(request)
        return self._list(request)

    def _list(self, request: web.Request) -> web.Response:
        self.lists.append(dict(request.query))
        begin, limit = int(request.query.get("continue", 0)), int(request.query.get("limit", 0))
        end = begin + limit if limit else len(self.objects)
        meta: dict[str, Any] = {"resourceVersion": str(self.version)}
        if end < len(self.objects):
            meta["continue"] = str(end)
        body = {"apiVersion": "v1", "kind": "List", "metadata": meta, "items": self.objects[begin:end]}
        return web.Response(body=orjson.dumps(body), content_type="application/json")

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        self.watches.append(dict(request.query))
        self.watching.set()
        script = self.scripts.pop(0) if self.scripts else Script(end="hang")
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        for piece in script.pieces:
            await response.write(piece)
            await asyncio.sleep(0)
        if script.end == "hang":
            await self.stopping.wait()
        if script.end == "cut" and request.transport is not None:
            request.transport.abort()
        return response


def config_map(name: str, version: int, namespace: str = "default", **data: str) -> dict[str, Any]:
    """A ConfigMap as it is sent."""
    meta = {"name": name, "namespace": namespace, "uid": f"uid-{name}", "resourceVersion": str(version)}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}


def frame(type_: str, obj: dict[str, Any]) -> bytes:
    """One watch event on the wire."""
    return orjson.dumps({"type": type_, "object": obj}) + b"\n"


def bookmark(version: int) -> bytes:
    """A bookmark on the wire."""
    return frame("BOOKMARK", {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"resourceVersion": str(version)}})


def gone() -> bytes:
    """The ERROR event of a watch whose version is too old."""
    status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Expired", "code": 410}
    return frame("ERROR", {**status, "message": "too old resource version"})


@asynccontextmanager
async def scripted_api() -> AsyncIterator[ScriptedApi]:
    """Serve on a free loopback port."""
    api = ScriptedApi()
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_route("*", "/{path:.*}", api.serve)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        api.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield api
    finally:
        api.stopping.set()
        await runner.cleanup()
