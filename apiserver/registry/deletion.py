"""How an object goes: at once, gracefully, or when the last finalizer lets it. Decided without looking at clock or store.

The order is Kubernetes' (registry/rest/delete.go): preconditions, grace, finalizers.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from ..errors import Conflict
from ..resources import Resource
from ..times import timestamp
from . import metadata
from .options import Deletion
from .records import REMOVED, Removed
from .refusals import conflict
from .strategies.base import Strategy

Object = dict[str, Any]

ORPHAN: Final = "orphan"
FOREGROUND: Final = "foregroundDeletion"
FINALIZER_OF: Final = {"Orphan": ORPHAN, "Foreground": FOREGROUND}


def check_preconditions(resource: Resource, obj: Mapping[str, Any], wanted: Deletion) -> None:
    """The client says which object it means. Raises Conflict when it is not this one."""
    meta = obj["metadata"]
    if wanted.uid and wanted.uid != meta["uid"]:
        raise _mismatch(resource, meta["name"], "UID", wanted.uid, meta["uid"])
    if wanted.resource_version and wanted.resource_version != meta["resourceVersion"]:
        raise _mismatch(resource, meta["name"], "ResourceVersion", wanted.resource_version, meta["resourceVersion"])


def _mismatch(resource: Resource, name: str, what: str, wanted: str, actual: str) -> Conflict:
    why = f"Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {actual}"
    return conflict(resource, name, why)


def plan(obj: Object, strategy: Strategy, wanted: Deletion, now: datetime) -> Object | Removed:
    """What the object becomes: itself changed in place (perhaps not at all), or nothing."""
    grace_s = strategy.grace_s(obj, wanted.grace_period_s)
    _set_finalizers(obj, wanted.propagation)
    if metadata.is_deleting(obj):
        return _hurry(obj, strategy, grace_s, now)
    if not grace_s and not _is_held(obj, strategy):
        return REMOVED
    _mark(obj, strategy, grace_s, now)
    return obj


def is_over(obj: Mapping[str, Any], strategy: Strategy) -> bool:
    """Deleted, its grace spent, and nobody holds on to it any more."""
    spent = not obj["metadata"].get("deletionGracePeriodSeconds")
    return metadata.is_deleting(obj) and spent and not _is_held(obj, strategy)


def _hurry(obj: Object, strategy: Strategy, grace_s: int, now: datetime) -> Object | Removed:
    """Deleted once more: the time left can only shrink."""
    meta = obj["metadata"]
    left_s = int(meta.get("deletionGracePeriodSeconds") or 0)
    if grace_s < left_s:
        began = _parse(meta["deletionTimestamp"]) - timedelta(seconds=left_s)
        meta["deletionTimestamp"] = timestamp(max(began + timedelta(seconds=grace_s), now) if grace_s else now)
        meta["deletionGracePeriodSeconds"] = grace_s
    return REMOVED if is_over(obj, strategy) else obj


def _mark(obj: Object, strategy: Strategy, grace_s: int, now: datetime) -> None:
    meta = obj["metadata"]
    meta["deletionTimestamp"] = timestamp(now + timedelta(seconds=grace_s))
    meta["deletionGracePeriodSeconds"] = grace_s
    if meta.get("generation"):
        meta["generation"] += 1
    strategy.begin_deletion(obj)


def _is_held(obj: Mapping[str, Any], strategy: Strategy) -> bool:
    return bool(metadata.finalizers(obj)) or strategy.holds_on(obj)


def _set_finalizers(obj: Object, propagation: str) -> None:
    """The policy asked for replaces the one asked for before; no policy leaves it."""
    if not propagation:
        return
    others = [item for item in metadata.finalizers(obj) if item not in (ORPHAN, FOREGROUND)]
    wanted = FINALIZER_OF.get(propagation)
    updated = [*others, wanted] if wanted else others
    if updated:
        obj["metadata"]["finalizers"] = updated
    else:
        obj["metadata"].pop("finalizers", None)


def _parse(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(UTC)
