"""Who owns which field, for the kinds as the registry knows them. The rules are `apply`'s; here is what they are fed.

Recorded after admission: what admission changes is the writer's doing, and a write that changes nothing in the end
changes no owner either. Events and leases (strategies with `tracks_fields` off) are written all the time by one program
each, and nothing is recorded for them: an apply to one merges, without conflicts and without removing anything.
"""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from ..apply import manager as owners
from ..apply.fieldsets import Tree, from_paths, written
from ..apply.manager import APPLY, UPDATE, Conflicts, Manager
from ..apply.typed import NoItem, Type, check, kind_type, merge
from ..errors import BadRequest, Cause, Conflict
from ..resources import Resource, derived
from . import metadata
from .options import Target, Writing
from .strategies import strategy_of
from .updating import APPROVAL, STATUS, has_status

Object = dict[str, Any]

SCALE: Final = "scale"
MANAGERS_REMEMBERED: Final = 1_024
"""Who wrote lately: the same few programs, nearly always."""
NOTHING: Final[Tree] = {}
STATUS_FIELDS: Final = from_paths(("f:status",))


@derived
def type_of(resource: Resource) -> Type:
    """How the kind's fields are owned."""
    return kind_type(resource.schema)


class Ownership:
    """Keeps the record with every write."""

    def created(self, target: Target, new: Object, writing: Writing, now: datetime) -> None:
        """Note that a new object is its creator's."""
        resource = target.resource
        if writing.applies or not strategy_of(resource).tracks_fields:
            return
        by = _manager(target, writing)
        owners.record_create(new, type_of(resource), by, now, _apart(resource, target.subresource))

    def updated(self, target: Target, new: Object, old: Object, writing: Writing) -> None:
        """Note whose the changed fields are now."""
        resource = target.resource
        if writing.applies or not strategy_of(resource).tracks_fields:
            return
        by = _manager(target, writing)
        owners.record_update(
            old, new, type_of(resource), by, metadata.now(), _apart(target.resource, target.subresource)
        )

    def applied(self, target: Target, live: Object | None, config: Object, writing: Writing, *, force: bool) -> Object:
        """What an apply makes of the object; `live` is None when there is none. Raises Conflict, BadRequest."""
        kind = type_of(target.resource)
        wanted = _about(target, config)
        try:
            check(wanted, kind)
        except NoItem as error:
            raise BadRequest(f"failed to create typed patch object: {error}") from error
        if not strategy_of(target.resource).tracks_fields:
            merged: Object = merge(live if live is not None else {"metadata": {}}, wanted, kind)
            return merged
        by = _manager(target, writing)
        try:
            return owners.apply(
                live, wanted, kind, by, metadata.now(), force=force, apart=_apart(target.resource, target.subresource)
            )
        except Conflicts as conflicts:
            raise _refusal(conflicts) from conflicts


def _manager(target: Target, writing: Writing) -> Manager:
    operation = APPLY if writing.applies else UPDATE
    return _known_manager(writing.manager, operation, target.resource.api_version, target.subresource)


_known_manager = lru_cache(MANAGERS_REMEMBERED)(Manager)


@derived
def _apart(resource: Resource, subresource: str) -> Tree:
    """What is not written through the resource, or its subresource."""
    is_whole = subresource != "" or strategy_of(resource).keeps_status_on_create
    return NOTHING if is_whole or not has_status(resource) else STATUS_FIELDS


def _about(target: Target, config: Object) -> Object:
    """What of the configuration the target takes: everything but the status, or nothing else."""
    if target.subresource in (STATUS, APPROVAL):
        taken = ("labels", "annotations") if strategy_of(target.resource).status_takes_metadata else ()
        named = ("name", "namespace", "uid", "resourceVersion", *taken)
        meta = {name: value for name, value in config["metadata"].items() if name in named}
        kept = {name: config[name] for name in ("apiVersion", "kind", STATUS) if name in config}
        return {**kept, "metadata": meta}
    if has_status(target.resource) and not strategy_of(target.resource).keeps_status_on_create:
        return {name: value for name, value in config.items() if name != STATUS}
    return config


def _refusal(conflicts: Conflicts) -> Conflict:
    causes = [
        Cause(written(path), f"conflict with {manager}", "FieldManagerConflict") for manager, path in conflicts.found
    ]
    return Conflict(conflicts.message, causes=causes)
