"""Who may run pods in isolation class `trusted`, as the user that the node's agent is.

The right is the verb `use` on `isolationclasses.stark.dev` of that name: a kind of which there are no objects. Whoever
writes a pod or a template needs it, and whoever changes one that is there; the cluster's controllers make of a template
what was judged when it was written.
"""

from __future__ import annotations

from typing import Final

from stark.crds.annotations import ISOLATION
from stark.crds.isolation import TRUSTED

from ..auth.authorization import AuthorizationAttributes, Authorizer
from ..auth.identities import CONTROLLERS, MASTERS
from ..errors import invalid
from ..resources import Resource
from .attributes import Attributes, Lookup
from .complaints import immutable, named, refused
from .podspecs import FoundSpec, find_spec, is_pod, spec_concerns, written_spec
from .validate_security import isolation_of

GROUP: Final = "stark.dev"
PLURAL: Final = "isolationclasses"


class IsolationRights:
    """A validating plugin."""

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    async def __call__(self, attributes: Attributes, lookup: Lookup) -> None:
        """Raise Forbidden when the author may not use the class, Invalid when a pod's class is changed."""
        before = find_spec(attributes.resource, attributes.old)
        if is_pod(attributes.resource) and before is not None:
            _keep(attributes, before)
        found = written_spec(attributes)
        if found is None or attributes.resource.custom:
            return
        wanted = isolation_of(found)
        if wanted != TRUSTED or (before is not None and _same(found, before)):
            return
        if {MASTERS, CONTROLLERS}.isdisjoint(attributes.user.groups) and not await self._may(attributes):
            raise refused(
                attributes, f'isolation class "{TRUSTED}" takes the right to "use" {PLURAL}.{GROUP} of that name'
            )

    async def _may(self, attributes: Attributes) -> bool:
        asked = AuthorizationAttributes(
            attributes.user, "use", GROUP, "*", PLURAL, namespace=attributes.namespace, name=TRUSTED
        )
        return (await self._authorizer.authorize(asked)).is_outright


def isolation_concerns(resource: Resource, operation: str, subresource: str) -> bool:
    """Whether a write may ask for a class, or change it: a pod's annotations also come with its status and its binding."""
    return spec_concerns(resource, operation, subresource) or (is_pod(resource) and operation == "UPDATE")


def _keep(attributes: Attributes, before: FoundSpec) -> None:
    after = find_spec(attributes.resource, attributes.object)
    if after is None or (wanted := isolation_of(after)) == (known := isolation_of(before)):
        return
    causes = list(immutable(f"metadata.annotations[{ISOLATION}]", known, wanted))
    raise invalid(attributes.resource.kind, named(attributes), causes, group=attributes.resource.group)


def _same(found: FoundSpec, before: FoundSpec) -> bool:
    return found.spec == before.spec and isolation_of(found) == isolation_of(before)
