"""Who makes a policy depend on objects must be able to read them: what a policy says could tell what is in them.

As in Kubernetes (registry/admissionregistration, authz): a policy's paramKind takes the right to get all objects of the
kind, a binding's paramRef the right to get, or to list, those it names. `system:masters` need none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..auth.authorization import AuthorizationAttributes, Authorizer
from ..auth.identities import MASTERS
from ..errors import invalid
from ..resources import Resources
from .attributes import Attributes, Lookup
from .complaints import named, not_allowed
from .webhooks.matching import ANY, CONFIGURATION_GROUP

POLICIES = (CONFIGURATION_GROUP, "validatingadmissionpolicies")
BINDINGS = (CONFIGURATION_GROUP, "validatingadmissionpolicybindings")

Mapped = Mapping[str, Any]


class ParamRights:
    """A validating plugin, after the one that finds the object well-formed."""

    def __init__(self, authorizer: Authorizer, resources: Resources) -> None:
        self._authorizer, self._resources = authorizer, resources

    async def __call__(self, attributes: Attributes, lookup: Lookup) -> None:
        """Raise Invalid when the author may not read the parameters."""
        obj = attributes.object
        if obj is None or attributes.subresource or MASTERS in attributes.user.groups:
            return
        spec, before = obj["spec"], (attributes.old or {}).get("spec") or {}
        if attributes.resource.plural == POLICIES[1]:
            await self._policy(attributes, spec, before)
        else:
            await self._binding(attributes, spec, before, lookup)

    async def _policy(self, attributes: Attributes, spec: Mapped, before: Mapped) -> None:
        kind = spec.get("paramKind")
        if kind is None or before.get("paramKind") == kind:
            return
        if not await self._may(attributes, "get", kind, name=ANY, namespace=ANY):
            shown = f"kind={kind.get('kind')}, apiVersion={kind.get('apiVersion')}"
            text = f'must have "get" permission on all objects of the referenced paramKind ({shown})'
            raise _refused(attributes, "spec.paramKind", text)

    async def _binding(self, attributes: Attributes, spec: Mapped, before: Mapped, lookup: Lookup) -> None:
        ref = spec.get("paramRef")
        if ref is None or (before.get("paramRef") == ref and before.get("policyName") == spec.get("policyName")):
            return
        policy = await lookup.get(*POLICIES, "", spec.get("policyName") or "")
        kind = ((policy or {}).get("spec") or {}).get("paramKind")
        name, verb = ref.get("name") or "", "get" if ref.get("name") else "list"
        if not await self._may(attributes, verb, kind, name=name, namespace=ref.get("namespace") or ""):
            text = f'does not have "{verb}" permission on the object referenced by paramRef'
            raise _refused(attributes, "spec.paramRef", text)

    async def _may(self, attributes: Attributes, verb: str, kind: Mapped | None, *, name: str, namespace: str) -> bool:
        """Whether the author may read these objects; of a kind that is not known yet, all there are."""
        group = version = plural = ANY
        if kind is not None:
            group, _, version = str(kind.get("apiVersion") or "").rpartition("/")
            resource = self._resources.of_kind(group, version, str(kind.get("kind") or ""))
            plural = resource.plural if resource is not None else ANY
        asked = AuthorizationAttributes(attributes.user, verb, group, version, plural, namespace=namespace, name=name)
        return (await self._authorizer.authorize(asked)).is_outright


def _refused(attributes: Attributes, path: str, text: str) -> Exception:
    causes = [not_allowed(path, f"user {attributes.user.name} {text}")]
    return invalid(attributes.resource.kind, named(attributes), causes, group=attributes.resource.group)
