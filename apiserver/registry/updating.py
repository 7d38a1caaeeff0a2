"""From what a client sent and what is stored to what will be stored. No store, no clock: only the rules."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from ..errors import Cause
from ..resources import Resource, derived
from . import metadata
from .options import Target
from .refusals import conflict, invalid_object
from .strategies import strategy_of
from .strategies.base import Strategy

Object = dict[str, Any]
STATUS = "status"
APPROVAL = "approval"
"""Writes a part of the status, by people, where the status subresource belongs to programs."""


@derived
def has_status(resource: Resource) -> bool:
    """Status is written through a subresource of its own, and through nothing else."""
    return STATUS in resource.subresources


def begin_status(resource: Resource, new: Object) -> None:
    """What a client says about the status of a new object is nothing; built-in kinds begin with the defaults of theirs."""
    new.pop(STATUS, None)
    if not resource.custom:
        new[STATUS] = deepcopy(_first_status(resource))


@derived
def _first_status(resource: Resource) -> Mapping[str, Any]:
    fields = resource.schema.get("properties", {}).get(STATUS, {}).get("properties", {})
    return {name: field["default"] for name, field in fields.items() if "default" in field}


def check_version(target: Target, new: Mapping[str, Any], old: Mapping[str, Any], *, required: bool) -> None:
    """The client changes what it has seen, or says nothing about it. Raises Conflict, Invalid."""
    given, actual = new["metadata"].get("resourceVersion"), old["metadata"]["resourceVersion"]
    uid = new["metadata"].get("uid")
    if uid and uid != old["metadata"]["uid"]:
        why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {old['metadata']['uid']}"
        raise conflict(target.resource, target.name, why)
    if given and given != actual:
        raise conflict(target.resource, target.name)
    if not given and required:
        cause = Cause("metadata.resourceVersion", "Invalid value: 0x0: must be specified for an update")
        raise invalid_object(target.resource, target.name, [cause])


def merge(target: Target, new: Object, old: Object, strategy: Strategy) -> Object:
    """What an update through the target takes from `new`; the rest stays as in `old`."""
    if target.subresource in (STATUS, APPROVAL):
        return _with_status(new, old, strategy)
    if has_status(target.resource):
        new.pop(STATUS, None)
        if STATUS in old:
            new[STATUS] = old[STATUS]
    return new


def _with_status(new: Object, old: Object, strategy: Strategy) -> Object:
    merged = {**old, "metadata": dict(old["metadata"])}
    merged.pop(STATUS, None)
    if STATUS in new:
        merged[STATUS] = new[STATUS]
    taken = ("managedFields", "labels", "annotations") if strategy.status_takes_metadata else ("managedFields",)
    for field in taken:
        if field in new["metadata"]:
            merged["metadata"][field] = new["metadata"][field]
        else:
            merged["metadata"].pop(field, None)
    return merged


def count_generation(resource: Resource, new: Object, old: Mapping[str, Any]) -> None:
    """A new generation when anything but metadata and status changed.

    An object from before its kind counted gets its first one with its next change.
    """
    known = old["metadata"].get("generation")
    if known is None and not strategy_of(resource).counts_generation:
        return
    apart = {"metadata", "apiVersion", "kind", *([STATUS] if has_status(resource) else [])}
    before = {name: value for name, value in old.items() if name not in apart}
    after = {name: value for name, value in new.items() if name not in apart}
    if known is not None or before != after:
        new["metadata"]["generation"] = (known or 0) + (before != after)


def prepare(target: Target, new: Object, old: Object, strategy: Strategy) -> None:
    """Set what the kind itself sets, and put back what a write of this sort does not touch."""
    preparing = {STATUS: strategy.prepare_status_update, APPROVAL: strategy.prepare_approval}
    preparing.get(target.subresource, strategy.prepare_update)(new, old)


def check(target: Target, new: Object, old: Mapping[str, Any], strategy: Strategy) -> None:
    """The rules an updated object must follow. Raises Invalid with all causes."""
    causes = metadata.problems(new, lambda name: [])
    causes += metadata.update_problems(new, old)
    judges = {STATUS: strategy.status_problems, APPROVAL: strategy.approval_problems}
    causes += judges.get(target.subresource, strategy.update_problems)(new, old)
    if causes:
        raise invalid_object(target.resource, target.name, causes)
