"""Which of the names that definitions ask for they get: plain functions from definitions to conditions.

A name belongs to the definition that has it accepted, in its status; so who came first keeps it, also after a restart. The
rules, reasons and sentences are Kubernetes' (apiextensions-apiserver/pkg/controller/status/naming_controller.go). Beyond
Kubernetes' rules, the names of the built-in kinds of a group are taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from .resources import Resource

Object = dict[str, Any]
Mapped = Mapping[str, Any]

NAMES_ACCEPTED: Final = "NamesAccepted"
ESTABLISHED: Final = "Established"
TERMINATING: Final = "Terminating"


@dataclass(slots=True)
class Taken:
    """What others in the group have."""

    resources: set[str] = field(default_factory=set)
    """Plurals, singulars and short names: all are words for a resource on the command line."""
    kinds: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Naming:
    """The names a definition has, and the conditions that say so: (status, reason, message)."""

    names: Mapped
    accepted: tuple[str, str, str]
    established: tuple[str, str, str]

    @property
    def is_established(self) -> bool:
        """Whether it is served. Once it is it stays so, under the names it has."""
        return self.established[0] == "True"


def taken_by_others(name: str, group: str, definitions: Iterable[Mapped], builtin: Iterable[Resource]) -> Taken:
    """The names in the group that the definition `name` cannot have."""
    taken = Taken()
    for definition in definitions:
        if definition["spec"]["group"] != group or definition["metadata"]["name"] == name:
            continue
        names = (definition.get("status") or {}).get("acceptedNames") or {}
        words = (names.get("plural"), names.get("singular"), *(names.get("shortNames") or ()))
        taken.resources |= {word for word in words if word}
        taken.kinds |= {word for word in (names.get("kind"), names.get("listKind")) if word}
    for resource in builtin:
        if resource.group == group and not resource.custom:
            taken.resources |= {resource.plural, resource.singular, *resource.short_names}
            taken.kinds |= {resource.kind, resource.list_kind}
    return taken


def name(definition: Mapped, taken: Taken) -> Naming:
    """Accept what is free, keep what was accepted before, and say what is not to be had."""
    wanted, status = definition["spec"]["names"], definition.get("status") or {}
    had: Mapped = status.get("acceptedNames") or {}
    names, trouble = dict(had), ("", "")
    for word, reason in (("plural", "PluralConflict"), ("singular", "SingularConflict")):
        if _is_free(wanted.get(word), had.get(word), taken.resources):
            names[word] = wanted.get(word)
        else:
            trouble = (reason, _in_use(wanted[word]))
    own = set(had.get("shortNames") or ())
    clashing = [word for word in wanted.get("shortNames") or () if word not in own and word in taken.resources]
    if clashing:
        told = [_in_use(word) for word in clashing]
        trouble = ("ShortNamesConflict", told[0] if len(told) == 1 else f"[{', '.join(told)}]")
    else:
        names["shortNames"] = wanted.get("shortNames")
    for word, reason in (("kind", "KindConflict"), ("listKind", "ListKindConflict")):
        if _is_free(wanted.get(word), had.get(word), taken.kinds):
            names[word] = wanted.get(word)
        else:
            trouble = (reason, _in_use(wanted[word]))
    names["categories"] = wanted.get("categories")
    names = {word: value for word, value in names.items() if value}
    accepted = ("False", *trouble) if trouble[0] else ("True", "NoConflicts", "no conflicts found")
    return Naming(names, accepted, _established(status, accepted[0] == "True"))


def _is_free(wanted: str | None, had: str | None, taken: set[str]) -> bool:
    return wanted == had or wanted not in taken


def _in_use(word: str) -> str:
    return f'"{word}" is already in use'


def _established(status: Mapped, is_accepted: bool) -> tuple[str, str, str]:
    known = condition_of(status, ESTABLISHED)
    if known is not None and known.get("status") == "True":
        return "True", str(known.get("reason") or ""), str(known.get("message") or "")
    if is_accepted:
        return "True", "InitialNamesAccepted", "the initial names have been accepted"
    return "False", "NotAccepted", "not all names are accepted"


def condition_of(status: Mapped, kind: str) -> Mapped | None:
    """The condition of that type."""
    return next((item for item in status.get("conditions") or () if item.get("type") == kind), None)


def with_condition(conditions: Iterable[Mapped], kind: str, told: tuple[str, str, str], moment: str) -> list[Object]:
    """The conditions with this one; the time of the last change is kept while the status stays."""
    known = {item["type"]: dict(item) for item in conditions}
    status, reason, message = told
    before = known.get(kind)
    since = before["lastTransitionTime"] if before and before.get("status") == status else moment
    found = {"lastTransitionTime": since, "message": message, "reason": reason, "status": status, "type": kind}
    return [*({**known, kind: found}).values()]
