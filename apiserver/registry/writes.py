"""Create, update, patch and delete, for every kind the same way.

The order of a write: the schema prunes, defaults and validates; admission changes and judges; the server fills in what
is its own; the kind's own rules; compare-and-swap in the store. Everything before the store happens again when somebody
else was faster.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

from ..admission.attributes import GroupVersionKind
from ..cel.rules import has_rules
from ..errors import AlreadyExists, ApiError, BadRequest, Conflict, MethodNotAllowed, NotFound
from ..resources import Resource, derived
from . import bodies, deletion, metadata, updating
from .admitting import Admission, Admitting
from .along import Along
from .options import Deletion, Target, Writing
from .ownership import SCALE, Ownership
from .owning import require_own
from .quotas import Quotas
from .records import REMOVED, Object, Records, Removed, Stored, expectation
from .refusals import conflict, invalid_object
from .schemas import Schemas
from .strategies import strategy_of
from .strategies.base import Strategy
from .versions import Versions

NAME_ATTEMPTS_MAX: Final = 8
"""How often another random suffix is tried when a generated name is taken, as in Kubernetes."""
APPLY_ATTEMPTS_MAX: Final = 4
"""Apply changes what is there and creates what is not; how often that may turn out to be the other case after all."""
DELETIONS_AT_ONCE: Final = 16
"""Objects of a collection that are deleted at the same time: the store commits them together."""

Change = Callable[[Object], Object]
"""From the current object to what the client wants it to be. Called again after a lost race."""


MayCreate = Callable[[], Awaitable[bool]]
"""Raises Forbidden when the client may not create objects of the kind. Whether they may only for themselves."""


class Writes:
    """The write side of the registry."""

    def __init__(
        self, records: Records, schemas: Schemas, admission: Admission, versions: Versions, quotas: Quotas
    ) -> None:
        self._records, self._schemas, self._versions, self._quotas = records, schemas, versions, quotas
        self._admitting = Admitting(admission, schemas)
        self._ownership = Ownership()

    async def create(self, target: Target, obj: Object, writing: Writing) -> Stored:
        """Store a new object. Raises AlreadyExists, Invalid, BadRequest, Forbidden ..."""
        resource = target.resource
        bodies.expect_kind(obj, resource.api_version, resource.kind)
        bodies.expect_place(obj, resource, target.namespace, target.name)
        self._check_alive(resource)
        is_generated = not obj["metadata"].get("name") and bool(obj["metadata"].get("generateName"))
        for attempt in range(NAME_ATTEMPTS_MAX):
            # The first attempt may note its premises in what it was given: a copy for each costs as much as a look-up.
            turn = writing if not writing.premises else replace(writing, premises=[])
            try:
                return await self._store_new(resource, await self._prepare_new(target, obj, turn), turn)
            except AlreadyExists:
                if not is_generated or attempt + 1 == NAME_ATTEMPTS_MAX:
                    raise
            except Conflict:
                # Something the decision rests on has changed: it is made again, on what the store says.
                if (
                    not turn.premises
                    or attempt + 1 == NAME_ATTEMPTS_MAX
                    or not await self._records.outdated(turn.premises)
                ):
                    raise
        raise AssertionError(NAME_ATTEMPTS_MAX)

    async def _prepare_new(self, target: Target, obj: Object, writing: Writing) -> Object:
        resource, strategy = target.resource, strategy_of(target.resource)
        new = self._schemas.admit_new(resource, obj, writing)
        if updating.has_status(resource) and not strategy.keeps_status_on_create:
            updating.begin_status(resource, new)
        strategy.prepare_create(new)
        attributes = await self._admitting.creation(target, new, writing)
        now = metadata.now()
        self._ownership.created(target, new, writing, now)
        metadata.begin(new, now, generation=_counts_generation(resource))
        strategy.settle_identity(new)
        causes = metadata.problems(new, strategy.name_problems)
        if new["metadata"].get("name"):  # a kind's own rules may count on it
            causes += strategy.create_problems(new)
        if causes:
            raise invalid_object(resource, new["metadata"].get("name", ""), causes)
        if _is_reviewed(resource):
            await self._review(resource, new, None, writing)
        await self._admitting.conclude(attributes)
        return new

    async def _store_new(self, resource: Resource, new: Object, writing: Writing) -> Stored:
        # Asked again: the definition may have been deleted while somebody outside was asked about the object.
        self._check_alive(resource)
        stored = await self._as_stored(resource, new)
        along = writing.along or (Along((), lambda made: ()) if writing.premises and not writing.dry_run else None)
        if along is not None:
            along = replace(along, expect=[*along.expect, *map(expectation, writing.premises)])
            return await self._records.create_along(resource, stored, along)
        return await self._quotas.create(resource, stored, ttl_s=strategy_of(resource).ttl_s, dry_run=writing.dry_run)

    async def update(
        self, target: Target, obj: Object, writing: Writing, may_create: MayCreate | None = None
    ) -> tuple[Stored, bool]:
        """Replace an object, or its status. The stored object, and whether it was created. Raises NotFound, Conflict ..."""
        resource = target.resource
        bodies.expect_kind(obj, resource.api_version, resource.kind)
        bodies.expect_place(obj, resource, target.namespace, target.name)
        try:
            stored = await self._change(target, lambda old: obj, writing, needs_version=resource.custom)
        except NotFound:
            creates = strategy_of(resource).create_on_update and not target.subresource
            if not creates or obj["metadata"].get("resourceVersion") or obj["metadata"].get("uid"):
                raise
            if may_create is not None:
                writing = replace(writing, restricted=await may_create())
            return await self.create(target, obj, writing), True
        return stored, False

    async def patch(self, target: Target, change: Change, writing: Writing) -> Stored:
        """Change an object as a patch says, again whenever somebody else was faster."""

        def patched(old: Object) -> Object:
            new = change(old)
            bodies.expect_kind(new, target.resource.api_version, target.resource.kind)
            bodies.expect_place(new, target.resource, target.namespace, target.name)
            return new

        return await self._change(target, patched, writing, needs_version=False)

    async def apply(
        self, target: Target, config: Object, writing: Writing, *, force: bool, may_create: MayCreate
    ) -> tuple[Stored, bool]:
        """Make the object have what a configuration says; create it when it is missing. Whether it was created, too.

        Raises Conflict when others own what would change and `force` is off, and what `update` and `create` raise.
        """
        resource, name = target.resource, target.name
        bodies.expect_kind(config, resource.api_version, resource.kind)
        bodies.expect_place(config, resource, target.namespace, name)
        if config["metadata"].pop("managedFields", None):
            raise BadRequest("metadata.managedFields must be nil")

        def applied(old: Object) -> Object:
            return self._ownership.applied(target, old, config, writing, force=force)

        for attempt in range(APPLY_ATTEMPTS_MAX):
            try:
                return await self._change(target, applied, writing, needs_version=False), False
            except NotFound:
                if target.subresource:
                    raise
            if config["metadata"].get("uid") or config["metadata"].get("resourceVersion"):
                raise conflict(resource, name)
            writing = replace(writing, restricted=await may_create())
            new = self._ownership.applied(target, None, config, writing, force=force)
            try:
                return await self.create(replace(target, name=""), new, writing), True
            except AlreadyExists:
                if attempt + 1 == APPLY_ATTEMPTS_MAX:
                    raise
        raise AssertionError(APPLY_ATTEMPTS_MAX)

    async def apply_part(
        self, target: Target, config: Callable[[Object], Object], writing: Writing, *, force: bool
    ) -> Stored:
        """Apply through a subresource of another kind; `config` says in terms of the object what the client said."""

        async def applied(old: Object) -> Object:
            return self._ownership.applied(target, old, config(old), writing, force=force)

        return await self.mutate(target, applied, writing)

    async def mutate(self, target: Target, change: Callable[[Object], Awaitable[Object]], writing: Writing) -> Stored:
        """Make a change that a subresource of the server's own stands for, without a client's object to check."""
        resource, strategy = target.resource, strategy_of(target.resource)
        kept: list[Object] = []

        async def decide(current: Object) -> Object | Removed:
            require_own(target, current)
            old = await self._as_served(resource, current)
            new = await change(await self._as_served(resource, current))
            attributes = await self._admitting.change(target, new, old, writing)
            if target.subresource == SCALE:
                self._ownership.updated(target, new, old, writing)
                await self._schemas.judge(resource, new, old, writing)
            updating.count_generation(resource, new, old)
            await self._admitting.conclude(attributes)
            kept[:] = [new]
            return REMOVED if deletion.is_over(new, strategy) else await self._as_stored(resource, new)

        stored, is_removed = await self._records.change(_place(target), decide, dry_run=writing.dry_run)
        return Stored.of(await self._as_stored(resource, kept[0]), stored.revision) if is_removed else stored

    async def _change(self, target: Target, change: Change, writing: Writing, *, needs_version: bool) -> Stored:
        resource, strategy = target.resource, strategy_of(target.resource)
        kept: list[Object] = []
        if writing.premises:
            writing = replace(writing, premises=[])

        async def decide(current: Object) -> Object | Removed:
            require_own(target, current)
            old = await self._as_served(resource, current)
            wanted = change(old)
            updating.check_version(target, wanted, old, required=needs_version)
            new = await self._prepare_update(target, wanted, old, strategy, writing)
            kept[:] = [new]
            if deletion.is_over(new, strategy):
                return REMOVED
            return await self._as_stored(resource, new)

        stored, is_removed = await self._records.change(
            _place(target), decide, ttl_s=strategy.ttl_s, dry_run=writing.dry_run, premises=writing.premises
        )
        # An update that took the last finalizer away is answered with what the client made of the object.
        return Stored.of(await self._as_stored(resource, kept[0]), stored.revision) if is_removed else stored

    async def _prepare_update(
        self, target: Target, wanted: Object, old: Object, strategy: Strategy, writing: Writing
    ) -> Object:
        merged = updating.merge(target, dict(wanted), old, strategy)
        new = self._schemas.admit_update(target.resource, merged, old, writing)
        metadata.keep(new, old)
        metadata.drop_empty(new)
        updating.prepare(target, new, old, strategy)
        attributes = await self._admitting.change(target, new, old, writing)
        self._ownership.updated(target, new, old, writing)
        updating.count_generation(target.resource, new, old)
        updating.check(target, new, old, strategy)
        if _is_reviewed(target.resource):
            await self._review(target.resource, new, old, writing)
        await self._admitting.conclude(attributes)
        return new

    async def _review(self, resource: Resource, new: Object, old: Object | None, writing: Writing) -> None:
        """What may take long to find out: the kind's own last word, and the rules of its schema. Raises Invalid."""
        causes = await strategy_of(resource).review(new, old)
        if causes:
            raise invalid_object(resource, new["metadata"].get("name", ""), causes)
        await self._schemas.judge(resource, new, old, writing)

    async def delete(self, target: Target, wanted: Deletion, writing: Writing) -> tuple[Stored, bool]:
        """Delete an object, or begin to. The object, and whether it is gone. Raises NotFound, Conflict, Forbidden ..."""
        resource, strategy = target.resource, strategy_of(target.resource)
        writing = replace(writing, premises=[])

        async def decide(current: Object) -> Object | Removed:
            require_own(target, current)
            deletion.check_preconditions(resource, current, wanted)
            old = await self._as_served(resource, current)
            await self._admitting.deletion(target, old, wanted, writing)
            outcome = deletion.plan(old, strategy, wanted, metadata.now())
            return outcome if isinstance(outcome, Removed) else await self._as_stored(resource, outcome)

        return await self._records.change(
            _place(target), decide, dry_run=writing.dry_run or wanted.dry_run, premises=writing.premises
        )

    async def delete_all(self, targets: list[Target], wanted: Deletion, writing: Writing) -> None:
        """Delete many objects; those that went meanwhile are no complaint. Raises the first refusal, after all."""
        turns = asyncio.Semaphore(DELETIONS_AT_ONCE)

        async def one(target: Target) -> ApiError | None:
            async with turns:
                try:
                    await self.delete(target, wanted, writing)
                except NotFound:
                    return None
                except ApiError as error:
                    return error
                return None

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(target)) for target in targets]
        refusal = next((task.result() for task in tasks if task.result() is not None), None)
        if refusal is not None:
            raise refusal

    async def admit_body(self, target: Target, kind: GroupVersionKind, body: Object, writing: Writing) -> None:
        """Let those outside change and judge the body of a subresource that is a kind of its own. Raises ApiError."""
        if self._admitting.is_alone:
            return
        await self._admitting.body(target, kind, body, writing)

    def _check_alive(self, resource: Resource) -> None:
        """Raises MethodNotAllowed when the kind is on its way out."""
        if resource.custom and self._versions.is_terminating(resource):
            raise MethodNotAllowed(
                "create not allowed while custom resource definition is terminating",
                group=resource.group,
                kind=resource.plural,
            )

    async def _as_served(self, resource: Resource, obj: Object) -> Object:
        """A copy in the client's words: of another kind's view, or in the version asked for. Raises ConversionFailed."""
        copy = {**obj, "metadata": dict(obj["metadata"])}
        if _is_as_stored(resource):
            return copy
        view = strategy_of(resource).view
        return view.served(copy) if view is not None else await self._versions.convert(copy, resource)

    async def _as_stored(self, resource: Resource, obj: Object) -> Object:
        if _is_as_stored(resource):
            return obj
        view = strategy_of(resource).view
        return view.stored(obj) if view is not None else await self._versions.stored(resource, obj)


@derived
def _counts_generation(resource: Resource) -> bool:
    return resource.custom or strategy_of(resource).counts_generation or "spec" in resource.schema.get("properties", {})


@derived
def _is_as_stored(resource: Resource) -> bool:
    """Whether clients see the very objects that are stored."""
    return resource.family is None and strategy_of(resource).view is None


@derived
def _is_reviewed(resource: Resource) -> bool:
    """Whether there is anything that takes long to find out."""
    return type(strategy_of(resource)).review is not Strategy.review or has_rules(resource.schema)


def _place(target: Target) -> tuple[Resource, str, str]:
    return target.resource, target.namespace, target.name
