"""The objects that are a policy's parameters for one write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...resources import Resource, Resources
from ..attributes import Attributes, Lookup
from ..webhooks.asking import Convert
from ..webhooks.matching import is_namespace
from .compiled import Binding, ParamRef, Policy

Mapped = Mapping[str, Any]


class Misconfigured(Exception):
    """Policy and binding do not lead to parameters; the failure policy judges that."""


class NoSuchKind(Misconfigured):
    """The policy's paramKind is not served."""


class Params:
    """Finds parameters in the caches."""

    def __init__(self, resources: Resources, convert: Convert) -> None:
        self._resources, self._convert = resources, convert

    async def of(self, policy: Policy, binding: Binding, attributes: Attributes, lookup: Lookup) -> list[Mapped | None]:
        """What to evaluate the policy with, one after the other; empty to skip the binding. Raises Misconfigured."""
        if policy.param_kind is None:
            return [None]
        kind = self._resources.of_kind(*policy.param_kind)
        if kind is None:
            group, version, name = policy.param_kind
            shown = f"{group}/{version}, Kind={name}" if group else f"/{version}, Kind={name}"
            raise NoSuchKind(f"failed to find resource referenced by paramKind: '{shown}'")
        if binding.params is None:
            return [None]
        found = await self._found(kind, binding.params, _namespace(kind, binding.params, attributes), lookup)
        if not found and binding.params.denies_missing:
            raise Misconfigured("no params found for policy binding with `Deny` parameterNotFoundAction")
        return list(found)

    async def _found(self, kind: Resource, ref: ParamRef, namespace: str, lookup: Lookup) -> list[Mapped]:
        if ref.name:
            one = await lookup.get(kind.group, kind.plural, namespace, ref.name)
            every = [] if one is None else [one]
        elif ref.selector is not None:
            listed = await lookup.list(kind.group, kind.plural, namespace)
            every = [each for each in listed if ref.selector.matches(each["metadata"].get("labels") or {})]
        else:
            raise Misconfigured("one of name or selector must be provided")
        return [
            each if each.get("apiVersion") == kind.api_version else await self._convert(each, kind) for each in every
        ]


def _namespace(kind: Resource, ref: ParamRef, attributes: Attributes) -> str:
    if not kind.namespaced:
        if ref.namespace:
            raise Misconfigured("paramRef.namespace must not be provided for a cluster-scoped `paramKind`")
        return ""
    of_write = "" if is_namespace(attributes) else attributes.namespace
    if not (ref.namespace or of_write):
        raise Misconfigured("cannot use namespaced paramRef in policy binding that matches cluster-scoped resources")
    return ref.namespace or of_write
