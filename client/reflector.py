"""Follow one collection for ever: list it, watch from there, and come back from every kind of interruption.

A sink gets the whole collection, then each change in the server's order, without gap. A broken watch resumes from the
last version seen (bookmarks move it while nothing happens); only 410 Gone, or a frame that makes no sense, costs a new list.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any, Generic, NoReturn, Protocol, TypeVar, cast

from .api import PAGE, RawList
from .backoff import Backoff
from .cached import Cached
from .collector import collector_paused
from .errors import ApiError, FrameTooLarge, Gone
from .kinds import AnyKind, Kind, kind_of
from .watching import WatchEvent

T = TypeVar("T")

log = logging.getLogger(__name__)

RETRY_DELAY_S = 0.2  # first pause after trouble; it doubles up to `Backoff.max_s`
HEALTHY_AFTER_S = 5.0  # a watch that lived this long was a good one: the next failure starts at the shortest pause
ENDED_EARLY_S = 1.0  # a watch that ends sooner, and said nothing, counts as a failure, or we would spin


class ListWatch(Protocol):
    """What following needs of the client."""

    async def list_raw(
        self,
        kind: AnyKind[T],
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 0,
        continue_: str = "",
    ) -> RawList:
        """One page of the collection."""
        ...

    def watch(
        self,
        kind: AnyKind[T],
        namespace: str | None = None,
        *,
        resource_version: str,
        label_selector: str = "",
        field_selector: str = "",
    ) -> AsyncIterator[WatchEvent[T]]:
        """The changes after a version."""
        ...


class Sink(Protocol[T]):
    """Where the collection goes. Called in order, never concurrently."""

    def stage(self, items: Sequence[Cached[T]]) -> None:
        """These will be part of the next `replace`; take what is needed of their mappings now."""
        ...

    def replace(self, items: Sequence[Cached[T]], resource_version: str) -> None:
        """This is all there is at `resource_version`."""
        ...

    def apply(self, event: WatchEvent[T]) -> None:
        """One change, or a bookmark."""
        ...


class Reflector(Generic[T]):
    """Keeps one sink equal to one collection on the server."""

    def __init__(
        self,
        api: ListWatch,
        kind: AnyKind[T],
        sink: Sink[T],
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        retry_delay_s: float = RETRY_DELAY_S,
    ) -> None:
        self._api = api
        self._kind: Kind[T] = kind_of(kind)
        self._sink = sink
        self._namespace = namespace
        self._selectors: dict[str, Any] = {"label_selector": label_selector, "field_selector": field_selector}
        self._backoff = Backoff(initial_s=retry_delay_s)
        self.lists = 0
        """How often the whole collection was fetched; more than once means trouble was met."""

    async def run(self) -> NoReturn:
        """Follow until cancelled. No answer of the server ends it; our own bugs do."""
        while True:
            try:
                version = await self._list()
                await self._follow(version)
            except Gone as error:
                self._note("the collection is listed again", error)
            except ApiError as error:
                self._note("the collection cannot be followed", error)
            await asyncio.sleep(self._backoff.next_s())

    async def _list(self) -> str:
        items: list[Cached[T]] = []
        continue_ = ""
        while True:
            page = await self._api.list_raw(
                self._kind, self._namespace, limit=PAGE, continue_=continue_, **self._selectors
            )
            items += self._staged(page.items)
            continue_ = page.continue_
            if not continue_:
                break
        self.lists += 1
        self._sink.replace(items, page.resource_version)
        return page.resource_version

    def _staged(self, page: list[dict[str, Any]]) -> list[Cached[T]]:
        """One page, reduced to bytes: the mappings of a whole large collection would be ten times its memory."""
        api_version, kind_name = self._kind.resource.api_version, self._kind.resource.kind
        with collector_paused():
            for item in page:
                # The items of a list do not repeat what kind they are; the same object in a watch event does.
                item.setdefault("apiVersion", api_version)
                item.setdefault("kind", kind_name)
            staged = [Cached(self._kind, item) for item in page]
            self._sink.stage(staged)
            page.clear()
            for cached in staged:
                cached.settle()
        return staged

    async def _follow(self, version: str) -> NoReturn:
        loop = asyncio.get_running_loop()
        while True:
            began, before = loop.time(), version
            trouble: ApiError | None = None
            stream = self._api.watch(self._kind, self._namespace, resource_version=version, **self._selectors)
            try:
                async with aclosing(cast("Any", stream)) as events:
                    async for event in events:
                        self._sink.apply(event)
                        version = event.resource_version
            except (Gone, FrameTooLarge):
                raise  # watching on from here cannot work: list again
            except ApiError as error:
                trouble = error
            lived_s = loop.time() - began
            if lived_s > HEALTHY_AFTER_S or version != before:
                self._backoff.reset()
            if trouble is not None:
                self._note("a watch broke and is resumed", trouble)
            if trouble is not None or (lived_s < ENDED_EARLY_S and version == before):
                await asyncio.sleep(self._backoff.next_s())

    def _note(self, what: str, error: ApiError) -> None:
        log.info(
            what,
            extra={
                "resource": self._kind.resource.plural,
                "namespace": self._namespace or "",
                "reason": error.reason,
                "detail": str(error),
            },
        )
