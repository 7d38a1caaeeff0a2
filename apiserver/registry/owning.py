"""Requests that reach only what is somebody's own: lists and watches show nothing else, and nothing else is touched.

Where somebody may act on their own objects only, authorization cannot settle it alone: it knows names, not owners. So
the restriction travels with the request's target, and is held against the very object that is answered or changed, in
the same step: an object that takes another's place meanwhile is not taken for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from stark.crds.tenancy import Owner

from ..cache.entry import OWNER_PATH
from ..cache.filter import FieldTest, Filter
from ..errors import Forbidden
from .options import Target
from .strategies import strategy_of

Mapped = Mapping[str, Any]


def narrowed(wanted: Filter, target: Target, paths: tuple[str, ...]) -> Filter:
    """The filter, for those objects only that the request may reach. `paths` are those of the cache it is used on."""
    own = target.own
    if own is None:
        return wanted
    at = paths.index(OWNER_PATH)
    tests = [FieldTest(at, name) for name in sorted(own.owners)]
    public = strategy_of(target.resource).public_field
    if own.reads and public is not None:
        tests.append(FieldTest(paths.index(public[0]), public[1]))
    # Watchers share what is written for one another only when they see the same objects.
    identity = f"{wanted.identity}|{tests}"
    if len(tests) == 1:
        return replace(wanted, fields=(*wanted.fields, *tests), identity=identity)
    return replace(wanted, any_of=tuple(tests), identity=identity)


def require_own(target: Target, obj: Mapped) -> None:
    """Raises Forbidden when the request may not reach the object."""
    own = target.own
    if own is None or Owner.of(obj["metadata"].get("annotations")).name in own.owners:
        return
    public = strategy_of(target.resource).public_field
    if own.reads and public is not None and _text_at(obj, public[0]) == public[1]:
        return
    resource = target.resource
    raise Forbidden(
        f'{resource.group_resource} "{target.name}" is forbidden: User "{own.user}" may {own.verb} only what is their own',
        group=resource.group,
        kind=resource.plural,
        name=target.name,
    )


def _text_at(obj: Any, path: str) -> str:
    for step in path.split("."):
        obj = obj.get(step) if isinstance(obj, Mapping) else None
    return obj if isinstance(obj, str) else ""
