"""Whether a write concerns a webhook: rules, then namespace, then labels.

Plain functions over what is asked. The rules are Kubernetes' (apiserver/pkg/admission/plugin/webhook/predicates).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from stark.crds.selectors import Selector

from ...errors import NotFound
from ...resources import Resource
from ..attributes import Attributes, Lookup

ANY: Final = "*"
CONFIGURATIONS: Final = frozenset(
    {
        "mutatingwebhookconfigurations",
        "validatingwebhookconfigurations",
        "validatingadmissionpolicies",
        "validatingadmissionpolicybindings",
    }
)
CONFIGURATION_GROUP: Final = "admissionregistration.k8s.io"

Mapped = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule, its lists as sets."""

    operations: frozenset[str]
    groups: frozenset[str]
    versions: frozenset[str]
    resources: tuple[tuple[str, str], ...]
    """Resource and subresource, either of which may be `*`."""
    scope: str = ANY

    @classmethod
    def of(cls, rule: Mapped) -> Rule:
        """From wire form."""
        named = (item.partition("/") for item in rule.get("resources") or ())
        return cls(
            frozenset(rule.get("operations") or ()),
            frozenset(rule.get("apiGroups") or ()),
            frozenset(rule.get("apiVersions") or ()),
            tuple((resource, subresource) for resource, _, subresource in named),
            rule.get("scope") or ANY,
        )

    def covers(self, attributes: Attributes, resource: Resource) -> bool:
        """Whether it names this write, taken as one of `resource`: the kind in the version asked for, or in another."""
        return (
            (ANY in self.operations or attributes.operation in self.operations)
            and (ANY in self.groups or resource.group in self.groups)
            and (ANY in self.versions or resource.version in self.versions)
            and any(
                named in (ANY, resource.plural) and subresource in (ANY, attributes.subresource)
                for named, subresource in self.resources
            )
            and self._in_scope(attributes)
        )

    def _in_scope(self, attributes: Attributes) -> bool:
        if self.scope == ANY:
            return True
        # A namespace is itself without one, although its requests are about the namespace of its name.
        return (self.scope == "Namespaced") == (bool(attributes.namespace) and not is_namespace(attributes))


def is_namespace(attributes: Attributes) -> bool:
    """Whether the write is about a namespace itself."""
    return attributes.resource.group == "" and attributes.resource.plural == "namespaces"


def is_exempt(attributes: Attributes) -> bool:
    """Whether nobody outside is asked: a bad configuration must not keep anybody from repairing it."""
    resource = attributes.resource
    return resource.group == CONFIGURATION_GROUP and resource.plural in CONFIGURATIONS


class Covering(Protocol):
    """A rule about writes."""

    def covers(self, attributes: Attributes, resource: Resource) -> bool:
        """Whether it names this write, taken as one of `resource`."""
        ...


def matching_resource(
    rules: Iterable[Covering], attributes: Attributes, equivalents: Callable[[], Sequence[Resource]]
) -> Resource | None:
    """As what the rules want to see the write: as it is, or in an equivalent version; None when they do not name it."""
    rules = tuple(rules)
    if any(rule.covers(attributes, attributes.resource) for rule in rules):
        return attributes.resource
    for other in equivalents():
        if any(rule.covers(attributes, other) for rule in rules):
            return other
    return None


def namespace_of(attributes: Attributes) -> str:
    """The namespace a request is about; a namespace is about itself."""
    return attributes.name_of_object() if is_namespace(attributes) else attributes.namespace


def labels_of(obj: Mapped | None) -> Mapping[str, str] | None:
    """The labels of an object; None when there is no object."""
    return None if obj is None else ((obj.get("metadata") or {}).get("labels") or {})


def matches_object(selector: Selector, attributes: Attributes) -> bool:
    """Whether the object matches, as it was or as it is to be."""
    if selector.empty:
        return True
    found = (labels_of(attributes.shown_object()), labels_of(attributes.shown_old()))
    return any(labels is not None and selector.matches(labels) for labels in found)


def equivalents_of(resources: Iterable[Resource], resource: Resource) -> list[Resource]:
    """The other versions a kind is served in. A subresource with a kind of its own is the same in all of them."""
    return [
        other
        for other in resources
        if other.plural == resource.plural and other.group == resource.group and other.version != resource.version
    ]


async def in_namespaces(selector: Selector, attributes: Attributes, lookup: Lookup) -> bool:
    """Whether the namespace has the labels. What has none, and is none, always matches. Raises NotFound."""
    if selector.empty:
        return True
    name = namespace_of(attributes)
    is_written = (
        is_namespace(attributes) and not attributes.subresource and attributes.operation in ("CREATE", "UPDATE")
    )
    if is_written:
        # The lister does not have it yet, or as it was.
        return selector.matches(labels_of(attributes.object))
    if not name:
        return True
    namespace = await lookup.get("", "namespaces", "", name)
    if namespace is None:
        raise NotFound(f'namespaces "{name}" not found', kind="namespaces", name=name)
    return selector.matches(labels_of(namespace))
