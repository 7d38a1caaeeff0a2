"""Whether a write concerns a policy or a binding: the rules of webhooks, with names of objects and with exceptions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stark.crds.selectors import Selector, from_label_selector

from ...resources import Resource, Resources
from ..attributes import Attributes, Lookup
from ..webhooks.matching import Rule, equivalents_of, in_namespaces, matches_object, matching_resource

Mapped = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class NamedRule:
    """One rule; no names are all."""

    rule: Rule
    names: frozenset[str] = frozenset()

    @classmethod
    def of(cls, rule: Mapped) -> NamedRule:
        """From wire form."""
        return cls(Rule.of(rule), frozenset(rule.get("resourceNames") or ()))

    def covers(self, attributes: Attributes, resource: Resource) -> bool:
        """Whether it names this write, taken as one of `resource`."""
        is_named = not self.names or attributes.name in self.names
        return is_named and self.rule.covers(attributes, resource)


@dataclass(frozen=True, slots=True)
class Matching:
    """Which writes. Without rules of its own it is about all of them (a binding narrows its policy)."""

    rules: tuple[NamedRule, ...]
    excluded: tuple[NamedRule, ...]
    namespaces: Selector
    objects: Selector
    accepts_equivalents: bool

    @classmethod
    def of(cls, resources: Mapped | None) -> Matching:
        """From wire form. Raises SelectorError."""
        given = resources or {}
        return cls(
            tuple(map(NamedRule.of, given.get("resourceRules") or ())),
            tuple(map(NamedRule.of, given.get("excludeResourceRules") or ())),
            from_label_selector(given.get("namespaceSelector") or {}),
            from_label_selector(given.get("objectSelector") or {}),
            given.get("matchPolicy") != "Exact",
        )

    async def seen_as(self, attributes: Attributes, lookup: Lookup, resources: Resources) -> Resource | None:
        """The version of the kind in which the write is to be looked at; None when it does not match. Raises NotFound."""

        def equivalents() -> list[Resource]:
            return equivalents_of(resources, attributes.resource) if self.accepts_equivalents else []

        found = matching_resource(self.rules, attributes, equivalents) if self.rules else attributes.resource
        if found is None or not matches_object(self.objects, attributes):
            return None
        if matching_resource(self.excluded, attributes, equivalents) is not None:
            return None
        return found if await in_namespaces(self.namespaces, attributes, lookup) else None
