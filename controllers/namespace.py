"""Empty namespaces that are being deleted, then let them go.

Reads Namespaces and whatever is in them, of every kind that is served; deletes it, writes the namespace's conditions
and takes `kubernetes` off spec.finalizers when nothing is left. Pods go first and end gracefully, so that what they use
outlives them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from stark.client.errors import ApiError, Conflict, Fenced, MethodNotAllowed, NotFound
from stark.client.kinds import PartialObject, metadata_only
from stark.crds.conditions import Condition, ConditionStatus, set_condition
from stark.crds.meta import ResourceDef
from stark.crds.namespaces import Namespace

from .kit import DONE, Context, Controller, Outcome, RequeueAfter, Source

FINALIZER = "kubernetes"
NEEDED_VERBS = frozenset({"list", "delete"})
RECHECK_S = 1.0
"""How soon we look again at what is still ending; it is a handful of lists."""
DELETIONS_AT_ONCE = 16
"""Objects deleted at the same time."""
NAMED_MAX = 10
"""Kinds and finalizers named in a condition's message."""


@dataclass(frozen=True, slots=True)
class Remains:
    """What one look found: counts of objects by `plural.group`, counts of finalizers that hold them, and what
    failed."""

    kinds: Mapping[str, int] = field(default_factory=dict)
    finalizers: Mapping[str, int] = field(default_factory=dict)
    failures: Sequence[str] = ()
    discovery_failure: str = ""

    @property
    def empty(self) -> bool:
        """Nothing is left, and nothing was hidden from us."""
        return not (self.kinds or self.failures or self.discovery_failure)


def deletable(resources: Sequence[ResourceDef]) -> tuple[list[ResourceDef], list[ResourceDef]]:
    """(pods, everything else) of the kinds that live in namespaces and can be deleted."""
    inside = [each for each in resources if each.namespaced and set(each.extra.get("verbs", ())) >= NEEDED_VERBS]
    pods = [each for each in inside if (each.group, each.plural) == ("", "pods")]
    return pods, [each for each in inside if each not in pods]


def conditions_of(remains: Remains, known: Sequence[Condition], now: datetime) -> list[Condition]:
    """The conditions that say why the namespace is still there (Kubernetes' types, reasons and sentences)."""
    discovery, failures = remains.discovery_failure, remains.failures
    kinds = ", ".join(f"{name} has {count} resource instances" for name, count in _first(remains.kinds))
    held = ", ".join(f"{name} in {count} resource instances" for name, count in _first(remains.finalizers))
    told = [
        _told("NamespaceDeletionDiscoveryFailure", "DiscoveryFailed", discovery)
        or _fine("NamespaceDeletionDiscoveryFailure", "ResourcesDiscovered", "All resources successfully discovered"),
        _fine(
            "NamespaceDeletionGroupVersionParsingFailure",
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed",
        ),
        _told("NamespaceDeletionContentFailure", "ContentDeletionFailed", "; ".join(failures[:NAMED_MAX]))
        or _fine(
            "NamespaceDeletionContentFailure",
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization",
        ),
        _told("NamespaceContentRemaining", "SomeResourcesRemain", kinds and f"Some resources are remaining: {kinds}")
        or _fine("NamespaceContentRemaining", "ContentRemoved", "All content successfully removed"),
        _told(
            "NamespaceFinalizersRemaining",
            "SomeFinalizersRemain",
            held and f"Some content in the namespace has finalizers remaining: {held}",
        )
        or _fine(
            "NamespaceFinalizersRemaining", "ContentHasNoFinalizers", "All content-preserving finalizers finished"
        ),
    ]
    conditions = list(known)
    for condition in told:
        conditions = set_condition(conditions, condition, now)
    return conditions


def _first(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items())[:NAMED_MAX]


def _told(type_: str, reason: str, message: str) -> Condition | None:
    return _condition(type_, "True", reason, message) if message else None


def _fine(type_: str, reason: str, message: str) -> Condition:
    return _condition(type_, "False", reason, message)


def _condition(type_: str, status: ConditionStatus, reason: str, message: str) -> Condition:
    return Condition(type=type_, status=status, reason=reason, message=message)


class Namespaces(Controller):
    """See the module."""

    name = "namespace"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._api = context.api
        self._namespaces = context.informers.of(Namespace)

    def sources(self) -> Sequence[Source[Any]]:
        """Namespaces only: what is inside is asked for when one is being deleted."""
        return (Source(self._namespaces),)

    async def reconcile(self, key: str) -> Outcome:
        """Empty it, report, and finish when nothing is left."""
        namespace = self._namespaces.get(key)
        if namespace is None or namespace.metadata.deletion_timestamp is None:
            return DONE
        if FINALIZER not in namespace.spec.finalizers:
            return DONE
        remains = await self._empty(key)
        if remains.empty:
            await self._finish(namespace)
            return DONE
        await self._report(namespace, remains)
        return RequeueAfter(RECHECK_S)

    async def _empty(self, namespace: str) -> Remains:
        """Ask for the deletion of everything, pods first, and count what is there afterwards."""
        try:
            resources = await self._api.discover()
        except ApiError as error:
            if isinstance(error, Fenced):
                raise
            # Kinds that we cannot see may still have objects here.
            return Remains(discovery_failure=str(error))
        pods, others = deletable(resources)
        first = await self._empty_kinds(namespace, pods)
        return first if not first.empty else await self._empty_kinds(namespace, others)

    async def _empty_kinds(self, namespace: str, resources: Sequence[ResourceDef]) -> Remains:
        kinds: dict[str, int] = {}
        finalizers: dict[str, int] = {}
        failures: list[str] = []
        for resource in resources:
            try:
                left = await self._empty_kind(namespace, resource)
            except (NotFound, MethodNotAllowed):
                continue  # the kind went meanwhile
            except ExceptionGroup as group:
                failures.append(f"{resource.plural}: {_message(group)}")
                continue
            except Fenced:
                raise
            except ApiError as error:
                failures.append(f"{resource.plural}: {error}")
                continue
            if left:
                name = f"{resource.plural}.{resource.group}" if resource.group else f"{resource.plural}."
                kinds[name] = len(left)
            for finalizer in (each for obj in left for each in obj.metadata.finalizers):
                finalizers[finalizer] = finalizers.get(finalizer, 0) + 1
        return Remains(kinds, finalizers, failures)

    async def _empty_kind(self, namespace: str, resource: ResourceDef) -> list[PartialObject]:
        """Delete what is not being deleted yet; what is left after that."""
        kind = metadata_only(resource)
        found = (await self._api.list_all(kind, namespace)).items
        fresh = [obj for obj in found if obj.metadata.deletion_timestamp is None]
        for begin in range(0, len(fresh), DELETIONS_AT_ONCE):
            async with asyncio.TaskGroup() as group:
                for obj in fresh[begin : begin + DELETIONS_AT_ONCE]:
                    group.create_task(self._delete(resource, obj))
        return (await self._api.list_all(kind, namespace)).items if fresh else found

    async def _delete(self, resource: ResourceDef, obj: PartialObject) -> None:
        meta = obj.metadata
        try:
            await self._api.delete(
                metadata_only(resource), meta.name, meta.namespace, uid=meta.uid, propagation="Background"
            )
        except (NotFound, Conflict):
            return  # gone already, or a namesake came: the next look sees it

    async def _report(self, namespace: Namespace, remains: Remains) -> None:
        conditions = conditions_of(remains, namespace.status.conditions, self._context.clock())
        if conditions == namespace.status.conditions:
            return
        status = namespace.status.model_copy(update={"phase": "Terminating", "conditions": conditions})
        await self._api.update(namespace.model_copy(update={"status": status}), "status")

    async def _finish(self, namespace: Namespace) -> None:
        left = [each for each in namespace.spec.finalizers if each != FINALIZER]
        spec = namespace.spec.model_copy(update={"finalizers": left})
        try:
            await self._api.update(namespace.model_copy(update={"spec": spec}), "finalize")
        except NotFound:
            return


def _message(group: ExceptionGroup[Exception]) -> str:
    """The first failure of the API; anything else is ours and travels on."""
    match, rest = group.split(ApiError)
    fenced = group.subgroup(Fenced)
    if rest is not None or match is None or fenced is not None:
        raise group
    return str(match.exceptions[0])


def build(context: Context) -> Controller:
    """For the catalog."""
    return Namespaces(context)
