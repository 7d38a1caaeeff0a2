"""Users' kinds: CustomResourceDefinition objects turned into served resources while we run.

Looks at all definitions again whenever one of them changed, so a missed change cannot matter. A definition is served once
its names are accepted (`naming`), under the accepted names; one that is deleted takes no more objects, takes those it has
with it, and goes when the last of them is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog

from . import naming
from .cache.bell import BELL
from .cache.feed import Feed, StoreLost, TooFarAhead
from .cache.filter import EVERYTHING
from .cache.resource_cache import Prefix, ResourceCache
from .cache.watchers import Watcher
from .errors import ApiError
from .kinds import resources_of, storage_resource
from .registry import metadata
from .registry.keys import prefix_of
from .registry.options import Deletion, Target, Writing
from .registry.writes import Writes
from .request import User
from .resources import Resource, Resources
from .times import timestamp

log = structlog.get_logger(__name__)

GROUP: Final = "apiextensions.k8s.io"
PLURAL: Final = "customresourcedefinitions"
CLEANUP: Final = "customresourcecleanup.apiextensions.k8s.io"
"""The finalizer that keeps a deleted definition until its objects are gone."""
CURRENT_TIMEOUT_S: Final = 3.0
"""How long the cache of a deleted kind may take to hear of its last objects, until the next try."""
RETRY_S: Final = 1.0
"""After a failed write, and while objects of a deleted definition are still going."""
SERVER = User("system:apiserver", ("system:masters",))

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Served:
    """What a definition is served as."""

    terms: tuple[Mapping[str, Any], bool]
    """The spec with the accepted names that the resources were made from, and whether it is being deleted."""
    resources: list[Resource]
    stored: Resource
    """The kind in the version it is stored in, which need not be among them."""


class Definitions:
    """Owns the resources that come from definitions."""

    def __init__(self, resources: Resources, feed: Feed, writes: Writes) -> None:
        self._resources, self._feed, self._writes = resources, feed, writes
        self._served: dict[str, _Served] = {}
        """By the definition's name."""
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
        unfinished = failed = False
        for name, definition in sorted(wanted.items(), key=lambda item: _age(item[1])):
            try:
                unfinished |= await self._serve(name, definition, wanted.values())
            except ApiError as error:
                log.warning("a definition is not settled yet", definition=name, reason=error.message)
                failed = True
        if not failed:
            # Objects of a deleted kind may be held for days: being served does not wait for that.
            self.settled.set()
        return unfinished or failed

    async def _serve(self, name: str, definition: Object, others: Iterable[Object]) -> bool:
        taken = naming.taken_by_others(name, definition["spec"]["group"], others, self._resources)
        named = naming.name(definition, taken)
        if named.is_established:
            self._offer(name, {**definition, "spec": {**definition["spec"], "names": named.names}})
        if metadata.is_deleting(definition):
            return await self._clean_up(name, definition)
        if CLEANUP not in metadata.finalizers(definition):
            await self._set_finalizer(definition, present=True)
        conditions = {naming.NAMES_ACCEPTED: named.accepted, naming.ESTABLISHED: named.established}
        # Noted in what the others of this round are compared with, too.
        definition["status"] = await self._set_status(definition, conditions, named.names)
        return False

    def _offer(self, name: str, definition: Mapping[str, Any]) -> None:
        """Serve a kind as its definition says, unless that is what is served already."""
        terms = (definition["spec"], metadata.is_deleting(definition))
        known = self._served.get(name)
        if known is not None and known.terms == terms:
            return
        offered = resources_of(definition)
        served_now = {(r.group, r.version, r.plural) for r in offered}
        for old in known.resources if known is not None else ():
            if (old.group, old.version, old.plural) not in served_now:
                self._resources.remove(old.group, old.version, old.plural)
        stored = storage_resource(definition)
        paths = sorted({path for resource in offered for path in resource.selectable_fields})
        prefix = prefix_of(stored)
        cache = self._feed.cache(prefix)
        if cache is None or list(cache.wanted_paths) != paths:
            self._feed.remove(prefix)
            self._feed.add(prefix, paths)
        for resource in offered:
            self._resources.add(resource)
        self._served[name] = _Served(terms, offered, stored)

    def _withdraw(self, name: str) -> None:
        served = self._served.pop(name)
        for resource in served.resources:
            self._resources.remove(resource.group, resource.version, resource.plural)
        self._feed.remove(prefix_of(served.stored))

    async def _clean_up(self, name: str, definition: Object) -> bool:
        """Delete the objects, then let the definition go. True while there are any."""
        served = self._served.get(name)
        if served is not None:
            told = ("True", "InstanceDeletionInProgress", "CustomResource deletion is in progress")
            definition["status"] = await self._set_status(definition, {naming.TERMINATING: told})
            if not await self._is_empty(served.stored):
                return True
        told = ("False", "InstanceDeletionCompleted", "removed all instances")
        await self._set_status(definition, {naming.TERMINATING: told})
        if CLEANUP in metadata.finalizers(definition):
            await self._set_finalizer(definition, present=False)
        return False

    async def _is_empty(self, stored: Resource) -> bool:
        """Delete what there is of a kind; whether there was nothing. Raises ApiError when one cannot be deleted."""
        cache = self._feed.cache(prefix_of(stored))
        assert cache is not None, stored.group_resource
        if not cache.ready.is_set():
            return False
        try:
            # What was created a moment before creations were refused must be seen.
            await self._feed.current(CURRENT_TIMEOUT_S)
        except (StoreLost, TooFarAhead):
            return False
        entries = cache.select(EVERYTHING)
        targets = [Target(stored, entry.namespace, entry.name) for entry in entries]
        await self._writes.delete_all(targets, Deletion(), _writing())
        return not entries

    async def _set_finalizer(self, definition: Object, *, present: bool) -> None:
        async def change(old: Object) -> Object:
            others = [item for item in metadata.finalizers(old) if item != CLEANUP]
            return {**old, "metadata": {**old["metadata"], "finalizers": [*others, CLEANUP] if present else others}}

        await self._writes.mutate(self._target(definition), change, _writing())

    async def _set_status(
        self,
        definition: Object,
        conditions: Mapping[str, tuple[str, str, str]],
        names: Mapping[str, Any] | None = None,
    ) -> Object:
        """Write conditions and accepted names, when they are news; the status they are in."""
        moment = timestamp(metadata.now())

        def told(status: Mapping[str, Any]) -> Object:
            known = status.get("conditions") or []
            for kind, condition in conditions.items():
                known = naming.with_condition(known, kind, condition, moment)
            return {**status, "conditions": known, **({"acceptedNames": names} if names is not None else {})}

        before: Object = definition.get("status") or {}
        after = told(before)
        if after == before:
            return before

        async def change(old: Object) -> Object:
            return {**old, "status": told(old.get("status") or {})}

        await self._writes.mutate(self._target(definition, "status"), change, _writing())
        return after

    def _target(self, definition: Mapping[str, Any], subresource: str = "") -> Target:
        resource = self._resources.find(GROUP, "v1", PLURAL)
        assert resource is not None, PLURAL
        return Target(resource, "", definition["metadata"]["name"], subresource)


def _age(definition: Mapping[str, Any]) -> tuple[str, str]:
    """Who was first is named first."""
    return definition["metadata"].get("creationTimestamp") or "", definition["metadata"]["name"]


def _writing() -> Writing:
    return Writing(SERVER, validation="Ignore", consults=False)
