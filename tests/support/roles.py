"""Roles and bindings in memory, followed by a real index; and the few words in which tests write them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stark.apiserver.auth.authorization import AuthorizationAttributes
from stark.apiserver.auth.builtin import Union, builtin_authorizer
from stark.apiserver.auth.rbac.authorizer import RoleAuthorizer
from stark.apiserver.auth.rbac.bootstrap import cluster_role_bindings, cluster_roles
from stark.apiserver.auth.rbac.index import Index
from stark.apiserver.request import User
from stark.crds.annotations import SCOPE, SCOPE_OWN
from stark.crds.rbac import GROUP
from tests.support.server_side import BoundPods, Objects

Object = dict[str, Any]
KINDS = ("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding")


@dataclass(eq=False)
class Entry:
    """One object, as a cache has it."""

    key: str
    obj: Mapping[str, Any]

    def decode(self) -> Mapping[str, Any]:
        return self.obj


@dataclass
class Source:
    """All objects of one kind. `clock` counts the changes of all kinds."""

    clock: list[int]
    held: dict[str, Entry] = field(default_factory=dict)
    changes: list[tuple[str, Entry | None]] = field(default_factory=list)
    remembers: bool = False

    def moved(self) -> Hashable:
        return self.clock[0]

    def mark(self) -> Hashable:
        return len(self.changes)

    def changes_since(self, mark: Hashable) -> list[tuple[str, Entry | None]] | None:
        """Every other time nobody remembers, unless they never forget."""
        assert isinstance(mark, int)
        return self.changes[mark:] if len(self.changes) % 2 or self.remembers else None

    def entries(self) -> Sequence[Entry]:
        return list(self.held.values())

    async def current(self) -> None:
        """Whatever is put in is there at once."""

    def change(self, key: str, entry: Entry | None) -> None:
        """Put an object in, or take it out."""
        if entry is None:
            del self.held[key]
        else:
            self.held[key] = entry
        self.changes.append((key, entry))
        self.clock[0] += 1


class Roles:
    """The four kinds, and the authorizer that follows them."""

    def __init__(self, *objects: Object) -> None:
        clock = [0]
        self.sources = {kind: Source(clock) for kind in KINDS}
        self.authorizer = RoleAuthorizer(Index(*self.sources.values()))
        for obj in objects:
            self.put(obj)

    def put(self, obj: Object) -> None:
        """Create or replace an object."""
        self.sources[obj["kind"]].change(key_of(obj), Entry(key_of(obj), obj))

    def remove(self, obj: Object) -> None:
        """Delete an object."""
        self.sources[obj["kind"]].change(key_of(obj), None)

    def all(self, kind: str) -> list[Mapping[str, Any]]:
        """Every object of a kind."""
        return [entry.obj for entry in self.sources[kind].held.values()]


def key_of(obj: Mapping[str, Any]) -> str:
    """`namespace/name`, or `name`."""
    metadata = obj["metadata"]
    return f"{metadata['namespace']}/{metadata['name']}" if metadata.get("namespace") else str(metadata["name"])


def bootstrapped() -> Roles:
    """The roles every cluster begins with."""
    return Roles(*cluster_roles(), *cluster_role_bindings())


def guard(objects: Objects | None = None) -> Union:
    """The authorizer of a server with these objects, and the roles every cluster begins with."""
    there = objects or Objects()
    return builtin_authorizer(there, BoundPods(there), bootstrapped().authorizer)


def rule(verbs: str, resources: str, *, group: str = "", names: str = "") -> Object:
    """`rule("get list", "pods pods/log")`."""
    made: Object = {"verbs": verbs.split(), "apiGroups": [group], "resources": resources.split()}
    return {**made, "resourceNames": names.split()} if names else made


def role(name: str, *rules: Object, namespace: str = "", own: bool = False) -> Object:
    """A Role, or without a namespace a ClusterRole."""
    metadata: Object = {"name": name}
    if namespace:
        metadata["namespace"] = namespace
    if own:
        metadata["annotations"] = {SCOPE: SCOPE_OWN}
    kind = "Role" if namespace else "ClusterRole"
    return {"apiVersion": f"{GROUP}/v1", "kind": kind, "metadata": metadata, "rules": list(rules)}


def binding(name: str, of: str, *subjects: str, namespace: str = "", kind: str = "") -> Object:
    """A RoleBinding of the Role `of`, or of `ClusterRole/of`; without a namespace a ClusterRoleBinding.

    Subjects are `alice`, `group:readers` or `sa:namespace/name`.
    """
    role_kind, _, role_name = of.rpartition("/")
    metadata: Object = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": kind or ("RoleBinding" if namespace else "ClusterRoleBinding"),
        "metadata": metadata,
        "roleRef": {
            "apiGroup": GROUP,
            "kind": role_kind or ("Role" if namespace else "ClusterRole"),
            "name": role_name,
        },
        "subjects": [_subject(text) for text in subjects],
    }


def _subject(text: str) -> Object:
    if text.startswith("sa:"):
        namespace, _, name = text[3:].rpartition("/")
        return {"kind": "ServiceAccount", "name": name, **({"namespace": namespace} if namespace else {})}
    if text.startswith("group:"):
        return {"kind": "Group", "apiGroup": GROUP, "name": text[6:]}
    return {"kind": "User", "apiGroup": GROUP, "name": text}


def asking(user: User | str, verb: str, what: str, *, namespace: str = "", name: str = "") -> AuthorizationAttributes:
    """`what` is `pods`, `pods/log`, `apps:deployments/scale`, or a path."""
    who = User(user) if isinstance(user, str) else user
    if what.startswith("/"):
        return AuthorizationAttributes(who, verb, path=what)
    group, _, rest = what.rpartition(":")
    resource, _, subresource = rest.partition("/")
    return AuthorizationAttributes(who, verb, group, "v1", resource, subresource, namespace, name)
