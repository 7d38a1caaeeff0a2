"""Which FlowSchema a request belongs to, and what tells its flow apart. Pure, over the objects' specs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ..request import User
from ..routes import Asked

ANY: Final = "*"
SERVICE_ACCOUNT: Final = "system:serviceaccount:"
BY_USER, BY_NAMESPACE = "ByUser", "ByNamespace"

Spec = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Schema:
    """A FlowSchema, as far as requests are concerned."""

    name: str
    uid: str
    level: str
    """Name of its priority level."""
    precedence: int
    distinguisher: str
    """ByUser, ByNamespace, or empty."""
    rules: Sequence[Spec]

    @classmethod
    def of(cls, obj: Mapping[str, Any]) -> Schema:
        """From a valid object."""
        spec, metadata = obj["spec"], obj["metadata"]
        return cls(
            metadata["name"],
            metadata.get("uid") or "",
            spec["priorityLevelConfiguration"]["name"],
            spec["matchingPrecedence"],
            (spec.get("distinguisherMethod") or {}).get("type") or "",
            spec.get("rules") or (),
        )

    def matches(self, user: User, asked: Asked) -> bool:
        """Whether one of its rules is about this request."""
        return any(_is_one_of(user, rule["subjects"]) and _is_asked(rule, asked) for rule in self.rules)

    def distinguish(self, user: User, asked: Asked) -> str:
        """What tells the request's flow from the schema's others."""
        if self.distinguisher == BY_USER:
            return user.name
        return asked.namespace if self.distinguisher == BY_NAMESPACE else ""


def in_order(schemas: Iterable[Schema]) -> list[Schema]:
    """The order in which they are tried."""
    return sorted(schemas, key=lambda schema: (schema.precedence, schema.name))


def _is_one_of(user: User, subjects: Sequence[Spec]) -> bool:
    return any(_is(user, subject) for subject in subjects)


def _is(user: User, subject: Spec) -> bool:
    match subject["kind"]:
        case "User":
            name = subject["user"]["name"]
            return bool(name in (ANY, user.name))
        case "Group":
            name = subject["group"]["name"]
            return name == ANY or name in user.groups
        case _:
            account = subject["serviceAccount"]
            prefix = f"{SERVICE_ACCOUNT}{account['namespace']}:"
            if account["name"] == ANY:
                return user.name.startswith(prefix)
            return bool(user.name == prefix + account["name"])


def _is_asked(rule: Spec, asked: Asked) -> bool:
    if asked.plural:
        return any(_matches_resource(each, asked) for each in rule.get("resourceRules") or ())
    return any(_matches_path(each, asked) for each in rule.get("nonResourceRules") or ())


def _matches_resource(rule: Spec, asked: Asked) -> bool:
    resource = f"{asked.plural}/{asked.subresource}" if asked.subresource else asked.plural
    return (
        _holds(rule["verbs"], asked.verb)
        and _holds(rule["apiGroups"], asked.group)
        and _holds(rule["resources"], resource)
        and (
            _holds(rule.get("namespaces") or (), asked.namespace) if asked.namespace else bool(rule.get("clusterScope"))
        )
    )


def _matches_path(rule: Spec, asked: Asked) -> bool:
    if not _holds(rule["verbs"], asked.verb):
        return False
    paths = rule["nonResourceURLs"]
    return _holds(paths, asked.path) or any(path.endswith("/*") and asked.path.startswith(path[:-1]) for path in paths)


def _holds(values: Sequence[str], value: str) -> bool:
    return value in values or ANY in values
