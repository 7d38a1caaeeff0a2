"""Delete what has lost all its owners, in the background or the foreground, or let it live as an orphan.

Watches the metadata of every kind that is served, also kinds that come later; writes deletions, owner references and
the two finalizers of garbage collection. Nothing is deleted on the word of a cache: absent owners and the object itself
are read from the server first, and the deletion names uid and version.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from stark.client.errors import ApiError, Conflict, NotFound
from stark.client.informer import Change, Informer
from stark.client.kinds import PartialObject, metadata_only
from stark.client.queue import WorkQueue
from stark.crds.extensions import CustomResourceDefinition
from stark.crds.meta import OwnerReference, ResourceDef

from ..kit import DONE, Context, Controller, Outcome, RequeueAfter, Source
from .graph import FOREGROUND, ORPHAN, Graph, Item, group_of, item_of, may_own
from .planning import AwaitDependents, Delete, DropOwners, Finish, Orphan, Owner, plan

log = logging.getLogger(__name__)

DISCOVERY_S = 30.0
"""How often we ask which kinds there are; a change of a CustomResourceDefinition makes us ask at once."""
DISCOVERY_SETTLE_S = 1.0
"""A new definition is served a moment after it is stored."""
FIRST_LISTS_S = 30.0
"""How long the kinds' first lists may hold up the others."""
UNSEEN_RECHECK_S = 300.0
"""How often an object is looked at whose owner exists and is of a kind that we cannot watch."""
IGNORED = frozenset({("", "events"), ("events.k8s.io", "events")})
"""News, not things: they own nothing and vanish by themselves."""
NEEDED_VERBS = frozenset({"list", "watch", "delete"})

ResourceKey = tuple[str, str]


class Garbage(Controller):
    """See the module."""

    name = "garbage"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._api = context.api
        self._definitions = context.informers.of(CustomResourceDefinition)
        self._graph = Graph()
        self._informers: dict[ResourceKey, Informer[PartialObject]] = {}
        self._resources: dict[ResourceKey, ResourceDef] = {}
        self._queue: WorkQueue | None = None
        self._kinds_changed = asyncio.Event()
        self._definitions.subscribe(lambda _: self._kinds_changed.set())

    def sources(self) -> Sequence[Source[Any]]:
        """The keys are uids and come from informers of all kinds, which `lead` starts; this one tells of new kinds."""
        return (Source(self._definitions, lambda _: ()),)

    async def lead(self, queue: WorkQueue) -> None:
        """Follow the kinds that there are, until the term ends."""
        try:
            await self._follow_kinds()
            await self._first_lists()
            self._queue = queue
            for item in self._graph:
                self._look([item.uid] if self._graph.needs_a_look(item) else [])
            while True:
                await self._until_next_discovery()
                await self._follow_kinds()
        finally:
            self._queue = None

    async def _first_lists(self) -> None:
        """Without its owner's kind every object looks abandoned, and each look would cost a request."""
        try:
            async with asyncio.timeout(FIRST_LISTS_S):
                for informer in list(self._informers.values()):
                    await informer.synced()
        except TimeoutError:
            log.warning("not every kind could be listed yet; owners of those kinds are asked for one by one")

    async def _until_next_discovery(self) -> None:
        try:
            async with asyncio.timeout(DISCOVERY_S):
                await self._kinds_changed.wait()
        except TimeoutError:
            return
        self._kinds_changed.clear()
        await asyncio.sleep(DISCOVERY_SETTLE_S)

    # --- kinds ---

    async def _follow_kinds(self) -> None:
        try:
            served = {(each.group, each.plural): each for each in await self._api.discover()}
        except ApiError as error:
            # Half an answer must not look like kinds that went.
            log.warning("discovery failed", extra={"detail": str(error)})
            return
        self._resources = served
        watched = {key for key, each in served.items() if self._is_watched(key, each)}
        for key in watched - self._informers.keys():
            self._follow(key, served[key])
        for key in self._informers.keys() - watched:
            self._leave(key)

    def _is_watched(self, key: ResourceKey, resource: ResourceDef) -> bool:
        return key not in IGNORED and set(resource.extra.get("verbs", ())) >= NEEDED_VERBS

    def _follow(self, key: ResourceKey, resource: ResourceDef) -> None:
        informer = self._context.informers.of(metadata_only(resource))
        self._informers[key] = informer
        informer.subscribe(partial(self._changed, key, resource, informer))
        log.info("following a kind", extra={"resource": resource.plural, "group": resource.group})

    def _leave(self, key: ResourceKey) -> None:
        informer = self._informers.pop(key)
        self._context.informers.drop(informer)
        for item in self._graph:
            if (item.resource.group, item.resource.plural) == key:
                self._look(self._graph.forget(item.uid))

    def _changed(
        self, key: ResourceKey, resource: ResourceDef, informer: Informer[PartialObject], change: Change[PartialObject]
    ) -> None:
        if self._informers.get(key) is not informer:
            return  # the last words of an informer that was dropped
        before, after = change.old, change.new
        if before is not None and (after is None or after.metadata.uid != before.metadata.uid):
            self._look(self._graph.forget(before.metadata.uid or ""))
        if after is not None:
            self._look(self._graph.observe(item_of(resource, after.metadata)))

    def _look(self, uids: Sequence[str]) -> None:
        if self._queue is not None:
            for uid in uids:
                self._queue.add(uid)

    # --- one object ---

    async def reconcile(self, key: str) -> Outcome:
        """Look at the object with this uid as the server has it now, and do what is due."""
        known = self._graph.get(key)
        if known is None or not self._graph.needs_a_look(known):
            return DONE
        try:
            live = await self._api.get(metadata_only(known.resource), known.name, known.namespace or None)
        except NotFound:
            live = None
        if live is None or live.metadata.uid != key:
            self._look(self._graph.forget(key))
            return DONE
        item = item_of(known.resource, live.metadata)
        owners = {} if item.deleting else {owner.uid: await self._owner(item, owner) for owner in item.owners}
        act = plan(item, owners, self._graph.dependents(key))
        await self._carry_out(item, live, act)
        unseen = any(self._graph.get(uid) is None for uid in owners)
        return RequeueAfter(UNSEEN_RECHECK_S) if unseen else DONE

    async def _owner(self, item: Item, reference: OwnerReference) -> Owner:
        seen = self._graph.get(reference.uid)
        if seen is not None and may_own(seen, reference, item):
            return Owner.WAITING if seen.waits_for_dependents else Owner.SOLID
        resource = self._resource_of(reference)
        if resource is None:
            return Owner.UNKNOWN
        if resource.namespaced and not item.namespace:
            # A cluster-scoped object cannot belong to a namespaced one; nobody can tell which namespace was meant.
            return Owner.UNKNOWN
        try:
            namespace = item.namespace if resource.namespaced else None
            live = await self._api.get(metadata_only(resource), reference.name, namespace)
        except NotFound:
            return Owner.GONE
        if live.metadata.uid != reference.uid:
            return Owner.GONE
        return Owner.WAITING if item_of(resource, live.metadata).waits_for_dependents else Owner.SOLID

    def _resource_of(self, reference: OwnerReference) -> ResourceDef | None:
        wanted = (group_of(reference), reference.kind)
        return next((each for each in self._resources.values() if (each.group, each.kind) == wanted), None)

    async def _carry_out(self, item: Item, live: PartialObject, act: object) -> None:
        match act:
            case Delete():
                if act.unblock:
                    live = await self._rewrite(item, live, _unblocked)
                await self._delete(item, live, act.propagation)
            case DropOwners():
                await self._rewrite(item, live, partial(_without, act.uids))
            case Orphan():
                for dependent in act.dependents:
                    await self._let_go(dependent, item.uid)
                await self._drop_finalizer(item, live, ORPHAN)
            case Finish():
                await self._drop_finalizer(item, live, FOREGROUND)
            case AwaitDependents():
                self._look([each.uid for each in act.blocking if not each.deleting])

    async def _delete(self, item: Item, live: PartialObject, propagation: str) -> None:
        kind, version = metadata_only(item.resource), live.metadata.resource_version
        try:
            # uid and version: if somebody gave it an owner since we looked, it stays.
            await self._api.delete(
                kind, item.name, item.namespace or None, uid=item.uid, resource_version=version, propagation=propagation
            )
        except NotFound:
            return
        extra = {"kind": item.resource.kind, "object": f"{item.namespace}/{item.name}", "propagation": propagation}
        log.info("garbage deleted", extra=extra)

    async def _let_go(self, dependent: Item, owner_uid: str) -> None:
        kind = metadata_only(dependent.resource)
        try:
            live = await self._api.get(kind, dependent.name, dependent.namespace or None)
            if live.metadata.uid == dependent.uid:
                await self._rewrite(dependent, live, partial(_without, frozenset({owner_uid})))
        except NotFound:
            return

    async def _rewrite(self, item: Item, live: PartialObject, change: Callable[[OwnerReference], Any]) -> PartialObject:
        """Change the owner references, against exactly the version that was read."""
        before = live.metadata.owner_references
        after = [kept for owner in before if (kept := change(owner)) is not None]
        if after == before:
            return live
        body = [owner.model_dump(mode="json", by_alias=True, exclude_none=True) for owner in after]
        return await self._patch(item, live, {"ownerReferences": body})

    async def _drop_finalizer(self, item: Item, live: PartialObject, finalizer: str) -> None:
        left = [each for each in live.metadata.finalizers if each != finalizer]
        await self._patch(item, live, {"finalizers": left})

    async def _patch(self, item: Item, live: PartialObject, change: dict[str, Any]) -> PartialObject:
        meta = {"uid": item.uid, "resourceVersion": live.metadata.resource_version, **change}
        try:
            return await self._api.patch(
                metadata_only(item.resource), item.name, {"metadata": meta}, item.namespace or None
            )
        except NotFound as error:
            raise Conflict(f"{item.resource.kind} {item.name} went while it was changed") from error


def _without(uids: frozenset[str], owner: OwnerReference) -> OwnerReference | None:
    return None if owner.uid in uids else owner


def _unblocked(owner: OwnerReference) -> OwnerReference:
    return owner.model_copy(update={"block_owner_deletion": False})


def build(context: Context) -> Controller:
    """For the catalog."""
    return Garbage(context)
