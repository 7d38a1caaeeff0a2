"""Roles and bindings as the values decisions are made of. Pure, and made once of every object.

A binding is kept with its subjects and with the role's name only: the role may come, change and go on its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from stark.crds.annotations import SCOPE
from stark.crds.rbac import GROUP

from ..rules import Rule

USER, GROUP_OF_USERS, SERVICE_ACCOUNT = "User", "Group", "ServiceAccount"
SERVICE_ACCOUNT_NAME: Final = "system:serviceaccount:{}:{}"
"""What a service account is called as a user."""

Mapped = Mapping[str, Any]


class RoleKey(NamedTuple):
    """Names a Role, or with an empty namespace a ClusterRole."""

    namespace: str
    name: str

    def missing(self) -> str:
        """What is said of a role that a binding names and that is not there, as Kubernetes says it."""
        kind = "role" if self.namespace else "clusterrole"
        return f'{kind}.{GROUP} "{self.name}" not found'


class Subject(NamedTuple):
    """A user by name, or a group; a service account is a user with a name of its own."""

    is_group: bool
    name: str


@dataclass(frozen=True, slots=True)
class HeldRole:
    """A Role or ClusterRole."""

    rules: tuple[Rule, ...]
    own_only: bool = False
    """Its rules hold for objects that the asker owns, and for no others."""


@dataclass(frozen=True, slots=True)
class Binding:
    """A RoleBinding or ClusterRoleBinding."""

    namespace: str
    """Where it holds; empty: everywhere."""
    role: RoleKey
    subjects: tuple[tuple[Subject, str], ...]
    """Each with the reason that is given for what it allows."""


def rule_of(rule: Mapped) -> Rule:
    """A PolicyRule from wire form."""
    return Rule(
        tuple(rule.get("verbs") or ()),
        tuple(rule.get("apiGroups") or ()),
        tuple(rule.get("resources") or ()),
        tuple(rule.get("resourceNames") or ()),
        paths=tuple(rule.get("nonResourceURLs") or ()),
    )


def rules_of(role: Mapped) -> tuple[Rule, ...]:
    """The rules of a role in wire form."""
    return tuple(rule_of(rule) for rule in role.get("rules") or ())


def is_own_scoped(obj: Mapped) -> bool:
    """Whether a role grants its rules on own objects only. A scope that nobody knows is taken for the narrowest."""
    return SCOPE in (obj["metadata"].get("annotations") or {})


def role_of(obj: Mapped) -> HeldRole:
    """A role from wire form. Paths have no owner, so that an own-scoped role gives nothing on them."""
    own_only, rules = is_own_scoped(obj), rules_of(obj)
    return HeldRole(tuple(rule for rule in rules if not rule.paths) if own_only else rules, own_only)


def role_key(binding: Mapped) -> RoleKey:
    """The role that a binding gives. A ClusterRoleBinding gives ClusterRoles only, whatever it says."""
    ref = binding["roleRef"]
    namespace = binding["metadata"].get("namespace") or ""
    return RoleKey(namespace if ref.get("kind") == "Role" else "", ref.get("name") or "")


def binding_of(obj: Mapped) -> Binding:
    """A binding from wire form."""
    namespace, role = obj["metadata"].get("namespace") or "", role_key(obj)
    kind, named = (
        ("RoleBinding", f"{obj['metadata']['name']}/{namespace}")
        if namespace
        else ("ClusterRoleBinding", obj["metadata"]["name"])
    )
    given = f'{kind} "{named}" of {obj["roleRef"].get("kind")} "{role.name}" to'
    subjects = tuple(
        (subject, f"RBAC: allowed by {given} {shown}")
        for subject, shown in _subjects(obj.get("subjects") or (), namespace)
    )
    return Binding(namespace, role, subjects)


def _subjects(subjects: Sequence[Mapped], namespace: str) -> Iterator[tuple[Subject, str]]:
    for subject in subjects:
        kind, name = subject.get("kind"), subject.get("name") or ""
        if kind == SERVICE_ACCOUNT:
            room = subject.get("namespace") or namespace
            if room and name:
                yield Subject(False, SERVICE_ACCOUNT_NAME.format(room, name)), f'ServiceAccount "{name}/{room}"'
        elif subject.get("apiGroup") == GROUP and name and kind in (USER, GROUP_OF_USERS):
            yield Subject(kind == GROUP_OF_USERS, name), f'{kind} "{name}"'
