"""Whether somebody's rules allow everything that other rules allow: what they may hand on.

Every rule that is handed on is broken into single permissions, and each must lie within one permission that is held
(k8s.io/component-helpers, auth/rbac/validation). What is missing is told in the words of Kubernetes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from typing import Final

import orjson

from ..rules import ANY, Rule

EVERYTHING: Final = (Rule((ANY,), (ANY,), (ANY,)), Rule((ANY,), paths=(ANY,)))
"""What whoever gathers other roles' rules must hold, since those may come to be anything."""


def broken_down(rules: Iterable[Rule]) -> Iterator[Rule]:
    """The single permissions of the rules: one verb, on one resource of one group, or of one name of it, or on one path."""
    for rule in rules:
        for group, resource, verb in product(rule.groups, rule.resources, rule.verbs):
            for name in rule.names:
                yield Rule((verb,), (group,), (resource,), (name,))
            if not rule.names:
                yield Rule((verb,), (group,), (resource,))
        for path, verb in product(rule.paths, rule.verbs):
            yield Rule((verb,), paths=(path,))


def missing(held: Sequence[Rule], wanted: Iterable[Rule]) -> list[Rule]:
    """The single permissions of `wanted` that lie within none of `held`."""
    return [single for single in broken_down(wanted) if not any(_covers(rule, single) for rule in held)]


def _covers(held: Rule, single: Rule) -> bool:
    """Whether a rule allows all of a single permission."""
    if not _has(held.verbs, single.verbs[0]):
        return False
    if single.paths:
        return any(_covers_path(path, single.paths[0]) for path in held.paths)
    if not _has(held.groups, single.groups[0]) or not _covers_resource(held, single.resources[0]):
        return False
    return not held.names or (bool(single.names) and single.names[0] in held.names)


def _has(held: Sequence[str], wanted: str) -> bool:
    return wanted in held or ANY in held


def _covers_resource(held: Rule, wanted: str) -> bool:
    if _has(held.resources, wanted):
        return True
    _, is_sub, subresource = wanted.partition("/")
    return bool(is_sub) and f"{ANY}/{subresource}" in held.resources


def _covers_path(held: str, wanted: str) -> bool:
    return held == wanted or (held.endswith(ANY) and wanted.startswith(held[:-1]))


def told(singles: Iterable[Rule]) -> list[str]:
    """The permissions as messages tell them: one line for each resource, in the order of the alphabet."""
    verbs: dict[tuple[tuple[str, ...], ...], list[str]] = {}
    for single in singles:
        verbs.setdefault((single.groups, single.resources, single.paths, single.names), []).extend(single.verbs)
    return sorted({_line(parts, tuple(dict.fromkeys(given))) for parts, given in verbs.items()})


def _line(parts: tuple[tuple[str, ...], ...], verbs: tuple[str, ...]) -> str:
    names = ("APIGroups", "Resources", "NonResourceURLs", "ResourceNames", "Verbs")
    shown = [f"{name}:{quoted(values)}" for name, values in zip(names, (*parts, verbs), strict=True) if values]
    return "{" + ", ".join(shown) + "}"


def quoted(values: Iterable[str]) -> str:
    """`["a" "b"]`, as Go prints a list of strings."""
    return "[" + " ".join(orjson.dumps(value).decode() for value in values) + "]"
