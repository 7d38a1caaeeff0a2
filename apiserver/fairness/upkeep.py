"""Keep the levels and schemas there must be, say of each schema whether its level exists, and let the gate follow them.

Looks at everything again whenever one of the objects changed, and now and then, so a missed change cannot matter. What it
decides is in `objects`. Writes go past the gate, as everything does that the server asks of itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import structlog

from stark.crds.flowcontrol import DANGLING, GROUP

from ..cache.bell import BELL
from ..cache.feed import Feed
from ..cache.filter import EVERYTHING
from ..cache.resource_cache import Prefix, ResourceCache
from ..cache.watchers import Watcher
from ..errors import ApiError
from ..registry import metadata
from ..registry.options import Deletion, Target, Writing
from ..registry.writes import Writes
from ..request import User
from ..resources import Resource, Resources
from ..times import timestamp
from .gate import Gate
from .objects import MANDATORY, SUGGESTED, abandoned, put_right

log = structlog.get_logger(__name__)

KINDS: Final = {"PriorityLevelConfiguration": "prioritylevelconfigurations", "FlowSchema": "flowschemas"}
LOOK_AGAIN_S: Final = 60.0
"""How often everything is looked at although nothing changed, as in Kubernetes."""
RETRY_S: Final = 1.0
"""After a write that failed."""
SERVER = User("system:apiserver", ("system:masters",))

Object = dict[str, Any]


class Upkeep:
    """One task beside the requests."""

    def __init__(self, resources: Resources, feed: Feed, writes: Writes, gate: Gate) -> None:
        self._resources, self._feed, self._writes, self._gate = resources, feed, writes, gate
        self.done = asyncio.Event()
        """Set once everything there must be has been there."""

    async def run(self) -> None:
        """Until cancelled."""
        caches = [self._feed.cache(Prefix(GROUP, plural)) for plural in KINDS.values()]
        for cache in caches:
            assert cache is not None, GROUP
            await cache.ready.wait()
        while True:
            with _ringing([cache for cache in caches if cache is not None]) as changed:
                await self._follow(changed)

    async def _follow(self, changed: Sequence[Watcher]) -> None:
        """Look, and again after every change, until a watch is cut off."""
        while True:
            is_settled = await self._look()
            if is_settled:
                self.done.set()
            rings = [asyncio.ensure_future(anext(watcher)) for watcher in changed]
            try:
                done, _ = await asyncio.wait(
                    rings, timeout=LOOK_AGAIN_S if is_settled else RETRY_S, return_when=asyncio.FIRST_COMPLETED
                )
            finally:
                for ring in rings:
                    ring.cancel()
                await asyncio.gather(*rings, return_exceptions=True)
            if any(isinstance(ring.exception(), StopAsyncIteration) for ring in done):
                return

    async def _look(self) -> bool:
        """Make the objects what they must be, and the gate what they say. True when nothing was left to do."""
        stored = {kind: self._stored(kind) for kind in KINDS}
        self._gate.apply([obj for objects in stored.values() for obj in objects.values()])
        is_settled = True
        for ours in (*MANDATORY, *SUGGESTED):
            there = stored[ours["kind"]].get(ours["metadata"]["name"])
            new = put_right(ours, there)
            if new is not None:
                is_settled = False
                await self._try(self._store(new, is_new=there is None), new)
        for old in abandoned([obj for objects in stored.values() for obj in objects.values()]):
            is_settled = False
            await self._try(self._delete(old), old)
        for schema in stored["FlowSchema"].values():
            wanted = _dangling(schema, stored["PriorityLevelConfiguration"])
            if wanted is not None:
                is_settled = False
                await self._try(self._set_conditions(schema, wanted), schema)
        return is_settled

    def _stored(self, kind: str) -> dict[str, Object]:
        cache = self._feed.cache(Prefix(GROUP, KINDS[kind]))
        assert cache is not None, kind
        return {entry.name: {"kind": kind, **entry.decode()} for entry in cache.select(EVERYTHING)}

    async def _try(self, write: Awaitable[None], obj: Mapping[str, Any]) -> None:
        try:
            await write
        except ApiError as error:
            name = obj["metadata"]["name"]
            log.warning("a flow control object is not as it must be yet", name=name, reason=error.message)

    async def _store(self, new: Object, *, is_new: bool) -> None:
        target = self._target(new["kind"], "" if is_new else new["metadata"]["name"])
        if is_new:
            await self._writes.create(target, new, _writing())
        else:
            await self._writes.update(target, new, _writing())

    async def _delete(self, old: Mapping[str, Any]) -> None:
        await self._writes.delete(self._target(old["kind"], old["metadata"]["name"]), Deletion(), _writing())

    async def _set_conditions(self, schema: Mapping[str, Any], conditions: list[Object]) -> None:
        async def change(old: Object) -> Object:
            return {**old, "status": {**(old.get("status") or {}), "conditions": conditions}}

        await self._writes.mutate(self._target("FlowSchema", schema["metadata"]["name"], "status"), change, _writing())

    def _target(self, kind: str, name: str, subresource: str = "") -> Target:
        resource: Resource | None = self._resources.find(GROUP, "v1", KINDS[kind])
        assert resource is not None, kind
        return Target(resource, "", name, subresource)


def _writing() -> Writing:
    return Writing(SERVER, validation="Ignore")


def _dangling(schema: Mapping[str, Any], levels: Mapping[str, Any]) -> list[Object] | None:
    """The conditions of a schema with the truth about its level; None when they tell it already."""
    level = schema["spec"]["priorityLevelConfiguration"]["name"]
    named = f'This FlowSchema references the PriorityLevelConfiguration object named "{level}"'
    wanted = (
        {"type": DANGLING, "status": "False", "reason": "Found", "message": f"{named} and it exists"}
        if level in levels
        else {
            "type": DANGLING,
            "status": "True",
            "reason": "NotFound",
            "message": f"{named} but there is no such object",
        }
    )
    known: list[Object] = (schema.get("status") or {}).get("conditions") or []
    old = next((item for item in known if item["type"] == DANGLING), None)
    if old is not None and all(old.get(field) == value for field, value in wanted.items()):
        return None
    since = old["lastTransitionTime"] if old is not None and old["status"] == wanted["status"] else None
    wanted["lastTransitionTime"] = since or timestamp(metadata.now())
    return [*(item for item in known if item["type"] != DANGLING), wanted]


@contextmanager
def _ringing(caches: Sequence[ResourceCache]) -> Iterator[Sequence[Watcher]]:
    """A watcher of everything in each cache, while the block lasts."""
    watchers = [Watcher(BELL) for _ in caches]
    try:
        for cache, watcher in zip(caches, watchers, strict=True):
            cache.watch_from_now(watcher, EVERYTHING, initial_events=False)
        yield watchers
    finally:
        for watcher in watchers:
            watcher.end()
