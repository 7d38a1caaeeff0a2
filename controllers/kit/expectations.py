"""Not acting twice on a stale cache: what we wrote, and until which version the cache must have come to show it.

Resource versions of one store are one rising number, so "the cache has seen my write" is a comparison, not a count of
events that may be missed. A controller that makes or deletes objects by number (ReplicaSet, Job) notes its writes here
and reconciles a key only when `met`; the event that meets the expectation is also what wakes the key up.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from stark.client.informer import Informer
from stark.crds.meta import KubeObject

EXPECTATION_TTL_S = 60.0
"""After this long we look anyway: a write that the informer's selectors do not show would block its key for ever."""


@dataclass(slots=True)
class _Pending:
    until: float
    version: int = 0
    deleted: dict[str, str] = field(default_factory=dict)
    """Key -> uid of the objects whose deletion we asked for."""


class Expectations:
    """The writes to the objects of one informer that its cache does not show yet, by the key they were made for."""

    def __init__(self, informer: Informer[Any], *, ttl_s: float = EXPECTATION_TTL_S) -> None:
        self._informer = informer
        self._ttl_s = ttl_s
        self._pending: dict[str, _Pending] = {}

    def wrote(self, key: str, obj: KubeObject) -> None:
        """For `key` we created or changed `obj`, which is the server's answer."""
        self.wrote_version(key, obj.metadata.resource_version)

    def wrote_version(self, key: str, resource_version: str | None) -> None:
        """The same, of an object of which only the version is known."""
        pending = self._renewed(key)
        pending.version = max(pending.version, int(resource_version or 0))

    def deleted(self, key: str, obj: KubeObject) -> None:
        """For `key` we asked for the deletion of `obj`."""
        self._renewed(key).deleted[obj.key] = obj.uid

    def met(self, key: str) -> bool:
        """Whether the cache shows everything that was written for `key`, or has had its time."""
        pending = self._pending.get(key)
        if pending is None:
            return True
        late = asyncio.get_running_loop().time() >= pending.until
        if not late and (pending.version > self._informer.resource_version or self._still_there(pending)):
            return False
        del self._pending[key]
        return True

    def remaining_s(self, key: str) -> float:
        """Seconds until `key` is looked at anyway; for `RequeueAfter`."""
        pending = self._pending.get(key)
        return max(0.0, pending.until - asyncio.get_running_loop().time()) if pending is not None else 0.0

    def forget(self, key: str) -> None:
        """The object of `key` is gone."""
        self._pending.pop(key, None)

    def _renewed(self, key: str) -> _Pending:
        until = asyncio.get_running_loop().time() + self._ttl_s
        pending = self._pending.setdefault(key, _Pending(until))
        pending.until = until
        return pending

    def _still_there(self, pending: _Pending) -> bool:
        for key, uid in pending.deleted.items():
            obj = self._informer.get(key)
            if obj is not None and obj.metadata.uid == uid and obj.metadata.deletion_timestamp is None:
                return True
        return False
