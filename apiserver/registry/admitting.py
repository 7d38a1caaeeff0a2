"""How the registry puts a write before admission, and makes valid again what somebody outside made of the object.

A built-in plugin keeps an object valid; a webhook may write anything. So its result goes through the same rules as the
client's body did: what a write of this kind does not touch is put back, the schema prunes, defaults and validates.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, Final, Protocol

from ..admission.attributes import Attributes, GroupVersionKind, View
from ..resources import Resource
from . import bodies, metadata, updating
from .options import Deletion, Target, Writing
from .ownership import SCALE
from .scale import API_VERSION, KIND, scale_of, scaled
from .schemas import Schemas
from .strategies import strategy_of

Object = dict[str, Any]
BINDING: Final = "binding"


class Admission(Protocol):
    """Admission's chain with its look-ups bound. Every method raises an ApiError to refuse the write."""

    async def admit(self, attributes: Attributes) -> None:
        """Change the object in place, and judge it."""
        ...

    async def conclude(self, attributes: Attributes) -> None:
        """Judge the object as it is about to be stored."""
        ...

    async def ask_outside(self, attributes: Attributes) -> None:
        """About what is no object of a resource: let those outside change and judge it."""
        ...

    @property
    def is_alone(self) -> bool:
        """There is nobody outside to ask."""
        ...


class ScaleView:
    """A scalable object as its Scale."""

    def __init__(self, resource: Resource) -> None:
        self._resource = resource
        group, _, version = API_VERSION.partition("/")
        self.kind: GroupVersionKind = (group, version, KIND)

    def shown(self, obj: Mapping[str, Any]) -> Object:
        """The Scale of an object."""
        return scale_of(self._resource, obj)

    def taken(self, obj: Object, form: Mapping[str, Any]) -> Object:
        """The object with the replicas of a Scale. Raises Invalid, BadRequest."""
        return scaled(self._resource, obj, form)


class Admitting:
    """Makes the attributes of each kind of write, and runs the chain on them."""

    def __init__(self, admission: Admission, schemas: Schemas) -> None:
        self._admission, self._schemas = admission, schemas

    @property
    def is_alone(self) -> bool:
        """There is nobody outside to ask, so that `body` would do nothing."""
        return self._admission.is_alone

    async def creation(self, target: Target, new: Object, writing: Writing) -> Attributes:
        """A new object, changed in place. `conclude` on what is returned before it is stored."""
        attributes = _attributes("CREATE", target, new, None, writing, "CreateOptions")
        attributes.name = new["metadata"].get("name", "")
        attributes.settle = self._settle_new(target, writing, new.get(updating.STATUS))
        await self._admission.admit(attributes)
        return attributes

    async def change(self, target: Target, new: Object, old: Object, writing: Writing) -> Attributes:
        """A changed object, changed further in place. `conclude` on what is returned before it is stored."""
        attributes = _attributes("UPDATE", target, new, old, writing, "UpdateOptions")
        attributes.settle = self._settle_update(target, writing, old)
        if target.subresource == SCALE:
            attributes.view = _view(target)
        # A binding was judged as one, when it came.
        attributes.consults = writing.consults and target.subresource != BINDING
        await self._admission.admit(attributes)
        return attributes

    async def deletion(self, target: Target, old: Object, wanted: Deletion, writing: Writing) -> None:
        """The deletion of an object."""
        attributes = _attributes("DELETE", target, None, old, writing, "DeleteOptions")
        attributes.options = {**wanted.to_wire(), **_dry_run(writing)}
        attributes.dry_run = writing.dry_run or wanted.dry_run
        await self._admission.admit(attributes)
        await self._admission.conclude(attributes)

    async def body(self, target: Target, kind: GroupVersionKind, body: Object, writing: Writing) -> None:
        """The body of a subresource that is a kind of its own, changed in place: a binding, an eviction."""
        attributes = _attributes("CREATE", target, body, None, writing, "CreateOptions")
        attributes.kind = kind
        await self._admission.ask_outside(attributes)

    def conclude(self, attributes: Attributes) -> Awaitable[None]:
        """The last word about a creation or a change."""
        return self._admission.conclude(attributes)

    def _settle_new(self, target: Target, writing: Writing, status: Any) -> Callable[[Object], Object]:
        resource, strategy = target.resource, strategy_of(target.resource)

        def settle(obj: Object) -> Object:
            bodies.expect_kind(obj, resource.api_version, resource.kind)
            bodies.expect_place(obj, resource, target.namespace, target.name)
            if updating.has_status(resource) and not strategy.keeps_status_on_create:
                _put(obj, updating.STATUS, status)
            strategy.prepare_create(obj)
            return self._schemas.admit_new(resource, obj, _quiet(writing))

        return settle

    def _settle_update(self, target: Target, writing: Writing, old: Object) -> Callable[[Object], Object]:
        resource, strategy = target.resource, strategy_of(target.resource)

        def settle(obj: Object) -> Object:
            bodies.expect_kind(obj, resource.api_version, resource.kind)
            bodies.expect_place(obj, resource, target.namespace, target.name)
            merged = updating.merge(target, dict(obj), old, strategy) if target.subresource != SCALE else obj
            new = self._schemas.admit_update(resource, merged, old, _quiet(writing))
            metadata.keep(new, old)
            if target.subresource not in (updating.STATUS, SCALE):
                updating.prepare(target, new, old, strategy)
            return new

        return settle


def _attributes(
    operation: str,
    target: Target,
    new: Object | None,
    old: Mapping[str, Any] | None,
    writing: Writing,
    options_kind: str,
) -> Attributes:
    return Attributes(
        operation,
        target.resource,
        target.subresource,
        target.namespace,
        target.name,
        new,
        old,
        writing.user,
        writing.dry_run,
        writing.warnings,
        writing.audit,
        {"kind": options_kind, "apiVersion": "meta.k8s.io/v1", **_dry_run(writing), **writing.given},
        writing.consults,
        restricted=writing.restricted,
        incarnation=writing.incarnation,
        premises=writing.premises,
    )


def _view(target: Target) -> View:
    return ScaleView(target.resource)


def _dry_run(writing: Writing) -> Object:
    return {"dryRun": ["All"]} if writing.dry_run else {}


def _quiet(writing: Writing) -> Writing:
    """What a webhook writes that no schema knows is dropped; the client did not write it, so it is not told."""
    return replace(writing, validation="Ignore")


def _put(obj: Object, field: str, value: Any) -> None:
    if value is None:
        obj.pop(field, None)
    else:
        obj[field] = value
