"""A watch as a stream of typed events: frames are lines, each a JSON mapping of a type and an object."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Any, Generic, TypeVar

import orjson

from .cached import Cached
from .errors import ApiError, FrameTooLarge, Unavailable, error_from_status
from .kinds import Kind
from .transport import Transport

T = TypeVar("T")

FRAME_MAX = 16 * 1024 * 1024  # one event; the largest object a server of ours stores is a tenth of it
IDLE_GRACE_S = 30.0  # how much longer than its timeoutSeconds a server may keep a watch open and silent

ADDED, MODIFIED, DELETED, BOOKMARK = "ADDED", "MODIFIED", "DELETED", "BOOKMARK"


class WatchEvent(Generic[T]):
    """One change. `type` is ADDED, MODIFIED, DELETED or BOOKMARK; a bookmark's object has only a version."""

    __slots__ = ("_line", "cached", "resource_version", "type")

    def __init__(self, type_: str, cached: Cached[T] | None, resource_version: str, line: bytes) -> None:
        self.type = type_
        self.cached = cached
        self.resource_version = resource_version
        self._line = line

    @property
    def object(self) -> T:
        """The decoded object (after the change; the last state for DELETED). Bookmarks have none: AssertionError."""
        assert self.cached is not None, self.type
        return self.cached.object

    def encoded(self) -> bytes | None:
        """The object's bytes, cut out of the frame; None when the frame is not in the usual form."""
        head = b'{"type":"' + self.type.encode() + b'","object":'
        line = self._line
        return line[len(head) : -1] if line.startswith(head) and line.endswith(b"}") else None


async def watch_events(
    transport: Transport, path: str, kind: Kind[T], timeout_s: float
) -> AsyncIterator[WatchEvent[T]]:
    """The events of one watch request, in the server's order. See `Client.watch` for what it raises."""
    async with transport.stream(
        "GET", path, headers={"Accept": kind.accept}, idle_timeout_s=timeout_s + IDLE_GRACE_S
    ) as response:
        response.keep_alive()
        rest = b""
        async for chunk in response.chunks():
            lines, rest = _split(rest, chunk)
            for line in lines:
                yield parse_event(line, kind)
        if rest.strip():
            raise Unavailable(f"{path.partition('?')[0]}: the watch ended inside a frame", code=0)


def _split(rest: bytes, chunk: bytes) -> tuple[Iterable[bytes], bytes]:
    if len(rest) + len(chunk) > FRAME_MAX and b"\n" not in chunk:
        raise FrameTooLarge(f"a watch frame is over {FRAME_MAX} bytes")
    *lines, last = (rest + chunk).split(b"\n") if rest else chunk.split(b"\n")
    return [line for line in lines if line], last


def parse_event(line: bytes, kind: Kind[T]) -> WatchEvent[T]:
    """One frame. Raises the error of an ERROR frame, and Unavailable for what is no frame."""
    try:
        frame: dict[str, Any] = orjson.loads(line)
        type_, body = frame["type"], frame["object"]
        if type_ == "ERROR":
            raise error_from_status(int(body.get("code") or 500), body, fallback="the watch failed")
        if type_ == BOOKMARK:
            return WatchEvent(type_, None, body["metadata"]["resourceVersion"], line)
        cached = Cached(kind, body)
    except ApiError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unavailable(f"not a watch frame: {line[:200]!r}", code=0) from error
    return WatchEvent(type_, cached, cached.resource_version, line)
