"""Users' kinds: CustomResourceDefinition objects turned into served resources while we run.

Looks at all definitions again whenever one of them changed, so a missed change cannot matter. A definition is served when
its names are free; one that is deleted takes its objects with it, and goes when the last of them is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, Final

import structlog

from .cache.bell import BELL
from .cache.feed import Feed
from .cache.filter import EVERYTHING
from .cache.resource_cache import Prefix, ResourceCache
from .cache.watchers import Watcher
from .errors import ApiError
from .kinds import resources_of
from .registry import metadata
from .registry.keys import CORE, prefix_of
from .registry.options import Deletion, Target, Writing
from .registry.writes import Writes
from .request import User
from .resources import Resource, Resources

log = structlog.get_logger(__name__)

GROUP: Final = "apiextensions.k8s.io"
PLURAL: Final = "customresourcedefinitions"
CLEANUP: Final = "customresourcecleanup.apiextensions.k8s.io"
"""The finalizer that keeps a deleted definition until its objects are gone."""
RETRY_S: Final = 1.0
"""After a failed write, and while objects of a deleted definition are still going."""
SERVER = User("system:apiserver", ("system:masters",))

Object = dict[str, Any]


class Definitions:
    """Owns the resources that come from definitions."""

    def __init__(self, resources: Resources, feed: Feed, writes: Writes) -> None:
        self._resources, self._feed, self._writes = resources, feed, writes
        self._served: dict[str, tuple[Mapping[str, Any], list[Resource]]] = {}
        """By the definition's name: the spec they were made from, and the resources."""
        self.settled = asyncio.Event()
        """Set once every definition there was at the start is served."""

    async def run(self) -> None:
        """Follow the definitions until cancelled."""
        cache = self._feed.cache(Prefix(GROUP, PLURAL))
        assert cache is not None, PLURAL
        while True:
            await cache.ready.wait()
            watcher = Watcher(BELL)
            cache.watch_from_now(watcher, EVERYTHING, initial_events=False)
            try:
                await self._follow(cache, watcher)
            finally:
                watcher.end()

    async def _follow(self, cache: ResourceCache, watcher: Watcher) -> None:
        while True:
            unfinished = await self._look(cache)
            if not unfinished:
                self.settled.set()
            try:
                async with asyncio.timeout(RETRY_S if unfinished else None):
                    await anext(watcher)
            except StopAsyncIteration:
                return
            except TimeoutError:
                continue

    async def _look(self, cache: ResourceCache) -> bool:
        """Make what is served what the definitions say. True when something is left to do later."""
        wanted = {entry.name: entry.decode() for entry in cache.select(EVERYTHING)}
        for name in self._served.keys() - wanted.keys():
            self._withdraw(name)
        unfinished = False
        for name, definition in wanted.items():
            try:
                unfinished |= await self._serve(name, definition)
            except ApiError as error:
                log.warning("a definition is not settled yet", definition=name, reason=error.message)
                unfinished = True
        return unfinished

    async def _serve(self, name: str, definition: Object) -> bool:
        if metadata.is_deleting(definition):
            return await self._clean_up(name, definition)
        clash = self._clash(definition)
        if clash:
            await self._set_status(definition, _conditions(definition, clash))
            return False
        known = self._served.get(name)
        if known is None or known[0] != definition["spec"]:
            self._offer(name, definition)
        if CLEANUP not in metadata.finalizers(definition):
            await self._set_finalizer(definition, present=True)
        await self._set_status(definition, _conditions(definition, ""))
        return False

    def _clash(self, definition: Mapping[str, Any]) -> str:
        """Why the names cannot be accepted; empty when they can."""
        spec, own = definition["spec"], definition["metadata"]["name"]
        mine = {id(r) for r in self._served.get(own, ({}, []))[1]}
        for resource in self._resources:
            if id(resource) in mine or resource.group != spec["group"]:
                continue
            if resource.plural == spec["names"]["plural"]:
                return f'"{resource.plural}" is already in use'
            if resource.kind == spec["names"]["kind"]:
                return f'"{resource.kind}" is already in use'
        return ""

    def _offer(self, name: str, definition: Mapping[str, Any]) -> None:
        offered = resources_of(definition)
        served_now = {(r.group, r.version, r.plural) for r in offered}
        for old in self._served.get(name, ({}, []))[1]:
            if (old.group, old.version, old.plural) not in served_now:
                self._resources.remove(old.group, old.version, old.plural)
        paths = sorted({path for resource in offered for path in resource.selectable_fields})
        prefix = Prefix(definition["spec"]["group"] or CORE, definition["spec"]["names"]["plural"])
        cache = self._feed.cache(prefix)
        if cache is None or list(cache.paths) != paths:
            self._feed.remove(prefix)
            self._feed.add(prefix, paths)
        for resource in offered:
            self._resources.add(resource)
        self._served[name] = (definition["spec"], offered)

    def _withdraw(self, name: str) -> None:
        _, resources = self._served.pop(name)
        for resource in resources:
            self._resources.remove(resource.group, resource.version, resource.plural)
            self._feed.remove(prefix_of(resource))

    async def _clean_up(self, name: str, definition: Object) -> bool:
        """Delete the objects, then let the definition go. True while there are any."""
        resources = self._served.get(name, ({}, []))[1]
        cache = self._feed.cache(prefix_of(resources[0])) if resources else None
        if cache is not None and resources:
            entries = cache.select(EVERYTHING)
            targets = [Target(resources[0], entry.namespace, entry.name) for entry in entries]
            await self._writes.delete_all(targets, Deletion(), _writing())
            if entries:
                return True
        if CLEANUP in metadata.finalizers(definition):
            await self._set_finalizer(definition, present=False)
        return False

    async def _set_finalizer(self, definition: Object, *, present: bool) -> None:
        async def change(old: Object) -> Object:
            others = [item for item in metadata.finalizers(old) if item != CLEANUP]
            return {**old, "metadata": {**old["metadata"], "finalizers": [*others, CLEANUP] if present else others}}

        await self._writes.mutate(self._target(definition), change, _writing())

    async def _set_status(self, definition: Object, conditions: list[Object]) -> None:
        names = definition["spec"]["names"]
        wanted = {"conditions": conditions, "acceptedNames": names}
        status = definition.get("status") or {}
        if all(status.get(field) == value for field, value in wanted.items()):
            return

        async def change(old: Object) -> Object:
            return {**old, "status": {**(old.get("status") or {}), **wanted}}

        await self._writes.mutate(self._target(definition, "status"), change, _writing())

    def _target(self, definition: Mapping[str, Any], subresource: str = "") -> Target:
        resource = self._resources.find(GROUP, "v1", PLURAL)
        assert resource is not None, PLURAL
        return Target(resource, "", definition["metadata"]["name"], subresource)


def _writing() -> Writing:
    return Writing(SERVER, validation="Ignore", consults=False)


def _conditions(definition: Mapping[str, Any], clash: str) -> list[Object]:
    """NamesAccepted and Established, with the time of the last change kept when there is none."""
    known = {item["type"]: item for item in (definition.get("status") or {}).get("conditions") or []}
    accepted = ("False", "NameConflict", clash) if clash else ("True", "NoConflicts", "no conflicts found")
    established = (
        ("False", "NotAccepted", "not all names are accepted")
        if clash
        else ("True", "InitialNamesAccepted", "the initial names have been accepted")
    )
    wanted: Iterable[tuple[str, tuple[str, str, str]]] = (("NamesAccepted", accepted), ("Established", established))
    return [_condition(known.get(kind), kind, *state) for kind, state in wanted]


def _condition(known: Mapping[str, Any] | None, kind: str, status: str, reason: str, message: str) -> Object:
    since = known["lastTransitionTime"] if known and known.get("status") == status else None
    return {
        "lastTransitionTime": since or metadata.timestamp(metadata.now()),
        "message": message,
        "reason": reason,
        "status": status,
        "type": kind,
    }
