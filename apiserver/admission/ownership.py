"""Whose an object is: stamped by the server when it is created, inherited by what controllers make of it.

Two annotations: `stark.dev/owner` names the user, `stark.dev/owner-role` says `admin` when the user was an
administrator then, and `user` when they could reach only their own objects. Users cannot forge either; administrators
and controllers may hand an object over. What administrators make is stamped where ownership decides about placement:
packs, nodes, and whatever has pods. All else of theirs is the cluster's own, as in Kubernetes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stark.crds.annotations import OPEN_NODE, OWNER, OWNER_ROLE
from stark.crds.tenancy import ADMIN, RESTRICTED, Owner, pack_refusal

from ..auth.identities import CONTROLLERS, OWNER_EXTRA, OWNER_ROLE_EXTRA, is_admin
from ..auth.nodes import node_name
from ..errors import invalid
from ..request import User
from ..resources import Resource, Resources, derived
from .attributes import Attributes, Lookup
from .complaints import bad_value, named
from .podspecs import find_spec

STAMPS = (OWNER, OWNER_ROLE)
JUDGED = (*STAMPS, OPEN_NODE)
"""Annotations that not everybody may change."""
EVENTS = (("", "events"), ("events.k8s.io", "events"))


def annotations_of(obj: Mapping[str, Any] | None) -> Mapping[str, str]:
    """The annotations of an object that may have none."""
    return ((obj or {}).get("metadata") or {}).get("annotations") or {}


def may_use(attributes: Attributes, pack: Mapping[str, Any]) -> bool:
    """Whether the object being written may use a pack: a public one, its owner's, or any for an administrator."""
    private = Owner.of(annotations_of(pack))
    if CONTROLLERS in attributes.user.groups:
        # A controller acts for the owner of what it works on, not for itself.
        acting = Owner.of(annotations_of(attributes.object))
        return acting.rank == ADMIN or (bool(acting.name) and acting.name == private.name)
    if is_admin(attributes.user):
        return True
    return not pack_refusal(Owner(attributes.user.name), private, pack["spec"].get("visibility") or "")


def ownership_concerns(resource: Resource, operation: str, subresource: str) -> bool:
    """New objects, and every change of one, through whatever subresource."""
    return operation == "UPDATE" or (operation == "CREATE" and not subresource)


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
        elif attributes.operation == "CREATE" and not attributes.subresource:
            _write(obj, await self._stamps(attributes, lookup))
            if _is_node(attributes.resource) and not is_admin(attributes.user):
                _make_modest(attributes, obj)

    async def _stamps(self, attributes: Attributes, lookup: Lookup) -> Mapping[str, str]:
        user, given = attributes.user, annotations_of(attributes.object)
        is_system = CONTROLLERS in user.groups or bool(node_name(user))
        if (attributes.resource.group, attributes.resource.plural) in EVENTS and (is_system or is_admin(user)):
            return await self._of_subject(attributes, lookup)
        if node_name(user):
            return _by_certificate(user) if _is_node(attributes.resource) else {}
        if CONTROLLERS in user.groups:
            inherited = await self._inherited(attributes, lookup)
            if inherited is not None:
                return inherited
            return {OWNER: user.name} if _decides_placement(attributes) else {}
        if is_admin(user):
            if given.get(OWNER, user.name) != user.name:
                return {key: given[key] for key in STAMPS if key in given}  # on behalf of somebody, e.g. a restore
            return {OWNER: user.name, OWNER_ROLE: ADMIN} if _decides_placement(attributes) else {}
        return {OWNER: user.name, **({OWNER_ROLE: RESTRICTED} if attributes.restricted else {})}

    async def _inherited(self, attributes: Attributes, lookup: Lookup) -> Mapping[str, str] | None:
        """The stamps of the object that controls this one; None when there is none."""
        metadata = (attributes.object or {}).get("metadata") or {}
        for reference in metadata.get("ownerReferences") or ():
            if reference.get("controller"):
                found = await self._referenced(reference, attributes.namespace, lookup)
                return _stamps_of(found) if found is not None else None
        return None

    async def _of_subject(self, attributes: Attributes, lookup: Lookup) -> Mapping[str, str]:
        """Whoever owns an object is shown what happens to it; by agents only what happens on their nodes."""
        event = attributes.object or {}
        subject = event.get("regarding") or event.get("involvedObject") or {}
        found = await self._referenced(subject, subject.get("namespace") or "", lookup)
        agent = node_name(attributes.user)
        if found is None or (agent and agent != _node_of(found)):
            return {}
        return _stamps_of(found)

    async def _referenced(
        self, reference: Mapping[str, Any], namespace: str, lookup: Lookup
    ) -> Mapping[str, Any] | None:
        resource = referenced(self._resources, reference)
        if resource is None:
            return None
        obj = await lookup.get(
            resource.group, resource.plural, namespace if resource.namespaced else "", reference.get("name", "")
        )
        return obj if obj is not None and obj["metadata"].get("uid") == reference.get("uid") else None


def referenced(resources: Resources, reference: Mapping[str, Any]) -> Resource | None:
    """The resource of an object that is named by apiVersion and kind."""
    group, _, version = str(reference.get("apiVersion", "")).rpartition("/")
    return resources.of_kind(group, version, reference.get("kind", ""))


def _stamps_of(obj: Mapping[str, Any]) -> Mapping[str, str]:
    return {key: value for key, value in annotations_of(obj).items() if key in STAMPS}


def _node_of(obj: Mapping[str, Any]) -> str:
    """Where it is: a pod's node, a node itself."""
    if obj.get("kind") == "Node":
        return str(obj["metadata"]["name"])
    return str((obj.get("spec") or {}).get("nodeName") or "")


def _make_modest(attributes: Attributes, node: dict[str, Any]) -> None:
    """Nobody but administrators opens a node to all, and where a node can be reached only its agent says."""
    if OPEN_NODE in annotations_of(node):
        del node["metadata"]["annotations"][OPEN_NODE]
    if not node_name(attributes.user):
        node.pop("status", None)


def _is_node(resource: Resource) -> bool:
    return resource.group == "" and resource.plural == "nodes"


def _by_certificate(agent: User) -> Mapping[str, str]:
    """Whose a node is that this agent registers: who let the agent in, as its certificate says."""
    owner, role = agent.extra.get(OWNER_EXTRA), agent.extra.get(OWNER_ROLE_EXTRA)
    if not owner:
        return {}
    return {OWNER: owner[0], **({OWNER_ROLE: role[0]} if role else {})}


def _is_open_to_claims(agent: User, stamps: Mapping[str, str]) -> bool:
    """Whether the agent's certificate says whose its node is: nobody has said it yet, or somebody who claimed the name."""
    return stamps.get(OWNER) in (None, agent.name) or stamps.get(OWNER_ROLE) == RESTRICTED


def _decides_placement(attributes: Attributes) -> bool:
    resource = attributes.resource
    return _always_decides(resource) or find_spec(resource, attributes.object) is not None


@derived
def _always_decides(resource: Resource) -> bool:
    return resource.group == "stark.dev" or resource.group.endswith(".stark.dev") or _is_node(resource)


def _keep(attributes: Attributes, obj: dict[str, Any]) -> None:
    """An update without the stamps gets them back; one that changes them is refused, or trusted from those who may."""
    old, new = annotations_of(attributes.old), annotations_of(obj)
    is_nodes = _is_node(attributes.resource)
    if not attributes.restricted and not is_nodes and all(new.get(key) == old.get(key) for key in JUDGED):
        return  # as nearly always: nothing to restore, to refuse or to add
    administers = is_admin(attributes.user)
    changed = [key for key in STAMPS if key in new and new[key] != old.get(key)]
    forged = [] if administers or CONTROLLERS in attributes.user.groups else list(changed)
    if not administers and OPEN_NODE in new and new[OPEN_NODE] != old.get(OPEN_NODE):
        forged.append(OPEN_NODE)
    if forged:
        causes = [bad_value(f"metadata.annotations[{key}]", new[key], "field is immutable") for key in forged]
        raise invalid(attributes.resource.kind, named(attributes), causes, group=attributes.resource.group)
    stamps: dict[str, str | None] = {key: new.get(key, old.get(key)) for key in STAMPS if key in new or key in old}
    if OWNER in changed and OWNER_ROLE not in changed:
        # A new owner does not inherit the rank of the former one, which a patch leaves standing in the object.
        stamps.pop(OWNER_ROLE, None)
    if is_nodes and node_name(attributes.user) and _is_open_to_claims(attributes.user, old):
        stamps = {**_by_certificate(attributes.user)} or stamps
    if attributes.restricted and stamps.get(OWNER) == attributes.user.name and not is_nodes:
        # It may have been handed over, or made with wider rights: from now on it is what this user can answer for.
        stamps[OWNER_ROLE] = RESTRICTED
    if stamps != {key: new[key] for key in STAMPS if key in new}:
        _write(obj, {key: value for key, value in stamps.items() if value is not None})


def _write(obj: dict[str, Any], stamps: Mapping[str, str]) -> None:
    metadata = obj.setdefault("metadata", {})
    given = metadata.get("annotations") or {}
    annotations = {**{key: value for key, value in given.items() if key not in STAMPS}, **stamps} if given else stamps
    if annotations:
        metadata["annotations"] = dict(annotations)
    else:
        metadata.pop("annotations", None)
