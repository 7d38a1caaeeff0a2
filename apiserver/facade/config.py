"""`/api/config`: the settings of the cluster, all of them for administrators, and whether one may register for everybody."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import structlog

from stark.crds.cluster import CLUSTER_CONFIG_NAME

from ..cluster_config import PLURAL, ClusterSettings
from ..errors import NotFound
from ..registry.options import Target, Writing
from ..registry.records import Records
from ..registry.writes import Writes
from ..request import Answer, Request
from ..resources import Resource, Resources
from .envelope import success
from .facade import Route, read_fields
from .permission import GROUP, VERSION, Permission

PUBLIC: Final = ("enablePublicRegistration",)
"""What may be known to whoever asks."""
TYPES: Final[Mapping[str, type]] = {
    "boolean": bool,
    "integer": int,
    "string": str,
    "object": dict,
    "array": list,
}

log = structlog.get_logger(__name__)
Object = dict[str, Any]


class ConfigDesk:
    """The handlers."""

    def __init__(
        self, resources: Resources, records: Records, writes: Writes, config: ClusterSettings, permission: Permission
    ) -> None:
        self._resources, self._records, self._writes = resources, records, writes
        self._config, self._permission = config, permission

    def routes(self) -> Sequence[Route]:
        """What is answered here."""
        return Route("GET", "/api/config", self.get), Route("PUT", "/api/config", self.put)

    async def get(self, request: Request, found: Sequence[str]) -> Answer:
        """The settings that whoever asks may know."""
        config = self._config.spec()
        if not await self._permission.allows(request, "get", PLURAL, CLUSTER_CONFIG_NAME):
            config = {name: config[name] for name in PUBLIC}
        return success({"config": config})

    async def put(self, request: Request, found: Sequence[str]) -> Answer:
        """Change the settings that are given; the others stay."""
        user = await self._permission.need(request, "update", PLURAL, CLUSTER_CONFIG_NAME)
        resource = self._resource()
        schema = resource.schema["properties"]["spec"]["properties"]
        fields = await read_fields(request, {name: TYPES[each["type"]] for name, each in schema.items()})
        writing = Writing(user, validation="Strict", manager="stark-config")

        def changed(old: Object) -> Object:
            return {**old, "spec": {**(old.get("spec") or {}), **fields}}

        try:
            stored = await self._writes.patch(Target(resource, name=CLUSTER_CONFIG_NAME), changed, writing)
        except NotFound:
            new = {"apiVersion": f"{GROUP}/{VERSION}", "kind": resource.kind, "metadata": {"name": CLUSTER_CONFIG_NAME}}
            stored = await self._writes.create(Target(resource), {**new, "spec": fields}, writing)
        await self._records.reached(stored.revision)
        log.info("the cluster's settings were changed", by=user.name, settings=sorted(fields))
        return success({"config": self._config.spec()})

    def _resource(self) -> Resource:
        resource = self._resources.find(GROUP, VERSION, PLURAL)
        assert resource is not None, PLURAL
        return resource
