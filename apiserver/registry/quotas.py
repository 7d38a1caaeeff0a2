"""Create objects against the quotas of their namespace: the object and its charge are one commit.

So whatever races, no revision of the store has more charged than is allowed, or an object that was not charged. Quotas
are only ever charged here; what is gone again is given back by the controller, which recounts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any, Final
from weakref import WeakValueDictionary

from stark.crds.quotas import add, concerns, exceeded, missing_compute, spelled, usage_of

from ..cache.filter import Filter
from ..errors import Forbidden
from ..resources import Resource, Resources
from .records import Beside, Object, Records, Stored
from .refusals import conflict, forbidden

Mapped = Mapping[str, Any]

ATTEMPTS_MAX: Final = 12
"""How often a charge is made anew when other servers are faster; those of this server wait for each other."""


class Quotas:
    """The creating half of `Records`, with quotas."""

    def __init__(self, resources: Resources, records: Records) -> None:
        self._resources, self._records = resources, records
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def create(
        self, resource: Resource, new: Object, *, ttl_s: int = 0, dry_run: bool = False
    ) -> Coroutine[Any, Any, Stored]:
        """As `Records.create`. Raises Forbidden too: `exceeded quota: ...`."""
        if not new["metadata"].get("namespace") or self._records.holds_none(self._kind()):
            return self._records.create(resource, new, ttl_s=ttl_s, dry_run=dry_run)
        return self._create(resource, new, ttl_s, dry_run)

    async def _create(self, resource: Resource, new: Object, ttl_s: int, dry_run: bool) -> Stored:
        namespace = new["metadata"]["namespace"]
        usage = usage_of(resource.group, resource.plural, new)
        names = await self._interested(resource, new, usage)
        if not names:
            return await self._records.create(resource, new, ttl_s=ttl_s, dry_run=dry_run)
        turn = self._turns.setdefault(namespace, asyncio.Lock())
        async with turn:
            for _ in range(ATTEMPTS_MAX):
                charges = await self._charges(resource, new, usage, namespace, names)
                if dry_run:
                    return await self._records.create(resource, new, dry_run=True)
                stored = await self._records.create_beside(resource, new, charges, ttl_s=ttl_s)
                if stored is not None:
                    return stored
        raise conflict(resource, new["metadata"]["name"])

    def _kind(self) -> Resource:
        kind = self._resources.find("", "v1", "resourcequotas")
        assert kind is not None
        return kind

    async def _interested(self, resource: Resource, new: Mapped, usage: Mapped) -> list[str]:
        """The names of the quotas that limit something the object uses."""
        namespace = new["metadata"]["namespace"]
        cache = await self._records.cache(self._kind())
        found = [entry.decode() for entry in cache.select(Filter(namespace=namespace))]
        return [
            each["metadata"]["name"]
            for each in found
            if usage.keys() & _limits(each).keys() and _concerns(each, resource, new)
        ]

    async def _charges(
        self, resource: Resource, new: Mapped, usage: Mapping[str, str], namespace: str, names: list[str]
    ) -> list[Beside]:
        kind, charges = self._kind(), []
        for name in names:
            # From the store itself: the cache may not show yet what was charged a moment ago.
            entry = await self._records.latest(kind, namespace, name)
            if entry is None:
                continue
            quota = charged(resource, new, usage, entry.decode())
            if quota is not None:
                charges.append(Beside(kind, quota, entry.revision))
        return charges


def _limits(quota: Mapped) -> dict[str, str]:
    return {**((quota.get("spec") or {}).get("hard") or {}), **((quota.get("status") or {}).get("hard") or {})}


def _concerns(quota: Mapped, resource: Resource, new: Mapped) -> bool:
    return concerns(quota.get("spec") or {}, resource.group, resource.plural, new)


def charged(resource: Resource, new: Mapped, usage: Mapping[str, str], quota: Object) -> Object | None:
    """The quota once the object is there, None when it does not limit it. Raises Forbidden when too little is left."""
    name, status = quota["metadata"]["name"], quota.get("status") or {}
    hard, used = status.get("hard") or {}, status.get("used") or {}
    limited = sorted(usage.keys() & _limits(quota).keys())
    if not limited or not _concerns(quota, resource, new):
        return None
    unknown = [each for each in limited if each not in hard or each not in used]
    if unknown:
        raise _refused(resource, new, f"status unknown for quota: {name}, resources: {','.join(unknown)}")
    if (resource.group, resource.plural) == ("", "pods"):
        missing = missing_compute(hard, new)
        if missing:
            raise _refused(resource, new, f"failed quota: {name}: {missing}")
    over = exceeded(hard, used, usage)
    if over:
        raise _refused(
            resource,
            new,
            f"exceeded quota: {name}, requested: {spelled(usage, over)}, "
            f"used: {spelled(used, over)}, limited: {spelled(hard, over)}",
        )
    now = {**used, **add([used, usage], limited)}
    return {**quota, "status": {**status, "used": now}}


def _refused(resource: Resource, new: Mapped, why: str) -> Forbidden:
    return forbidden(resource, new["metadata"]["name"], why)
