"""What an autoscaler scales: any object with a `scale` subresource, found by its group and kind."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from stark.client.api import Client
from stark.client.errors import ApiError
from stark.client.kinds import metadata_only, unstructured
from stark.crds.autoscaling import HorizontalPodAutoscaler
from stark.crds.meta import ResourceDef
from stark.crds.tenancy import Owner, may_select

DISCOVERY_TTL_S = 30.0
"""A kind that is not known is asked for again after this long."""

Scale = Mapping[str, Any]


class NoTarget(Exception):
    """There is nothing to scale; the message says why."""


@dataclass(frozen=True, slots=True)
class Target:
    """What is scaled, and its Scale as it was read."""

    resource: ResourceDef
    scale: Scale

    @property
    def replicas(self) -> int:
        """Pods it wants."""
        return int((self.scale.get("spec") or {}).get("replicas") or 0)

    @property
    def selector(self) -> str:
        """Which pods it has, as a list request says it; empty when it does not say."""
        return str((self.scale.get("status") or {}).get("selector") or "")


class Targets:
    """Reads and writes the counts of other objects."""

    def __init__(self, api: Client) -> None:
        self._api = api
        self._known: dict[tuple[str, str], ResourceDef] = {}
        self._asked_at: float | None = None
        self._asking = asyncio.Lock()

    async def read(self, hpa: HorizontalPodAutoscaler) -> Target:
        """The target of an autoscaler. Raises NoTarget, ApiError."""
        reference, namespace = hpa.spec.scale_target_ref, hpa.metadata.namespace
        group = (reference.api_version or "").rpartition("/")[0]
        resource = await self._resource(group, reference.kind)
        if resource is None or not resource.namespaced:
            known = f'no matches for kind "{reference.kind}" in group "{group}"'
            raise NoTarget(known)
        try:
            scale = await self._api.get_json(resource.path(_quoted(namespace), _quoted(reference.name), "scale"))
            await self._check_reach(hpa, resource)
        except ApiError as error:
            raise NoTarget(error.message) from error
        return Target(resource, scale)

    async def set(self, target: Target, replicas: int) -> None:
        """Set how many pods it wants, unless it changed since it was read. Raises ApiError."""
        wanted = {**target.scale, "spec": {"replicas": replicas}}
        await self._api.update(dict(wanted), "scale", kind=unstructured(target.resource))

    async def _check_reach(self, hpa: HorizontalPodAutoscaler, resource: ResourceDef) -> None:
        """Who reaches only their own objects scales only those: to others they are told that there is nothing."""
        owner, name = Owner.of(hpa.metadata.annotations), hpa.spec.scale_target_ref.name
        if not owner.is_restricted:
            return
        found = await self._api.get(metadata_only(resource), name, hpa.metadata.namespace)
        if not may_select(owner, Owner.of(found.metadata.annotations)):
            group = f".{resource.group}" if resource.group else ""
            raise NoTarget(f'{resource.plural}{group} "{name}" not found')

    async def _resource(self, group: str, kind: str) -> ResourceDef | None:
        async with self._asking:
            if (group, kind) not in self._known and self._is_stale():
                served = await self._api.discover()
                self._known = {(each.group, each.kind): each for each in served if "scale" in each.subresources}
                self._asked_at = asyncio.get_running_loop().time()
        return self._known.get((group, kind))

    def _is_stale(self) -> bool:
        return self._asked_at is None or asyncio.get_running_loop().time() - self._asked_at > DISCOVERY_TTL_S


def _quoted(text: str | None) -> str:
    return quote(text or "", safe="")
