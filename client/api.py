"""The typed client: one coroutine for each thing that the API can do, over one bounded pool of connections.

Retries happen only where repeating is harmless: a GET whose connection broke, anything that never left this machine,
and answers in which the server says that it did nothing and when to come back (429, and 503 with Retry-After).
Every other failure is the caller's to judge, because a write may have happened although its answer was lost.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, cast
from urllib.parse import quote, urlencode

import orjson

from stark.crds.meta import KubeObject, ResourceDef, encode, to_wire

from .collector import collector_paused
from .config import ClientConfig
from .discovery import discover
from .kinds import JSON, AnyKind, Kind, kind_of
from .transport import REQUEST_TIMEOUT_S, Body, Fence, RawResponse, Transport
from .watching import WatchEvent, watch_events

T = TypeVar("T")
K = TypeVar("K", bound=KubeObject)

WATCH_TIMEOUT_S = 300.0  # how long one watch request lasts; ending now and then spreads watchers over servers
PAGE = 2_000  # objects asked for at once by `list_all` and the informers: about 4 MB of pods
ITEMS_MAX = 2_000_000  # objects one `list_all` collects before it calls the server broken


class PatchType(StrEnum):
    """The media types of the four kinds of patch."""

    JSON = "application/json-patch+json"
    MERGE = "application/merge-patch+json"
    STRATEGIC = "application/strategic-merge-patch+json"
    APPLY = "application/apply-patch+yaml"


@dataclass(frozen=True, slots=True)
class ObjectList(Generic[T]):
    """One page of a list. `continue_` is empty on the last one."""

    items: list[T]
    resource_version: str
    continue_: str = ""
    remaining: int | None = None


@dataclass(frozen=True, slots=True)
class RawList:
    """One page of a list, undecoded: the items are mappings without apiVersion and kind."""

    items: list[dict[str, Any]]
    resource_version: str
    continue_: str = ""
    remaining: int | None = None


class Client:
    """An open door to one API server. Use it as an async context manager; it is safe for concurrent use.

    `field_manager` names us in managedFields. `on_warning` is called with the text of each `Warning:` header
    (default: a log line). `fence` is asked before every write is sent, see `fenced`.
    """

    def __init__(
        self,
        config: ClientConfig,
        *,
        user_agent: str = "stark",
        field_manager: str = "",
        on_warning: Callable[[str], None] | None = None,
    ) -> None:
        self.config = config
        self.field_manager = field_manager
        self._fence: Fence | None = None
        self._limit_s = REQUEST_TIMEOUT_S
        self._transport = Transport(config, user_agent=user_agent, on_warning=on_warning)

    async def __aenter__(self) -> Self:
        await self._transport.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._transport.close()

    def identify(self, config: ClientConfig) -> None:
        """Show another identity, or trust another authority, from the next request on. Raises ConfigError."""
        self._transport.identify(config)
        self.config = config

    def present(self, header: str, value: str) -> None:
        """Send a header with every request from the next one on; an empty value takes it away."""
        self._transport.present(header, value)

    def fenced(self, fence: Fence) -> Client:
        """The same connections, but `fence()` is called before each write, may raise `Fenced`, and bounds its time.

        `fence` returns the seconds for which the caller may still write. Leader election gives `Term.remaining_s`.
        """
        other = self._view()
        other._fence = fence
        return other

    def hasty(self, limit_s: float) -> Client:
        """The same connections, but Timeout after `limit_s`: for whoever can do something better than wait.

        Not for what is streamed. On a connection that the network has forgotten no answer ever comes.
        """
        other = self._view()
        other._limit_s = limit_s
        return other

    def _view(self) -> Client:
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        return other

    async def get(self, kind: AnyKind[T], name: str, namespace: str | None = None) -> T:
        """One object. Raises NotFound, Forbidden, ..."""
        seen = kind_of(kind)
        path = _object_path(seen.resource, name, namespace)
        return seen.decode(await self._read(path, seen.accept))

    async def list(
        self,
        kind: AnyKind[T],
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 0,
        continue_: str = "",
        resource_version: str = "",
    ) -> ObjectList[T]:
        """One page (everything when `limit` is 0). Raises Gone when `continue_` or `resource_version` is too old."""
        seen = kind_of(kind)
        page = await self.list_raw(
            seen,
            namespace,
            label_selector=label_selector,
            field_selector=field_selector,
            limit=limit,
            continue_=continue_,
            resource_version=resource_version,
        )
        head = {"apiVersion": seen.resource.api_version, "kind": seen.resource.kind}
        items = [seen.decode({**head, **item}) for item in page.items]
        return ObjectList(items, page.resource_version, page.continue_, page.remaining)

    async def list_raw(
        self,
        kind: AnyKind[T],
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 0,
        continue_: str = "",
        resource_version: str = "",
    ) -> RawList:
        """One page with the items as mappings, for those who decode later or never."""
        seen = kind_of(kind)
        params = _params(
            labelSelector=label_selector,
            fieldSelector=field_selector,
            limit=limit,
            resourceVersion=resource_version,
            **{"continue": continue_},
        )
        path = seen.resource.path(_quoted(namespace)) + params
        text = await self._read(path, seen.accept_list)
        with collector_paused():
            body = orjson.loads(text)
        meta = body.get("metadata") or {}
        return RawList(
            body.get("items") or [],
            meta.get("resourceVersion", ""),
            meta.get("continue", ""),
            meta.get("remainingItemCount"),
        )

    async def list_all(
        self, kind: AnyKind[T], namespace: str | None = None, *, label_selector: str = "", field_selector: str = ""
    ) -> ObjectList[T]:
        """Every object, page by page at one resource version. Raises Gone when that is compacted on the way."""
        items: list[T] = []
        continue_ = ""
        while len(items) < ITEMS_MAX:
            page = await self.list(
                kind,
                namespace,
                label_selector=label_selector,
                field_selector=field_selector,
                limit=PAGE,
                continue_=continue_,
            )
            items += page.items
            continue_ = page.continue_
            if not continue_:
                return ObjectList(items, page.resource_version)
        raise OverflowError(f"{kind_of(kind).resource.plural}: over {ITEMS_MAX} objects")

    async def create(
        self, obj: T, *, kind: Kind[T] | None = None, namespace: str | None = None, dry_run: bool = False
    ) -> T:
        """Create it; `kind` is needed only for mappings. Raises AlreadyExists, Invalid, Forbidden, ..."""
        seen, body = self._wire(obj, kind)
        namespace = namespace or body["metadata"].get("namespace")
        path = seen.resource.path(_quoted(namespace)) + self._write_params(dry_run)
        return seen.decode(await self._write("POST", path, orjson.dumps(body)))

    async def make(self, obj: KubeObject) -> None:
        """`create` for those who know what they made: the answer is not decoded. Raises as it does."""
        path = obj.RESOURCE.path(_quoted(obj.metadata.namespace)) + self._write_params(False)
        await self._write("POST", path, encode(obj))

    async def update(self, obj: T, subresource: str = "", *, kind: Kind[T] | None = None, dry_run: bool = False) -> T:
        """Replace it; with a resourceVersion only if nobody wrote since. Raises Conflict, NotFound, Invalid, ..."""
        seen, body = self._wire(obj, kind)
        meta = body["metadata"]
        path = _object_path(seen.resource, meta["name"], meta.get("namespace"), subresource)
        return seen.decode(await self._write("PUT", path + self._write_params(dry_run), orjson.dumps(body)))

    async def patch(
        self,
        kind: AnyKind[T],
        name: str,
        patch: Any,
        namespace: str | None = None,
        *,
        type: PatchType = PatchType.MERGE,  # noqa: A002 - kubectl's own word for it
        subresource: str = "",
        force: bool = False,
        dry_run: bool = False,
    ) -> T:
        """Change part of it. `patch` is a mapping, or a list of operations for PatchType.JSON.

        `force` takes over conflicting fields and is for PatchType.APPLY, which also needs the client's field_manager.
        """
        seen = kind_of(kind)
        path = _object_path(seen.resource, name, namespace, subresource) + self._write_params(dry_run, force)
        return seen.decode(await self._write("PATCH", path, orjson.dumps(patch), content_type=type.value))

    async def delete(
        self,
        kind: AnyKind[T],
        name: str,
        namespace: str | None = None,
        *,
        grace_period_s: int | None = None,
        propagation: str | None = None,
        uid: str | None = None,
        resource_version: str | None = None,
    ) -> None:
        """Ask for its deletion. `propagation` is Background, Foreground or Orphan.

        `uid` and `resource_version` are preconditions: Conflict when they do not hold. Raises NotFound.
        """
        conditions = {"uid": uid, "resourceVersion": resource_version}
        preconditions = {key: value for key, value in conditions.items() if value is not None}
        options: dict[str, Any] = {"apiVersion": "v1", "kind": "DeleteOptions"}
        if grace_period_s is not None:
            options["gracePeriodSeconds"] = grace_period_s
        if propagation is not None:
            options["propagationPolicy"] = propagation
        if preconditions:
            options["preconditions"] = preconditions
        await self._write("DELETE", _object_path(kind_of(kind).resource, name, namespace), orjson.dumps(options))

    def watch(
        self,
        kind: AnyKind[T],
        namespace: str | None = None,
        *,
        resource_version: str,
        label_selector: str = "",
        field_selector: str = "",
        timeout_s: float = WATCH_TIMEOUT_S,
        bookmarks: bool = True,
    ) -> AsyncIterator[WatchEvent[T]]:
        """What happened after `resource_version`, until the server ends the request after about `timeout_s`.

        Close it with `contextlib.aclosing` when leaving early. Raises Gone (list again), Unavailable (watch again
        from the last version seen), and what the server says in an ERROR event.
        """
        seen = kind_of(kind)
        params = _params(
            watch="true",
            resourceVersion=resource_version,
            labelSelector=label_selector,
            fieldSelector=field_selector,
            timeoutSeconds=max(1, int(timeout_s)),
            allowWatchBookmarks="true" if bookmarks else "",
        )
        path = seen.resource.path(_quoted(namespace)) + params
        return watch_events(self._transport, path, seen, timeout_s)

    async def bind(self, namespace: str, pod: str, node: str, *, uid: str | None = None) -> None:
        """Give the pod to the node. Raises Conflict when it is bound already, NotFound."""
        body: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": pod, "namespace": namespace, **({"uid": uid} if uid else {})},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
        path = f"/api/v1/namespaces/{_quoted(namespace)}/pods/{_quoted(pod)}/binding"
        await self._write("POST", path, orjson.dumps(body))

    async def evict(self, name: str, namespace: str, eviction: Mapping[str, Any]) -> None:
        """Ask for a pod's eviction. Raises TooManyRequests when a disruption budget forbids it, NotFound, Conflict."""
        path = f"/api/v1/namespaces/{_quoted(namespace)}/pods/{_quoted(name)}/eviction"
        await self._write("POST", path, orjson.dumps(eviction))

    async def discover(self) -> Sequence[ResourceDef]:
        """Every resource that the server serves, at each group's preferred version; `extra["verbs"]` is a tuple."""
        return await discover(self._transport)

    @asynccontextmanager
    async def raw(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int] | None = None,
        body: Body = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> AsyncIterator[RawResponse]:
        """Any request, with the answer's body as a stream. `path` is already quoted. Raises as the other calls do.

        There are no retries, and no total timeout unless `timeout_s` says so (a log may be followed for days).
        """
        allowed_s = self._fence() if self._fence and method not in ("GET", "HEAD") else timeout_s
        query = "?" + urlencode(params) if params else ""
        async with self._transport.stream(method, path + query, body=body, headers=headers, timeout_s=allowed_s) as r:
            yield r

    @asynccontextmanager
    async def download(
        self, path: str, *, direct: bool, idle_s: float, idle_elsewhere_s: float
    ) -> AsyncIterator[RawResponse]:
        """The bytes at a path, as a stream. With `direct` another server may give them, to which ours points.

        That one learns nothing of who we are. There are no retries. Raises as the other calls do, and Elsewhere for what
        the other server fails at.
        """
        async with self._transport.download(
            path, direct=direct, idle_s=idle_s, idle_elsewhere_s=idle_elsewhere_s
        ) as response:
            yield response

    async def get_json(self, path: str) -> Any:
        """The JSON at a path, e.g. `/version`."""
        return orjson.loads(await self._read(path))

    async def _write(self, method: str, path: str, body: bytes, *, content_type: str = JSON) -> bytes:
        return await self._transport.request(
            method, path, body=body, content_type=content_type, fence=self._fence, limit_s=self._limit_s
        )

    async def _read(self, path: str, accept: str = JSON) -> bytes:
        return await self._transport.request("GET", path, accept=accept, limit_s=self._limit_s)

    def _wire(self, obj: T, kind: Kind[T] | None) -> tuple[Kind[T], dict[str, Any]]:
        if isinstance(obj, KubeObject):
            return kind or cast("Kind[T]", kind_of(type(obj))), to_wire(obj)
        if kind is None or not isinstance(obj, dict):
            raise TypeError(f"{type(obj).__name__}: give a KubeObject, or a mapping and its kind")
        head = {"apiVersion": kind.resource.api_version, "kind": kind.resource.kind}
        return kind, {**head, **obj}

    def _write_params(self, dry_run: bool, force: bool = False) -> str:
        return _params(fieldManager=self.field_manager, dryRun="All" if dry_run else "", force="true" if force else "")


def _object_path(resource: ResourceDef, name: str, namespace: str | None, subresource: str = "") -> str:
    if name in ("", ".", ".."):
        raise ValueError(f"{resource.kind} {name!r}: an object needs a name to be addressed")
    if resource.namespaced and not namespace:
        raise ValueError(f"{resource.kind} {name}: a namespaced object needs its namespace to be addressed")
    return resource.path(_quoted(namespace), _quoted(name), subresource)


def _quoted(part: str | None) -> str | None:
    return quote(part, safe="") if part else None


def _params(**values: str | int) -> str:
    given = {key: value for key, value in values.items() if value}
    return "?" + urlencode(given) if given else ""
