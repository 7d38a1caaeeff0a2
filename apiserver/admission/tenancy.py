"""What is somebody's own stays among its like: where it may be put, what it may name, on which nodes it runs.

Two circles. Every pod with an owner who is no administrator goes to nodes that serve that owner, whoever binds it (an
administrator may put theirs anywhere, though the scheduler does not choose strangers' nodes for private ones). What
belongs to a *restricted* owner, one who reaches only their own objects, furthermore lives outside the cluster's own
namespaces and other users', and names only Secrets, ConfigMaps, accounts, Services and owners that are theirs. The
objects' own stamps are asked, not the user: so the rules hold for what controllers make of them, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from stark.crds.annotations import NAMESPACE_NAME, OWNER
from stark.crds.images import ImageError, pack_object_name, parse_image
from stark.crds.tenancy import NodeTerms, Owner, acts_as_somebody, node_refusal

from ..auth.identities import CONTROLLERS, is_admin
from ..auth.nodes import ROOT_CA
from ..auth.references import config_map_references, secret_references
from ..errors import Forbidden
from ..resources import Resources
from .attributes import Attributes, Lookup
from .complaints import refused
from .defaults import DEFAULT_SERVICE_ACCOUNT
from .namespaces import RESERVED
from .ownership import annotations_of, referenced
from .podspecs import FoundSpec, containers, find_spec, is_pod, written_spec

SHARED = frozenset({"default"})
"""Of the namespaces that always exist, the one that is for everybody."""
CLUSTERS_OWN = RESERVED - SHARED
SERVICE_NAME = "kubernetes.io/service-name"
"""Label of an EndpointSlice: the Service it speaks for."""
TOKEN_SECRET = "kubernetes.io/service-account-token"
ACCOUNT_NAME = "kubernetes.io/service-account.name"
"""Type of a Secret that a controller fills with an account's token, and the annotation that says of which."""

Mapped = Mapping[str, Any]


class Census(Protocol):
    """Who has something in a namespace."""

    async def foreign_in(self, namespace: str, owner: str) -> str:
        """An object that is not the owner's, as `plural/name`; empty when there is none."""
        ...


class Tenancy:
    """The plugin. It judges last, when the object is what it will be."""

    def __init__(self, resources: Resources, census: Census) -> None:
        self._resources, self._census = resources, census

    async def __call__(self, attributes: Attributes, lookup: Lookup) -> None:
        """Refuse what would reach across owners."""
        if attributes.operation == "DELETE":
            await self._deletion(attributes)
            return
        obj = attributes.object
        if attributes.operation not in ("CREATE", "UPDATE") or obj is None or attributes.kind is not None:
            return
        if attributes.restricted:
            _namespace_labels(attributes)
        annotations = annotations_of(obj)
        if not annotations:
            return  # the cluster's own
        owner = Owner.of(annotations)
        if owner.may_everything:
            return
        if not attributes.subresource or attributes.subresource == "binding":
            await _placement(attributes, lookup, owner)
        if owner.is_restricted and not attributes.subresource:
            await self._restricted(attributes, lookup, owner)

    async def _restricted(self, attributes: Attributes, lookup: Lookup, owner: Owner) -> None:
        if CONTROLLERS not in attributes.user.groups and not is_admin(attributes.user):
            if attributes.operation == "CREATE":
                await _in_reach(attributes, lookup, owner)
            await self._owner_references(attributes, lookup, owner)
            await _labelled(attributes, lookup, owner)
        await _pod_references(attributes, lookup, owner)

    async def _deletion(self, attributes: Attributes) -> None:
        """Who owns a namespace deletes what is theirs in it, and nothing else."""
        resource = attributes.resource
        if not attributes.restricted or (resource.group, resource.plural) != ("", "namespaces"):
            return
        foreign = await self._census.foreign_in(attributes.name, attributes.user.name)
        if foreign:
            raise refused(attributes, f"{foreign} in it is not yours: an administrator may delete this namespace")

    async def _owner_references(self, attributes: Attributes, lookup: Lookup, owner: Owner) -> None:
        """Controllers know their own by the uid alone: one that is named must be there, be the owner's, and have it."""
        known = [_identity(reference) for reference in _references(attributes.old)]
        for reference in _references(attributes.object):
            if _identity(reference) in known:
                continue
            resource = referenced(self._resources, reference)
            there: Mapped | None = None
            if resource is not None:
                namespace = attributes.namespace if resource.namespaced else ""
                there = await lookup.get(resource.group, resource.plural, namespace, str(reference.get("name") or ""))
            is_own = there is not None and annotations_of(there).get(OWNER) == owner.name
            if there is None or not is_own or there["metadata"].get("uid") != reference.get("uid"):
                named = f'{reference.get("kind")} "{reference.get("name")}" of uid {reference.get("uid")}'
                raise refused(attributes, f"{named}, named as an owner, does not belong to {owner.name}")


def _identity(reference: Mapped) -> tuple[object, ...]:
    return tuple(reference.get(field) for field in ("apiVersion", "kind", "name", "uid"))


def _references(obj: Mapped | None) -> list[Mapped]:
    return list(((obj or {}).get("metadata") or {}).get("ownerReferences") or ())


async def _in_reach(attributes: Attributes, lookup: Lookup, owner: Owner) -> None:
    """Nothing is put into the cluster's own namespaces, where names mean something, nor into another user's."""
    if not attributes.resource.namespaced:
        return
    if attributes.namespace in CLUSTERS_OWN:
        raise refused(attributes, f"the namespace {attributes.namespace} is the cluster's own")
    namespace = Owner.of(annotations_of(await lookup.get("", "namespaces", "", attributes.namespace)))
    if not namespace.may_everything and namespace.name != owner.name:
        raise refused(attributes, f"the namespace {attributes.namespace} belongs to another user")


def _namespace_labels(attributes: Attributes) -> None:
    """By them policies, webhooks and trust in packs say where they hold, which is not for a namespace's owner to choose."""
    if (attributes.resource.group, attributes.resource.plural) != ("", "namespaces"):
        return
    before, after = (_labels(obj) for obj in (attributes.old, attributes.object))
    changed = sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
    if changed:
        raise refused(attributes, f"the labels of a namespace are set by administrators: {', '.join(changed)}")


def _labels(obj: Mapped | None) -> Mapped:
    labels = ((obj or {}).get("metadata") or {}).get("labels") or {}
    return {key: value for key, value in labels.items() if key != NAMESPACE_NAME}


async def _pod_references(attributes: Attributes, lookup: Lookup, owner: Owner) -> None:
    found = written_spec(attributes)
    if found is None:
        return
    before = find_spec(attributes.resource, attributes.old)
    known = set(_named(before)) if before is not None else set()
    known |= await _given_by_account(attributes, lookup, found)
    for plural, name in _named(found):
        if (plural, name) not in known:
            await _require_own(attributes, lookup, owner, ("", plural, attributes.namespace, name))


def _named(found: FoundSpec) -> Iterator[tuple[str, str]]:
    """Plural and name of what a pod is given of its namespace."""
    for name in secret_references(found.spec):
        yield "secrets", name
    for name in config_map_references(found.spec):
        if name != ROOT_CA:
            yield "configmaps", name
    account = found.spec.get("serviceAccountName") or DEFAULT_SERVICE_ACCOUNT
    if account != DEFAULT_SERVICE_ACCOUNT:
        yield "serviceaccounts", account


async def _given_by_account(attributes: Attributes, lookup: Lookup, found: FoundSpec) -> set[tuple[str, str]]:
    """The pull secrets a pod has of its account and not by itself: whoever made the account has chosen them."""
    pulled = {reference.get("name") for reference in found.spec.get("imagePullSecrets") or ()}
    if not pulled:
        return set()
    account = found.spec.get("serviceAccountName") or DEFAULT_SERVICE_ACCOUNT
    of = await lookup.get("", "serviceaccounts", attributes.namespace, account)
    listed = {reference.get("name") for reference in (of or {}).get("imagePullSecrets") or ()}
    read = set(secret_references({**found.spec, "imagePullSecrets": ()}))
    return {("secrets", str(name)) for name in (pulled & listed) - read}


async def _labelled(attributes: Attributes, lookup: Lookup, owner: Owner) -> None:
    """What speaks for another object by naming it is written by that object's owner: endpoints of a Service, tokens."""
    obj, metadata = attributes.object or {}, (attributes.object or {}).get("metadata") or {}
    named = ""
    match attributes.resource.group, attributes.resource.plural:
        case ("discovery.k8s.io", "endpointslices"):
            plural, named = "services", (metadata.get("labels") or {}).get(SERVICE_NAME) or ""
        case ("", "secrets") if obj.get("type") == TOKEN_SECRET:
            plural, named = "serviceaccounts", annotations_of(obj).get(ACCOUNT_NAME) or ""
    if named:
        await _require_own(attributes, lookup, owner, ("", plural, attributes.namespace, named), must_exist=True)


async def _require_own(
    attributes: Attributes, lookup: Lookup, owner: Owner, place: tuple[str, str, str, str], *, must_exist: bool = False
) -> None:
    """Raises Forbidden when something is there and somebody else's. What comes later is judged when it is read."""
    _, plural, _, name = place
    obj = await lookup.get(*place)
    if (obj is None and must_exist) or (obj is not None and annotations_of(obj).get(OWNER) != owner.name):
        raise refused(attributes, f'{plural} "{name}" does not belong to {owner.name}')


async def _placement(attributes: Attributes, lookup: Lookup, owner: Owner) -> None:
    """A pod that is bound, or made for a node, goes where its owner's pods may go: past the scheduler, too."""
    found = find_spec(attributes.resource, attributes.object)
    node = found.spec.get("nodeName") if found is not None else None
    if found is None or not node:
        return
    before = find_spec(attributes.resource, attributes.old)
    if before is not None and before.spec.get("nodeName") == node:
        return
    # A node that is not there yet is nobody's: its name is not to be lain in wait for.
    obj = await lookup.get("", "nodes", "", node)
    spec = found.spec
    given = acts_as_somebody(spec.get("serviceAccountName"), spec.get("automountServiceAccountToken"))
    private = given or any(secret_references(spec)) or await _has_private_pack(found, lookup)
    reason = node_refusal(owner, NodeTerms.of(annotations_of(obj)), is_private=private)
    if reason:
        raise _refused_node(attributes, node, reason)


def _refused_node(attributes: Attributes, node: str, reason: str) -> Forbidden:
    what = "this pod" if is_pod(attributes.resource) else "these pods"
    return refused(attributes, f'{what} may not run on node "{node}": {reason}')


async def _has_private_pack(found: FoundSpec, lookup: Lookup) -> bool:
    for _, container in containers(found):
        try:
            wanted = parse_image(container.get("image") or "")
        except ImageError:
            continue
        if wanted is None or not wanted.version:
            continue
        pack = await lookup.get("stark.dev", "packs", "", pack_object_name(wanted.name, wanted.version))
        if pack is not None and pack["spec"].get("visibility") == "private":
            return True
    return False
