"""The objects every cluster has from its first moment: `manifests/bootstrap/*.yaml`. Each start makes the missing ones.

Those that an older version has made say nothing of settings that came later: they get the defaults, so that what one
reads is what holds.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from importlib.resources import files
from typing import Any, Final

import structlog
import yaml

from .errors import AlreadyExists, ApiError, Forbidden, Invalid, NotFound
from .registry.options import Target, Writing
from .registry.writes import Writes
from .request import User
from .resources import Resources

log = structlog.get_logger(__name__)

RETRY_S: Final = 0.5
SERVER = User("system:apiserver", ("system:masters",))


def bootstrap_objects() -> list[dict[str, Any]]:
    """The objects in order: files by name, documents as they stand."""
    found: list[dict[str, Any]] = []
    folder = files("stark.manifests") / "bootstrap"
    for file in sorted(folder.iterdir(), key=lambda item: item.name):
        if file.name.endswith(".yaml"):
            found += [
                document for document in yaml.load_all(file.read_text("utf-8"), Loader=yaml.CSafeLoader) if document
            ]
    return found


class Bootstrap:
    """Makes them, and says when it is done."""

    def __init__(self, resources: Resources, writes: Writes) -> None:
        self._resources, self._writes = resources, writes
        self.done = asyncio.Event()

    async def run(self) -> None:
        """Create what is missing, for as long as it takes the store to answer."""
        for obj in bootstrap_objects():
            while True:
                if await self._made(obj):
                    break
                await asyncio.sleep(RETRY_S)
        self.done.set()

    async def _made(self, obj: dict[str, Any]) -> bool:
        target = self._target(obj)
        try:
            await self._writes.create(target, obj, Writing(SERVER, validation="Ignore", consults=False))
        except AlreadyExists:
            return await self._is_whole(replace(target, name=obj["metadata"]["name"]))
        except ApiError as error:
            log.warning("a bootstrap object is not there yet", name=obj["metadata"]["name"], reason=error.message)
            return False
        return True

    async def _is_whole(self, target: Target) -> bool:
        """Give what is there the defaults that are missing: every write does, and one that changes nothing is none."""
        try:
            await self._writes.patch(target, lambda old: old, Writing(SERVER, validation="Ignore", consults=False))
        except (Forbidden, Invalid, NotFound) as error:
            log.warning("a bootstrap object stays as it is", name=target.name, reason=error.message)
        except ApiError as error:
            log.warning("a bootstrap object could not be looked at yet", name=target.name, reason=error.message)
            return False
        return True

    def _target(self, obj: dict[str, Any]) -> Target:
        group, _, version = obj["apiVersion"].rpartition("/")
        resource = self._resources.of_kind(group, version, obj["kind"])
        assert resource is not None, (obj["apiVersion"], obj["kind"])
        return Target(resource, obj["metadata"].get("namespace", ""))
