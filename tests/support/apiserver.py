"""A real API server in the test's own process: TLS, a free port, and a session that speaks to it as admin."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp

from stark.apiserver.app import Running, serving
from stark.apiserver.auth.identities import Identity, parse_identity
from stark.apiserver.settings import Settings
from stark.apiserver.store.protocol import Store
from stark.apiserver.stores import open_store

READY_TIMEOUT_S = 20.0
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"


@dataclass
class Answer:
    """What came back. `body` is the decoded JSON, or the text when it is none."""

    status: int
    body: Any
    headers: Mapping[str, str]

    def ok(self, status: int = 200) -> Any:
        """The body, once the status has been checked."""
        assert self.status == status, (self.status, self.body)
        return self.body

    def refused(self, status: int, reason: str) -> str:
        """The message of a Status, once its code and reason have been checked."""
        assert (self.status, self.body.get("reason")) == (status, reason), (self.status, self.body)
        return str(self.body["message"])


@dataclass
class Api:
    """The client side of one server."""

    running: Running
    store: Store
    session: aiohttp.ClientSession
    settings: Settings
    _others: list[aiohttp.ClientSession] = field(default_factory=list)

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str = "application/json",
        headers: Mapping[str, str] | None = None,
        session: aiohttp.ClientSession | None = None,
    ) -> Answer:
        """One request."""
        encoded = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        # aiohttp warns about large buffers that are not files.
        data = BytesIO(encoded) if encoded is not None and len(encoded) > 1_000_000 else encoded
        sent = {**({"Content-Type": content_type} if data is not None else {}), **(headers or {})}
        async with (session or self.session).request(method, self.running.url + path, data=data, headers=sent) as got:
            raw = await got.read()
            try:
                decoded = json.loads(raw)
            except ValueError:
                decoded = raw.decode("utf-8", "replace")
            return Answer(got.status, decoded, got.headers)

    async def get(self, path: str, **options: Any) -> Answer:
        """GET."""
        return await self.ask("GET", path, **options)

    async def post(self, path: str, body: Any, **options: Any) -> Answer:
        """POST."""
        return await self.ask("POST", path, body, **options)

    async def put(self, path: str, body: Any, **options: Any) -> Answer:
        """PUT."""
        return await self.ask("PUT", path, body, **options)

    async def patch(self, path: str, body: Any, content_type: str = MERGE_PATCH) -> Answer:
        """PATCH."""
        return await self.ask("PATCH", path, body, content_type=content_type)

    async def delete(self, path: str, body: Any = None) -> Answer:
        """DELETE."""
        return await self.ask("DELETE", path, body)

    def as_identity(self, text: str) -> aiohttp.ClientSession:
        """A session as `admin`, `controllers` or `node:<name>`."""
        session = _session(self.running, text)
        self._others.append(session)
        return session

    def as_user(self, name: str, *groups: str) -> aiohttp.ClientSession:
        """A session of a user in these groups."""
        return self.as_holder(Identity(name, groups))

    def as_holder(self, identity: Identity) -> aiohttp.ClientSession:
        """A session with a certificate of that identity."""
        session = _session_of(self.running, identity)
        self._others.append(session)
        return session

    def as_nobody(self) -> aiohttp.ClientSession:
        """A session without a certificate."""
        session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=_trust(self.running), limit=0))
        self._others.append(session)
        return session

    @asynccontextmanager
    async def watch(self, path: str) -> AsyncIterator[Watch]:
        """The frames of a watch; `path` with its query, without `watch=1`."""
        joint = "&" if "?" in path else "?"
        async with self.session.get(f"{self.running.url}{path}{joint}watch=1") as response:
            yield Watch(response)

    async def close(self) -> None:
        """End every session."""
        for session in (self.session, *self._others):
            await session.close()


class Watch:
    """Frames, one after the other."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response

    async def next(self, timeout_s: float = 5.0) -> tuple[str, dict[str, Any]]:
        """Type and object of the next frame. Raises EOFError at the end, TimeoutError when none comes."""
        async with asyncio.timeout(timeout_s):
            line = await self.response.content.readline()
        if not line:
            raise EOFError
        frame = json.loads(line)
        return frame["type"], frame["object"]

    async def names(self, count: int) -> list[tuple[str, str]]:
        """Type and name of the next frames."""
        frames = [await self.next() for _ in range(count)]
        return [(kind, obj["metadata"].get("name", "")) for kind, obj in frames]


def _trust(running: Running) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=running.authority.certificate_pem.decode())


def _session(running: Running, identity: str) -> aiohttp.ClientSession:
    return _session_of(running, parse_identity(identity))


def _session_of(running: Running, identity: Identity) -> aiohttp.ClientSession:
    credential = running.authority.issue(identity)
    context = _trust(running)
    folder = running.authority.directory
    path = folder / f"test-{identity.user.replace(':', '-')}.pem"
    path.write_bytes(credential.certificate_pem + credential.key_pem)
    context.load_cert_chain(path)
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context, limit=0), read_bufsize=4 * 1024 * 1024)


@asynccontextmanager
async def api_server(
    directory: Path,
    *,
    store: str = "memory",
    opened: Store | None = None,
    settings: Settings | None = None,
    access_log: str = "none",
) -> AsyncIterator[Api]:
    """A server on a free port that is ready, and a session as admin. `opened`: a store that is already open."""
    chosen = replace(settings or Settings(directory), data_dir=directory, port=0, store=store, access_log=access_log)
    backing = opened or await open_store(chosen)
    try:
        async with serving(chosen, backing) as running:
            async with asyncio.timeout(READY_TIMEOUT_S):
                await running.ready()
            api = Api(running, backing, _session(running, "admin"), chosen)
            try:
                yield api
            finally:
                await api.close()
    finally:
        if opened is None:
            await backing.close()


def pod(name: str, *, namespace: str = "default", **spec: Any) -> dict[str, Any]:
    """A pod that any server accepts."""
    container = {"name": "main", "image": "docker.io/library/busybox:1.36"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"containers": [container], **spec},
    }


def config_map(name: str, labels: Mapping[str, str] | None = None, **data: str) -> dict[str, Any]:
    """The smallest object there is."""
    metadata: dict[str, Any] = {"name": name, **({"labels": dict(labels)} if labels else {})}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
