"""Whose an object is: stamped by the server when it is created, inherited by what controllers make of it.

Two annotations: `stark.dev/owner` names the user, `stark.dev/owner-role` says `admin` when the user was an
administrator then. Users cannot forge either; administrators and controllers may hand an object over. Kinds for which
ownership decides nothing (ConfigMaps, Events, Leases ...) are left as their author wrote them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stark.crds.annotations import OWNER

from ..auth.identities import CONTROLLERS, MASTERS
from ..errors import invalid
from ..resources import Resources
from .attributes import Attributes, Lookup
from .complaints import bad_value, named
from .podspecs import find_spec

OWNER_ROLE = "stark.dev/owner-role"
"""Annotation written by the API server: `admin` when the owner was an administrator, else absent."""
ADMIN = "admin"
STAMPS = (OWNER, OWNER_ROLE)


def _annotations(obj: Mapping[str, Any] | None) -> Mapping[str, str]:
    return ((obj or {}).get("metadata") or {}).get("annotations") or {}


def may_use(attributes: Attributes, private: Mapping[str, Any]) -> bool:
    """Whether the object being written may use something private: its owner's, or anything for an administrator."""
    stamps = _annotations(attributes.object)
    if CONTROLLERS in attributes.user.groups:
        # A controller acts for the owner of what it works on, not for itself.
        return stamps.get(OWNER_ROLE) == ADMIN or stamps.get(OWNER, "") == _annotations(private).get(OWNER)
    return MASTERS in attributes.user.groups or attributes.user.name == _annotations(private).get(OWNER)


class Ownership:
    """The plugin; `resources` tells it where owners named by kind are found."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    async def __call__(self, attributes: Attributes, lookup: Lookup) -> None:
        """Stamp a new object, and keep the stamps of an existing one."""
        obj = attributes.object
        if obj is None or attributes.operation == "DELETE":
            return
        if attributes.operation == "UPDATE":
            # On every subresource that carries metadata, status above all: none is a way around.
            if (
                isinstance(obj.get("metadata"), dict)
                and obj.get("kind", attributes.resource.kind) == attributes.resource.kind
            ):
                _keep(attributes, obj)
        elif not attributes.subresource and _has_owner(attributes):
            _write(obj, await self._stamps(attributes, lookup))

    async def _stamps(self, attributes: Attributes, lookup: Lookup) -> dict[str, str]:
        user, given = attributes.user, _annotations(attributes.object)
        if CONTROLLERS in user.groups:
            inherited = await self._inherited(attributes, lookup)
            if inherited is not None:
                return inherited
        if MASTERS in user.groups:
            if given.get(OWNER, user.name) != user.name:
                return {key: given[key] for key in STAMPS if key in given}  # on behalf of somebody, e.g. a restore
            return {OWNER: user.name, OWNER_ROLE: ADMIN}
        return {OWNER: user.name}

    async def _inherited(self, attributes: Attributes, lookup: Lookup) -> dict[str, str] | None:
        """The stamps of the object that controls this one; None when there is none."""
        metadata = (attributes.object or {}).get("metadata") or {}
        for reference in metadata.get("ownerReferences") or ():
            if not reference.get("controller"):
                continue
            group, _, version = str(reference.get("apiVersion", "")).rpartition("/")
            resource = self._resources.of_kind(group, version, reference.get("kind", ""))
            if resource is None:
                return None
            namespace = attributes.namespace if resource.namespaced else ""
            owner = await lookup.get(resource.group, resource.plural, namespace, reference.get("name", ""))
            if owner is None or owner["metadata"].get("uid") != reference.get("uid"):
                return None
            return {key: value for key, value in _annotations(owner).items() if key in STAMPS}
        return None


def _has_owner(attributes: Attributes) -> bool:
    resource = attributes.resource
    if resource.group == "stark.dev" or resource.group.endswith(".stark.dev"):
        return True
    if resource.group == "" and resource.plural == "nodes":
        return True
    return find_spec(resource, attributes.object) is not None


def _keep(attributes: Attributes, obj: dict[str, Any]) -> None:
    """An update without the stamps gets them back; one that changes them is refused, or trusted from those who may."""
    old, new = _annotations(attributes.old), _annotations(obj)
    trusted = {MASTERS, CONTROLLERS} & set(attributes.user.groups)
    changed = [key for key in STAMPS if key in new and new[key] != old.get(key)]
    if changed and not trusted:
        causes = [bad_value(f"metadata.annotations[{key}]", new[key], "field is immutable") for key in changed]
        raise invalid(attributes.resource.kind, named(attributes), causes, group=attributes.resource.group)
    stamps = {key: new.get(key, old.get(key)) for key in STAMPS if key in new or key in old}
    if OWNER in changed and OWNER_ROLE not in changed:
        # A new owner does not inherit the rank of the former one, which a patch leaves standing in the object.
        stamps.pop(OWNER_ROLE, None)
    if stamps != {key: new[key] for key in STAMPS if key in new}:
        _write(obj, {key: value for key, value in stamps.items() if value is not None})


def _write(obj: dict[str, Any], stamps: Mapping[str, str]) -> None:
    metadata = obj.setdefault("metadata", {})
    kept = {key: value for key, value in (metadata.get("annotations") or {}).items() if key not in STAMPS}
    annotations = {**kept, **stamps}
    if annotations:
        metadata["annotations"] = annotations
