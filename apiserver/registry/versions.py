"""In which version a kind is stored: one for all the versions it is served in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..resources import Resource, Resources


class Versions:
    """Looks it up among the served resources, again whenever those change."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._generation = -1
        self._stored: dict[tuple[str, str], str] = {}

    def stored_api_version(self, resource: Resource) -> str:
        """The apiVersion of the stored form; the resource's own when its storage version is not served."""
        if self._generation != self._resources.generation:
            self._generation = self._resources.generation
            self._stored = {(r.group, r.plural): r.api_version for r in self._resources if r.storage_version}
        return self._stored.get((resource.group, resource.plural), resource.api_version)

    async def convert(self, obj: Mapping[str, Any], wanted: Resource) -> dict[str, Any]:
        """The object in the version of `wanted`."""
        return {**obj, "apiVersion": wanted.api_version}
