"""How much is recorded of which request: a Policy of audit.k8s.io/v1, the first matching rule wins.

Matching is about who is connected, before impersonation. Whatever a policy says, a request that carries or brings secrets is
recorded without its objects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, Final

import yaml

from ..request import User
from ..routes import Asked
from .errors import PolicyError

POLICY_BYTES_MAX: Final = 1024 * 1024
DECISIONS_MAX: Final = 4_096
"""Remembered decisions. When there are more it starts over: clients choose the names in them."""
STAGES: Final = ("RequestReceived", "ResponseStarted", "ResponseComplete", "Panic")
RECEIVED, STARTED, COMPLETE, PANIC = STAGES

DEFAULT_POLICY: Final = """\
apiVersion: audit.k8s.io/v1
kind: Policy
# Of a request that is over soon its end tells everything.
omitStages: [RequestReceived]
rules:
- level: None
  nonResourceURLs: ["/healthz*", "/livez*", "/readyz*", "/health", "/ready", "/live"]
- level: Metadata
"""


class Level(IntEnum):
    """How much; each includes those before it."""

    NONE = 0
    METADATA = 1
    REQUEST = 2
    REQUEST_RESPONSE = 3


LEVELS: Final = {
    "None": Level.NONE,
    "Metadata": Level.METADATA,
    "Request": Level.REQUEST,
    "RequestResponse": Level.REQUEST_RESPONSE,
}
LEVEL_NAMES: Final = {level: name for name, level in LEVELS.items()}


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is recorded of a request."""

    level: Level
    omitted: frozenset[str] = frozenset()
    """Stages."""
    omits_managed_fields: bool = False
    is_secret: bool = False
    """Not even the message of a refusal is recorded: it may repeat what was sent."""


NOTHING: Final = Judgement(Level.NONE)


@dataclass(frozen=True, slots=True)
class GroupResources:
    """Resources of one API group; empty means all of them."""

    group: str
    resources: tuple[str, ...] = ()
    names: tuple[str, ...] = ()

    def matches(self, asked: Asked) -> bool:
        """Whether the request is about one of them."""
        if asked.group != self.group:
            return False
        if not self.resources:
            return True
        if self.names and asked.name not in self.names:
            return False
        return any(_resource_matches(pattern, asked) for pattern in self.resources)


def _resource_matches(pattern: str, asked: Asked) -> bool:
    if pattern == "*":
        return True
    plural, slash, part = pattern.partition("/")
    if not slash:
        return pattern == asked.plural and not asked.subresource
    return bool(asked.subresource) and plural in ("*", asked.plural) and part in ("*", asked.subresource)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule; an empty condition is none."""

    judgement: Judgement
    users: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    verbs: frozenset[str] = frozenset()
    resources: tuple[GroupResources, ...] = ()
    namespaces: frozenset[str] = frozenset()
    urls: tuple[str, ...] = ()

    def matches(self, user: User | None, asked: Asked) -> bool:
        """Whether it is about this request."""
        if self.users and (user is None or user.name not in self.users):
            return False
        if self.groups and (user is None or self.groups.isdisjoint(user.groups)):
            return False
        if self.verbs and asked.verb not in self.verbs:
            return False
        if self.resources or self.namespaces:
            return self._matches_resource(asked)
        if self.urls:
            return not asked.plural and any(_url_matches(url, asked.path) for url in self.urls)
        return True

    def _matches_resource(self, asked: Asked) -> bool:
        if not asked.plural or (self.namespaces and asked.namespace not in self.namespaces):
            return False
        return not self.resources or any(each.matches(asked) for each in self.resources)


def _url_matches(pattern: str, path: str) -> bool:
    if pattern == "*" or pattern == path:
        return True
    return pattern.endswith("*") and path.startswith(pattern.rstrip("*"))


SECRET_RESOURCES: Final = frozenset({("", "secrets"), ("authentication.k8s.io", "tokenreviews")})
"""By group and plural, with all their subresources: what they carry or bring is a credential."""
CREDENTIAL_PREFIX: Final = "/auth/"


def carries_secrets(asked: Asked) -> bool:
    """Whether the bodies of such a request must never be written anywhere."""
    if not asked.plural:
        return asked.path.startswith(CREDENTIAL_PREFIX)
    is_token = (asked.group, asked.plural, asked.subresource) == ("", "serviceaccounts", "token")
    return is_token or (asked.group, asked.plural) in SECRET_RESOURCES


class Policy:
    """Judges requests."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = tuple(rules)
        self._by_user = any(rule.users or rule.groups for rule in rules)
        self._by_place = any(rule.namespaces or any(each.names for each in rule.resources) for rule in rules)
        self._known: dict[tuple[object, ...], Judgement] = {}

    def judge(self, user: User | None, asked: Asked) -> Judgement:
        """What is recorded of this request."""
        key: tuple[object, ...] = (asked.verb, asked.group, asked.plural or asked.path, asked.subresource)
        if self._by_place:
            key += (asked.namespace, asked.name)
        if self._by_user:
            key += (user and (user.name, user.groups),)
        known = self._known.get(key)
        if known is None:
            known = self._judge(user, asked)
            if len(self._known) >= DECISIONS_MAX:
                self._known.clear()
            self._known[key] = known
        return known

    def _judge(self, user: User | None, asked: Asked) -> Judgement:
        rule = next((rule for rule in self._rules if rule.matches(user, asked)), None)
        if rule is None or rule.judgement.level is Level.NONE:
            return NOTHING
        found = rule.judgement
        if carries_secrets(asked):
            return Judgement(Level.METADATA, found.omitted, found.omits_managed_fields, is_secret=True)
        return found


def read_policy(path: Path | None) -> tuple[Policy, str]:
    """The policy in a file, or the default one; and its text. Raises PolicyError."""
    if path is None:
        return parse_policy(DEFAULT_POLICY), DEFAULT_POLICY
    try:
        if path.stat().st_size > POLICY_BYTES_MAX:
            raise PolicyError(f"audit policy {path}: larger than {POLICY_BYTES_MAX} bytes")
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PolicyError(f"audit policy {path} cannot be read: {error}") from error
    try:
        return parse_policy(text), text
    except PolicyError as error:
        raise PolicyError(f"audit policy {path}: {error}") from error


def parse_policy(text: str) -> Policy:
    """Raises PolicyError for what cannot be understood whole: a rule that is half read records the wrong things."""
    try:
        wire = yaml.load(text, Loader=yaml.CSafeLoader)
    except (yaml.YAMLError, RecursionError) as error:
        raise PolicyError(f"is not YAML: {error}") from error
    fields = _mapping(wire, "", ("apiVersion", "kind", "metadata", "rules", "omitStages", "omitManagedFields"))
    if (fields.get("apiVersion"), fields.get("kind")) != ("audit.k8s.io/v1", "Policy"):
        raise PolicyError("must be apiVersion: audit.k8s.io/v1, kind: Policy")
    omitted = _stages(fields.get("omitStages"), "omitStages")
    omits_managed = _flag(fields.get("omitManagedFields"), "omitManagedFields") or False
    rules = fields.get("rules")
    if not isinstance(rules, list):
        raise PolicyError("rules: a list is expected")
    return Policy([_rule(rule, f"rules[{at}]", omitted, omits_managed) for at, rule in enumerate(rules)])


_RULE_FIELDS: Final = (
    "level", "users", "userGroups", "verbs", "resources", "namespaces", "nonResourceURLs", "omitStages", "omitManagedFields",
)  # fmt: skip


def _rule(wire: Any, at: str, omitted: frozenset[str], omits_managed: bool) -> Rule:
    fields = _mapping(wire, at, _RULE_FIELDS)
    level = fields.get("level")
    if level not in LEVELS:
        raise PolicyError(f"{at}.level: must be one of {', '.join(LEVELS)}, not {level!r}")
    urls = _texts(fields.get("nonResourceURLs"), f"{at}.nonResourceURLs")
    for url in urls:
        if url != "*" and (not url.startswith("/") or "*" in url.removesuffix("*")):
            raise PolicyError(f"{at}.nonResourceURLs: {url!r} must begin with / and may have a * only at its end")
    resources = tuple(
        _resources(each, f"{at}.resources[{index}]")
        for index, each in enumerate(_list(fields.get("resources"), f"{at}.resources"))
    )
    namespaces = _texts(fields.get("namespaces"), f"{at}.namespaces")
    if urls and (resources or namespaces):
        raise PolicyError(f"{at}: a rule is about resources or about nonResourceURLs, not both")
    own_choice = _flag(fields.get("omitManagedFields"), f"{at}.omitManagedFields")
    return Rule(
        Judgement(
            LEVELS[level],
            omitted | _stages(fields.get("omitStages"), f"{at}.omitStages"),
            omits_managed if own_choice is None else own_choice,
        ),
        frozenset(_texts(fields.get("users"), f"{at}.users")),
        frozenset(_texts(fields.get("userGroups"), f"{at}.userGroups")),
        frozenset(_texts(fields.get("verbs"), f"{at}.verbs")),
        resources,
        frozenset(namespaces),
        urls,
    )


def _resources(wire: Any, at: str) -> GroupResources:
    fields = _mapping(wire, at, ("group", "resources", "resourceNames"))
    group = fields.get("group") or ""
    if not isinstance(group, str) or "/" in group:
        raise PolicyError(f"{at}.group: must be the name of an API group without a version, not {group!r}")
    resources, names = (_texts(fields.get(key), f"{at}.{key}") for key in ("resources", "resourceNames"))
    if names and not resources:
        raise PolicyError(f"{at}.resourceNames: means nothing without resources")
    return GroupResources(group, resources, names)


def _mapping(wire: Any, at: str, known: Sequence[str]) -> Mapping[str, Any]:
    if not isinstance(wire, dict):
        raise PolicyError(f"{at or 'the policy'}: an object is expected")
    unknown = [str(key) for key in wire if key not in known]
    if unknown:
        raise PolicyError(f"{at}{'.' if at else ''}{unknown[0]}: there is no such field")
    return wire


def _list(wire: Any, at: str) -> Sequence[Any]:
    if wire is None:
        return ()
    if not isinstance(wire, list):
        raise PolicyError(f"{at}: a list is expected")
    return wire


def _texts(wire: Any, at: str) -> tuple[str, ...]:
    texts = _list(wire, at)
    if not all(isinstance(text, str) for text in texts):
        raise PolicyError(f"{at}: a list of strings is expected")
    return tuple(texts)


def _flag(wire: Any, at: str) -> bool | None:
    if wire is not None and not isinstance(wire, bool):
        raise PolicyError(f"{at}: true or false is expected")
    return wire


def _stages(wire: Any, at: str) -> frozenset[str]:
    stages = frozenset(_texts(wire, at))
    unknown = stages - frozenset(STAGES)
    if unknown:
        raise PolicyError(f"{at}: {sorted(unknown)[0]!r} is not one of {', '.join(STAGES)}")
    return stages
