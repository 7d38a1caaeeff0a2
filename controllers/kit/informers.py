"""One informer per collection and process, shared by all the controllers in it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, NoReturn, TypeVar, cast

from stark.client.indexes import IndexFunction
from stark.client.informer import Informer
from stark.client.kinds import AnyKind, kind_of
from stark.client.reflector import ListWatch

T = TypeVar("T")

_Identity = tuple[str, str, str, str, str | None, str, str]


class InformerFactory:
    """Hands out informers and runs them. An informer that is asked for while running starts at once."""

    def __init__(self, api: ListWatch) -> None:
        self._api = api
        self._informers: dict[_Identity, Informer[Any]] = {}
        self._tasks: dict[_Identity, asyncio.Task[NoReturn]] = {}
        self._group: asyncio.TaskGroup | None = None

    def of(
        self,
        kind: AnyKind[T],
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        indexers: Mapping[str, IndexFunction[T]] | None = None,
    ) -> Informer[T]:
        """The informer of this collection; `indexers` are added to what it has."""
        identity = _identity(kind, namespace, label_selector, field_selector)
        informer = cast("Informer[T] | None", self._informers.get(identity))
        if informer is None:
            informer = Informer(
                self._api, kind, namespace, label_selector=label_selector, field_selector=field_selector
            )
            self._informers[identity] = informer
            self._start(identity, informer)
        for name, function in (indexers or {}).items():
            informer.add_index(name, function)
        return informer

    def drop(self, informer: Informer[Any]) -> None:
        """Stop following a collection that is served no more. Whoever shares the informer keeps its last state."""
        for identity, known in list(self._informers.items()):
            if known is informer:
                del self._informers[identity]
                task = self._tasks.pop(identity, None)
                if task is not None:
                    task.cancel()

    async def synced(self) -> None:
        """Wait until every informer that was asked for so far has its first list."""
        for informer in list(self._informers.values()):
            await informer.synced()

    @property
    def has_synced(self) -> bool:
        """Whether every informer has its first list."""
        return all(informer.has_synced for informer in self._informers.values())

    async def run(self) -> None:
        """Run the informers until cancelled."""
        assert self._group is None, "run twice"
        async with asyncio.TaskGroup() as group:
            self._group = group
            for identity, informer in self._informers.items():
                self._start(identity, informer)
            try:
                await asyncio.get_running_loop().create_future()  # for ever: informers may come and go
            finally:
                self._group = None
                for task in self._tasks.values():
                    task.cancel()

    def _start(self, identity: _Identity, informer: Informer[Any]) -> None:
        if self._group is not None:
            self._tasks[identity] = self._group.create_task(informer.run(), name=f"informer {identity[2]}")


def _identity(kind: AnyKind[Any], namespace: str | None, label_selector: str, field_selector: str) -> _Identity:
    seen = kind_of(kind)
    resource = seen.resource
    decoder = repr(kind) if isinstance(kind, type) else seen.accept + getattr(seen.decode, "__name__", "")
    return (resource.group, resource.version, resource.plural, decoder, namespace, label_selector, field_selector)
