"""What admission sees of a request, and what a plugin is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..request import User
from ..resources import Resource

Object = dict[str, Any]
GroupVersionKind = tuple[str, str, str]


class View(Protocol):
    """A subresource's own form of the object, such as a Scale: what those outside are shown instead of the whole."""

    @property
    def kind(self) -> GroupVersionKind:
        """What the form is."""
        ...

    def shown(self, obj: Mapping[str, Any]) -> Object:
        """The form of an object."""
        ...

    def taken(self, obj: Object, form: Mapping[str, Any]) -> Object:
        """The object with what was changed in its form. Raises Invalid, BadRequest."""
        ...


@dataclass(frozen=True, slots=True)
class Premise:
    """Another object that a plugin's decision rests on: the write is committed only if that is still at `revision`."""

    group: str
    plural: str
    namespace: str
    name: str
    revision: int
    """0: it does not exist."""


@dataclass(slots=True)
class Attributes:
    """One write. A mutating plugin changes `object` in place; nobody changes `old`."""

    operation: str
    """CREATE, UPDATE, DELETE or CONNECT."""
    resource: Resource
    subresource: str
    namespace: str
    name: str
    """Empty on a create with generateName."""
    object: Object | None
    """None on DELETE."""
    old: Mapping[str, Any] | None
    """None on CREATE."""
    user: User
    dry_run: bool = False
    warnings: list[str] = field(default_factory=list)
    audit: dict[str, str] = field(default_factory=dict)
    """Annotations for the audit log, by `<who says it>/<key>`."""
    options: Mapping[str, Any] | None = None
    """CreateOptions, UpdateOptions or DeleteOptions (meta/v1) in wire form."""
    consults: bool = True
    """Whether those outside are asked. Not about the server's own bookkeeping, nor twice about one request."""
    kind: GroupVersionKind | None = None
    """What `object` is when it is no object of the resource: the body of a binding, an eviction, an exec."""
    view: View | None = None
    """How those outside are shown the object, when that is not the whole of it."""
    restricted: bool = False
    """The user may do this to their own objects only."""
    incarnation: str = ""
    """For which life of its node an agent says that it speaks."""
    premises: list[Premise] = field(default_factory=list)
    """What must still hold when the write is committed; otherwise it is judged again."""
    settle: Callable[[Object], Object] | None = None
    """Makes an object that somebody outside has changed valid again: pruned, defaulted, checked. Raises ApiError."""

    def kind_shown(self) -> GroupVersionKind:
        """Group, version and kind of what those outside see."""
        if self.view is not None:
            return self.view.kind
        return self.kind or (self.resource.group, self.resource.version, self.resource.kind)

    @property
    def is_own_form(self) -> bool:
        """Those outside see something that is the same in every version of the resource: a Scale, a Binding."""
        return self.view is not None or self.kind is not None

    def shown_object(self) -> Mapping[str, Any] | None:
        """The object as those outside see it."""
        return self._shown(self.object)

    def shown_old(self) -> Mapping[str, Any] | None:
        """What it was, as those outside see it."""
        return self._shown(self.old)

    def _shown(self, obj: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        return obj if obj is None or self.view is None else self.view.shown(obj)

    def name_of_object(self) -> str:
        """The name: on a create that of the object, if it has one already."""
        return self.name or str(((self.object or {}).get("metadata") or {}).get("name") or "")


class Lookup(Protocol):
    """How a plugin reads other objects: from the watch caches, never from the store."""

    async def get(self, group: str, plural: str, namespace: str, name: str) -> Mapping[str, Any] | None:
        """The object, or None."""
        ...

    async def list(self, group: str, plural: str, namespace: str = "") -> list[Mapping[str, Any]]:
        """All objects of the resource; of one namespace when given."""
        ...


Plugin = Callable[[Attributes, Lookup], Awaitable[None]]
"""Raises an ApiError to refuse the write."""
