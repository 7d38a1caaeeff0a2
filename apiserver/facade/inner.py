"""The Kubernetes API, asked by the facade for whoever asks it: whatever comes of a path of the originals went through the
same rights, rules and records as if the person had asked for the objects themselves.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Final
from urllib.parse import urlencode

import orjson

from ..errors import Forbidden, InternalError, NotFound, RequestEntityTooLarge
from ..registry.patching import MERGE_PATCH, STRATEGIC_PATCH
from ..request import Answer, Query, Request, Response
from .permission import somebody

JSON: Final = "application/json"
BYTES: Final = "application/octet-stream"
CHUNK: Final = 500
"""Objects read at once: of larger lists no more than that is in memory."""

Ask = Callable[[Request, Request], Awaitable[Answer]]
"""The second request, for whoever asks the first."""
Object = dict[str, Any]


class Given:
    """A body that is there already."""

    __slots__ = ("_data",)

    def __init__(self, data: bytes) -> None:
        self._data = data

    async def read(self, limit: int) -> bytes:
        """All of it. Raises RequestEntityTooLarge."""
        if len(self._data) > limit:
            raise RequestEntityTooLarge(f"the object is larger than {limit} bytes")
        return self._data

    async def chunks(self) -> AsyncIterator[bytes]:
        """All of it, at once."""
        yield self._data


class Inner:
    """Asks through the pipeline, which is made after the facade that it serves."""

    def __init__(self) -> None:
        self._ask: Ask | None = None

    def through(self, ask: Ask) -> None:
        """From now on by this."""
        self._ask = ask

    async def send(
        self,
        request: Request,
        method: str,
        path: str,
        body: Object | bytes | None = None,
        content_type: str = JSON,
        **query: str,
    ) -> Object:
        """The answer's object. Raises Unauthorized for nobody, and whatever the API says no with."""
        assert self._ask is not None, path
        somebody(request)
        data = body if isinstance(body, bytes) else b"" if body is None else orjson.dumps(body)
        headers = {"content-type": content_type, "accept": JSON, "content-length": str(len(data))}
        if "user-agent" in request.headers:
            headers["user-agent"] = request.headers["user-agent"]
        inner = Request(method, path, Query(urlencode(query)), headers, Given(data), request.peer)
        answer = await self._ask(request, inner)
        if not isinstance(answer, Response):
            raise InternalError(f"{method} {path} was answered with a stream")
        raw = answer.body if isinstance(answer.body, bytes) else b"".join(answer.body)
        found: Object = orjson.loads(raw)
        return found

    async def get(self, request: Request, path: str, **query: str) -> Object:
        """One object. Raises NotFound, Forbidden."""
        return await self.send(request, "GET", path, None, JSON, **query)

    async def find(self, request: Request, path: str) -> Object | None:
        """One object; None when it is not there, or not for this person to see."""
        try:
            return await self.get(request, path)
        except (NotFound, Forbidden):
            return None

    async def merge(self, request: Request, path: str, patch: Object) -> Object:
        """Change an object by a merge patch (RFC 7386)."""
        return await self.send(request, "PATCH", path, patch, MERGE_PATCH)

    async def strategic(self, request: Request, path: str, patch: Object) -> Object:
        """Change an object by a strategic merge patch, for lists with keys."""
        return await self.send(request, "PATCH", path, patch, STRATEGIC_PATCH)

    async def every(self, request: Request, path: str, query: Mapping[str, str] | None = None) -> AsyncIterator[Object]:
        """Every object of a collection that this person may see."""
        token = ""
        while True:
            page = await self.get(request, path, limit=str(CHUNK), **{"continue": token}, **(query or {}))
            for item in page.get("items") or ():
                yield item
            token = (page.get("metadata") or {}).get("continue") or ""
            if not token:
                return
