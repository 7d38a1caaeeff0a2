"""A copy of a collection that keeps itself current, with indexes, and tells subscribers which keys changed.

Objects are shared and frozen. They are decoded when somebody looks at them, so subscribers that need only keys, and
indexes over raw fields (`FieldIndex`, `LabelIndex`, `OwnerIndex`), keep an event at the price of parsing its JSON.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import count
from typing import Any, Generic, NoReturn, TypeAlias, TypeVar

from prometheus_client import Counter

from stark.crds.meta import Undecodable

from .cached import Cached
from .errors import Timeout
from .indexes import Index, IndexFunction
from .kinds import AnyKind, Kind, kind_of
from .reflector import RETRY_DELAY_S, ListWatch, Reflector
from .watching import BOOKMARK, DELETED, WatchEvent

T = TypeVar("T")

log = logging.getLogger(__name__)

EVENTS = Counter("informer_events", "Changes received by informers", ["resource"])
HANDLER_ERRORS = Counter("informer_handler_errors", "Exceptions in subscribers of informers", ["resource"])

WAIT_TIMEOUT_S = 30.0  # a cache that is this far behind a write is broken: the waiter gets Timeout and tries again


class Change(Generic[T]):
    """One object before and after; `old` is None when it is new, `new` is None when it is gone.

    When an object was deleted and made again while we were not watching, it is one change from the old to the new.
    """

    __slots__ = ("after", "before", "key")

    def __init__(self, key: str, before: Cached[T] | None, after: Cached[T] | None) -> None:
        self.key = key
        self.before = before
        self.after = after

    @property
    def old(self) -> T | None:
        """The object before the change, decoded now."""
        return self.before.object if self.before is not None else None

    @property
    def new(self) -> T | None:
        """The object after the change, decoded now."""
        return self.after.object if self.after is not None else None


Handler: TypeAlias = Callable[[Change[T]], None]


class Informer(Generic[T]):
    """The current objects of one kind (in one namespace, under selectors). Run it as a task of your own group."""

    def __init__(
        self,
        api: ListWatch,
        kind: AnyKind[T],
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        indexers: Mapping[str, IndexFunction[T]] | None = None,
        retry_delay_s: float = RETRY_DELAY_S,
    ) -> None:
        self.kind: Kind[T] = kind_of(kind)
        self.namespace = namespace
        self._items: dict[str, Cached[T]] = {}
        self._indexes: dict[str, Index[T]] = {}
        self._handlers: list[Handler[T]] = []
        self._synced = asyncio.Event()
        self._version = 0
        self._waiters: list[tuple[int, int, asyncio.Future[None]]] = []
        self._ticket = count()
        self._reflector = Reflector(
            api,
            self.kind,
            self,
            namespace,
            label_selector=label_selector,
            field_selector=field_selector,
            retry_delay_s=retry_delay_s,
        )
        plural = self.kind.resource.plural
        self._events = EVENTS.labels(plural)
        self._handler_errors = HANDLER_ERRORS.labels(plural)
        for name, function in (indexers or {}).items():
            self.add_index(name, function)

    async def run(self) -> NoReturn:
        """Keep current until cancelled."""
        await self._reflector.run()

    async def synced(self) -> None:
        """Wait until the collection was listed for the first time."""
        await self._synced.wait()

    @property
    def has_synced(self) -> bool:
        """Whether the collection was listed at all."""
        return self._synced.is_set()

    @property
    def resource_version(self) -> int:
        """Everything that happened to this collection up to this version of the store is in the cache."""
        return self._version

    def get(self, key: str) -> T | None:
        """The object of `namespace/name` (`name` when cluster-scoped), None when there is none. Raises Undecodable."""
        cached = self._items.get(key)
        return cached.object if cached is not None else None

    def list(self, namespace: str | None = None) -> list[T]:
        """Every object (of one namespace), in no order."""
        if namespace is None:
            return _decoded(self._items.values())
        prefix = f"{namespace}/"
        return _decoded(item for key, item in self._items.items() if key.startswith(prefix))

    def keys(self) -> Iterable[str]:
        """Every key, without decoding anything."""
        return self._items.keys()

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, key: str) -> bool:
        return key in self._items

    def by_index(self, name: str, value: str) -> Sequence[T]:
        """The objects for which the index `name` gives `value`, in no order."""
        return _decoded(self._items[key] for key in self._indexes[name].keys(value))

    def index_keys(self, name: str, value: str) -> Iterable[str]:
        """The keys of those objects, without decoding them."""
        return tuple(self._indexes[name].keys(value))

    def add_index(self, name: str, function: IndexFunction[T]) -> None:
        """Keep one more index. The same name with another function is a mistake: AssertionError."""
        known = self._indexes.get(name)
        if known is not None:
            assert known.function == function, f"{self.kind.resource.plural}: two indexes named {name}"
            return
        index = self._indexes[name] = Index(name, function)
        for key, cached in self._items.items():
            index.put(key, cached)

    def subscribe(self, handler: Handler[T]) -> None:
        """Call `handler` with every change from now on, first with each present object as a new one.

        It runs between two events: it must be quick, and by the time it is called the cache is already current.
        """
        self._handlers.append(handler)
        for key, cached in list(self._items.items()):
            self._call(handler, Change(key, None, cached))

    async def wait_for(self, key: str, resource_version: str | int, timeout_s: float = WAIT_TIMEOUT_S) -> T | None:
        """The object once the cache holds this version of it or a later state; None when it is gone by then.

        For reading one's own writes: pass what the write returned. Raises Timeout when the cache does not catch up.
        """
        await self.caught_up(resource_version, timeout_s)
        return self.get(key)

    async def caught_up(self, resource_version: str | int, timeout_s: float = WAIT_TIMEOUT_S) -> None:
        """Wait until everything up to this version is in the cache. Raises Timeout."""
        wanted = int(resource_version or 0)
        if wanted <= self._version:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiters, (wanted, next(self._ticket), future))
        try:
            async with asyncio.timeout(timeout_s):
                await future
        except TimeoutError as error:
            plural = self.kind.resource.plural
            raise Timeout(f"{plural}: the cache is at {self._version}, not yet at {wanted}", code=0) from error

    # What follows is the sink's side: only the reflector calls it.

    def stage(self, items: Sequence[Cached[T]]) -> None:
        """Take the values of the indexes while the mappings are at hand."""
        for index in self._indexes.values():
            for item in items:
                index.stage(item)

    def replace(self, items: Sequence[Cached[T]], resource_version: str) -> None:
        """Make the cache equal to a list, telling subscribers only what differs."""
        listed = {item.key: item for item in items}
        gone = [key for key in self._items if key not in listed]
        for key in gone:
            self._change(key, None)
        for key, item in listed.items():
            known = self._items.get(key)
            if known is None or known.resource_version != item.resource_version:
                self._change(key, item)
        self._advance(int(resource_version or 0))
        self._synced.set()

    def apply(self, event: WatchEvent[T]) -> None:
        """Take in one event of the watch."""
        cached = event.cached
        if event.type == BOOKMARK or cached is None:
            self._advance(int(event.resource_version))
            return
        self._events.inc()
        if event.type == DELETED:
            self._change(cached.key, None)
        else:
            self._change(cached.key, cached)
            cached.settle(event.encoded())
        self._advance(int(event.resource_version))

    def _change(self, key: str, after: Cached[T] | None) -> None:
        before = self._items.get(key)
        if after is None:
            if before is None:
                return
            del self._items[key]
        else:
            self._items[key] = after
        for index in self._indexes.values():
            index.put(key, after)
        if self._handlers:
            change = Change(key, before, after)
            for handler in self._handlers:
                self._call(handler, change)

    def _call(self, handler: Handler[T], change: Change[T]) -> None:
        try:
            handler(change)
        except Exception:
            # One subscriber's failure over one odd object must not stop the news for all the others.
            self._handler_errors.inc()
            log.exception("a subscriber failed", extra={"key": change.key, "resource": self.kind.resource.plural})

    def _advance(self, version: int) -> None:
        self._version = version
        while self._waiters and self._waiters[0][0] <= version:
            future = heapq.heappop(self._waiters)[2]
            if not future.done():
                future.set_result(None)


def _decoded(items: Iterable[Cached[T]]) -> list[T]:
    return list(_readable(items))


def _readable(items: Iterable[Cached[T]]) -> Iterator[T]:
    for item in items:
        try:
            yield item.object
        except Undecodable as error:
            # One object that we do not understand (a newer server's, say) must not hide all the others.
            extra: dict[str, Any] = {"key": item.key, "resource": item.kind.resource.plural, "detail": str(error)}
            log.error("an object cannot be decoded and is left out", extra=extra)
