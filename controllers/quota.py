"""Count what the quotas of a namespace limit, and write it down.

Reads ResourceQuotas, Pods, and the names of whatever else is limited; writes the quotas' status. The API server charges
a quota in the same commit in which it creates an object. So a count is right when it is of a moment not before the
version of the quota that it replaces: every charge since then makes the write fail, and we count again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from stark.client.errors import MethodNotAllowed, NotFound
from stark.client.kinds import metadata_only
from stark.crds.limits import ResourceQuota, ResourceQuotaSpec, ResourceQuotaStatus
from stark.crds.meta import to_wire
from stark.crds.pods import Pod
from stark.crds.quotas import PLAIN_COUNTS, POD_NAMES, add, concerns, count_name, requirements_of, usage_of

from .kit import DONE, Context, Controller, Outcome, RequeueAfter, Source

BEHIND_S = 0.2
"""When to look again for a cache of pods that is older than the quota."""
BEHIND_MAX = 10
"""Looks at a cache that stays behind before the server itself is asked: no pod may come for a long time."""
RECOUNT_S = 10.0
"""How often kinds that we do not follow are counted anew."""


def is_of_pods(name: str) -> bool:
    """Whether pods are what is limited."""
    return name in POD_NAMES or name.startswith(("requests.", "limits."))


def status_of(quota: ResourceQuota, used: Mapping[str, str]) -> ResourceQuotaStatus:
    """The status with these amounts; nothing is used of what nobody counts."""
    hard = quota.spec.hard
    return ResourceQuotaStatus(hard=hard, used={name: used.get(name, "0") for name in hard})


def pods_use(pods: Iterable[Pod], spec: ResourceQuotaSpec) -> dict[str, str]:
    """What the pods that a quota is about use together, by its names that are about pods."""
    scopes = spec.model_dump(mode="json", by_alias=True, include={"scopes", "scope_selector"})
    wired = (to_wire(pod) for pod in pods)
    rows = (usage_of("", "pods", pod) for pod in wired if concerns(scopes, "", "pods", pod))
    return add(rows, [name for name in spec.hard if is_of_pods(name)])


def is_scoped(spec: ResourceQuotaSpec) -> bool:
    """Whether it is about pods only."""
    return bool(requirements_of(spec.model_dump(mode="json", by_alias=True, include={"scopes", "scope_selector"})))


class ResourceQuotas(Controller):
    """See the module."""

    name = "quota"

    def __init__(self, context: Context) -> None:
        self._api = context.api
        self._quotas = context.informers.of(ResourceQuota)
        self._pods = context.informers.of(Pod)
        self._behind: dict[str, int] = {}

    def sources(self) -> Sequence[Source[Any]]:
        """Quotas, and the pods of their namespaces."""
        return (Source(self._quotas), Source(self._pods, self._of_pod))

    def _of_pod(self, pod: Pod) -> Iterable[str]:
        return [each.key for each in self._quotas.list(pod.metadata.namespace)]

    async def reconcile(self, key: str) -> Outcome:
        """Count and write down."""
        quota = self._quotas.get(key)
        if quota is None or quota.metadata.deletion_timestamp is not None:
            self._behind.pop(key, None)
            return DONE
        pods = await self._pods_since(key, quota)
        if pods is None:
            return RequeueAfter(BEHIND_S)
        used = pods_use(pods, quota.spec)
        others = [] if is_scoped(quota.spec) else [name for name in quota.spec.hard if not is_of_pods(name)]
        if others:
            used |= await self._count(quota.metadata.namespace or "", others)
        status = status_of(quota, used)
        if (status.hard, status.used) != (quota.status.hard, quota.status.used):
            await self._api.update(quota.model_copy(update={"status": status}), "status")
        return RequeueAfter(RECOUNT_S) if others else DONE

    async def _pods_since(self, key: str, quota: ResourceQuota) -> Sequence[Pod] | None:
        """The namespace's pods at a moment not before the quota's version; None when it is worth while to wait."""
        namespace = quota.metadata.namespace
        if self._pods.resource_version >= int(quota.metadata.resource_version or 0):
            self._behind.pop(key, None)
            return self._pods.list(namespace)
        self._behind[key] = self._behind.get(key, 0) + 1
        if self._behind[key] < BEHIND_MAX:
            return None
        del self._behind[key]
        return (await self._api.list_all(Pod, namespace)).items

    async def _count(self, namespace: str, names: Sequence[str]) -> dict[str, str]:
        """How many objects there are of the kinds that are limited by their number, asked of the server itself."""
        counts: dict[str, str] = {}
        for resource in await self._api.discover():
            spelled = {count_name(resource.group, resource.plural)}
            if not resource.group and resource.plural in PLAIN_COUNTS:
                spelled.add(resource.plural)
            wanted = spelled.intersection(names)
            if not wanted or not resource.namespaced:
                continue
            try:
                found = await self._api.list_all(metadata_only(resource), namespace)
            except (NotFound, MethodNotAllowed):
                continue  # the kind went meanwhile, or cannot be listed
            counts |= dict.fromkeys(wanted, str(len(found.items)))
        return counts


def build(context: Context) -> Controller:
    """For the catalog."""
    return ResourceQuotas(context)
