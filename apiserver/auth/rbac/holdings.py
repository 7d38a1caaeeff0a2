"""What one user holds, laid out so that a question is answered by a handful of look-ups."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from ..authorization import NO_OPINION, AuthorizationAttributes, Decision
from ..rules import ANY, Rule
from .grants import HeldRole

OWN_ONLY: Final = ", for objects that the user owns only"


@dataclass(frozen=True, slots=True)
class Grant:
    """A role that a user holds by a binding."""

    namespace: str
    """Where; empty: everywhere."""
    role: HeldRole | None
    """None: the binding names a role that is not there."""
    reason: str
    """Why, or what is missing."""


class _Named:
    """What is granted on a resource: on all its objects, and on some by their names."""

    __slots__ = ("every", "named")

    def __init__(self) -> None:
        self.every: Decision | None = None
        self.named: dict[str, Decision] = {}

    def add(self, names: Iterable[str], decision: Decision) -> None:
        is_open = True
        for name in names:
            is_open = False
            self.named.setdefault(name, decision)
        if is_open and self.every is None:
            self.every = decision


class Table:
    """Rules by verb, group and resource. Of several that allow the same thing the first gives the reason."""

    __slots__ = ("_paths", "_prefixes", "_resources")

    def __init__(self) -> None:
        self._resources: dict[str, dict[str, dict[str, _Named]]] = {}
        self._paths: dict[str, dict[str, Decision]] = {}
        self._prefixes: dict[str, list[tuple[str, Decision]]] = {}

    def add(self, rule: Rule, decision: Decision) -> None:
        """One rule, and what is answered when it allows what is asked."""
        for verb in rule.verbs:
            for path in rule.paths:
                if path.endswith(ANY):
                    self._prefixes.setdefault(verb, []).append((path[:-1], decision))
                else:
                    self._paths.setdefault(verb, {}).setdefault(path, decision)
            if rule.paths:
                continue
            groups = self._resources.setdefault(verb, {})
            for group in rule.groups:
                resources = groups.setdefault(group, {})
                for resource in rule.resources:
                    found = resources.get(resource)
                    if found is None:
                        found = resources[resource] = _Named()
                    found.add(rule.names, decision)

    def decide(self, asked: AuthorizationAttributes) -> Decision | None:
        """The answer of the first rule that allows it."""
        if not asked.resource:
            return self._decide_path(asked)
        name, resource, subresource = asked.name, asked.resource, asked.subresource
        wanted = (f"{resource}/{subresource}", ANY, f"{ANY}/{subresource}") if subresource else (resource, ANY)
        for verb in (asked.verb, ANY):
            groups = self._resources.get(verb)
            if groups is None:
                continue
            for group in (asked.group, ANY):
                resources = groups.get(group)
                if resources is None:
                    continue
                for each in wanted:
                    found = resources.get(each)
                    if found is not None:
                        decision = found.every or found.named.get(name)
                        if decision is not None:
                            return decision
        return None

    def _decide_path(self, asked: AuthorizationAttributes) -> Decision | None:
        for verb in (asked.verb, ANY):
            exact = self._paths.get(verb)
            if exact is not None and asked.path in exact:
                return exact[asked.path]
            for prefix, decision in self._prefixes.get(verb, ()):
                if asked.path.startswith(prefix):
                    return decision
        return None


class Holdings:
    """Everything that one user holds."""

    def __init__(self, grants: Iterable[Grant]) -> None:
        self._grants = tuple(grants)
        self._outright: dict[str, Table] = {}
        self._own: dict[str, Table] = {}
        """Tables by namespace; that of the empty one holds everywhere."""
        for grant in self._grants:
            if grant.role is None:
                continue
            tables = self._own if grant.role.own_only else self._outright
            reason = grant.reason + OWN_ONLY if grant.role.own_only else grant.reason
            decision = Decision(allowed=True, reason=reason, own_only=grant.role.own_only)
            table = tables.setdefault(grant.namespace, Table())
            for rule in grant.role.rules:
                table.add(rule, decision)

    def decide(self, asked: AuthorizationAttributes) -> Decision:
        """Yes outright, yes for own objects only, or no opinion."""
        for tables in (self._outright, self._own):
            if not tables:
                continue
            everywhere = tables.get("")
            decision = everywhere.decide(asked) if everywhere is not None else None
            if decision is None and asked.namespace:
                there = tables.get(asked.namespace)
                decision = there.decide(asked) if there is not None else None
            if decision is not None:
                return decision
        return self._refusal(asked.namespace)

    def _refusal(self, namespace: str) -> Decision:
        missing = self.missing(namespace)
        if not missing:
            return NO_OPINION
        told = missing[0] if len(missing) == 1 else "[" + ", ".join(missing) + "]"
        return Decision(allowed=False, reason=f"RBAC: {told}")

    def rules(self, namespace: str, *, own_only: bool) -> Iterator[Rule]:
        """The rules that hold in a namespace, those of the cluster's scope included: outright ones, or the others."""
        for grant in self._grants:
            if grant.role is not None and grant.role.own_only == own_only and grant.namespace in ("", namespace):
                yield from grant.role.rules

    def missing(self, namespace: str) -> list[str]:
        """What is said of the roles that are bound there and do not exist."""
        return [grant.reason for grant in self._grants if grant.role is None and grant.namespace in ("", namespace)]
