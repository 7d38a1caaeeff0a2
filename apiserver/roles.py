"""Keep the roles and bindings there must be: at each start what is missing is written, all of it at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from typing import Any, Final, Protocol

import structlog

from stark.crds.rbac import GROUP

from .auth.rbac.bootstrap import cluster_role_bindings, cluster_roles, is_of_another_role, put_right
from .bootstrap import SERVER
from .errors import ApiError
from .registry.options import Deletion, Target, Writing
from .registry.writes import Writes
from .resources import Resources

log = structlog.get_logger(__name__)

RETRY_S: Final = 0.5
"""After a round in which something could not be written."""
PLURALS: Final = {"ClusterRole": "clusterroles", "ClusterRoleBinding": "clusterrolebindings"}

Object = dict[str, Any]


class Objects(Protocol):
    """Reads the caches, once they are filled."""

    async def list(self, group: str, plural: str, namespace: str = "") -> list[Mapping[str, Any]]:
        """All objects of the resource."""
        ...


class BootstrapRoles:
    """Makes them, and says when it is done."""

    def __init__(self, resources: Resources, writes: Writes, objects: Objects, filled: asyncio.Event) -> None:
        self._resources, self._writes, self._objects, self._filled = resources, writes, objects, filled
        self.done = asyncio.Event()

    async def run(self) -> None:
        """Until nothing is missing, however long the store does not answer."""
        await self._filled.wait()
        ours = [*cluster_roles(), *cluster_role_bindings()]
        while True:
            if await self._look(ours):
                break
            await asyncio.sleep(RETRY_S)
        self.done.set()

    async def _look(self, ours: list[Object]) -> bool:
        """Write what is missing. True when that succeeded."""
        stored: dict[tuple[str, str], Mapping[str, Any]] = {}
        for kind, plural in PLURALS.items():
            for obj in await self._objects.list(GROUP, plural):
                stored[(kind, obj["metadata"]["name"])] = obj
        # All at once: the store makes one commit of them.
        done = await asyncio.gather(*(self._settle(obj, stored.get(_key(obj))) for obj in ours))
        return all(done)

    async def _settle(self, ours: Object, there: Mapping[str, Any] | None) -> bool:
        if is_of_another_role(ours, there):
            if not await self._try(self._writes.delete(self._target(ours, named=True), Deletion(), _writing()), ours):
                return False
            there = None
        new = put_right(ours, there)
        if new is None:
            return True
        if there is None:
            return await self._try(self._writes.create(self._target(ours), new, _writing()), ours)
        return await self._try(self._writes.update(self._target(ours, named=True), new, _writing()), ours)

    async def _try(self, write: Awaitable[Any], obj: Object) -> bool:
        try:
            await write
        except ApiError as error:
            name = obj["metadata"]["name"]
            log.warning("a role is not as it must be yet", kind=obj["kind"], name=name, reason=error.message)
            return False
        return True

    def _target(self, obj: Object, *, named: bool = False) -> Target:
        resource = self._resources.find(GROUP, "v1", PLURALS[obj["kind"]])
        assert resource is not None, obj["kind"]
        return Target(resource, "", obj["metadata"]["name"] if named else "")


def _key(obj: Object) -> tuple[str, str]:
    return obj["kind"], obj["metadata"]["name"]


def _writing() -> Writing:
    return Writing(SERVER, validation="Ignore", consults=False)
