"""Rules: which verbs on which resources, and an authorizer that applies them to a group of users.

The shape is RBAC's PolicyRule, so that rules from Role objects are the same values as the built-in ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from stark.crds.certificates import NODE_CLIENT_SIGNER, NODE_SERVING_SIGNER

from ..request import User
from .authorization import ALLOWED, NO_OPINION, AuthorizationAttributes, Authorizer, Decision
from .identities import AUTHENTICATED, CONTROLLERS, UNAUTHENTICATED

ANY = "*"
QUESTIONS_REMEMBERED: Final = 4_096
"""Of which is kept which rules they are about."""

READ = ("get", "list", "watch")
WRITE = ("create", "update", "patch", "delete")


@dataclass(frozen=True, slots=True)
class Rule:
    """Allows `verbs` on `resources` of `groups`, or on `paths`; empty `names` and `namespaces` mean any."""

    verbs: tuple[str, ...]
    groups: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    """`pods`, `pods/status`, `*` (everything, subresources too) or `*/scale`."""
    names: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    """Exact, or ending in `*` for a prefix."""

    def allows(self, asked: AuthorizationAttributes) -> bool:
        """Whether this rule alone allows what is asked."""
        if not asked.resource:
            is_verb = asked.verb in self.verbs or ANY in self.verbs
            return is_verb and any(_path_matches(pattern, asked.path) for pattern in self.paths)
        return self.is_about(asked) and self.holds_at(asked)

    def is_about(self, asked: AuthorizationAttributes) -> bool:
        """Whether it allows the verb on the resource, somewhere."""
        return (
            (asked.verb in self.verbs or ANY in self.verbs)
            and (asked.group in self.groups or ANY in self.groups)
            and self._covers(asked)
        )

    def holds_at(self, asked: AuthorizationAttributes) -> bool:
        """Whether it holds for the very object."""
        return (not self.names or asked.name in self.names) and (
            not self.namespaces or asked.namespace in self.namespaces
        )

    def _covers(self, asked: AuthorizationAttributes) -> bool:
        wanted = {asked.full_resource, ANY}
        if asked.subresource:
            wanted.add(f"{ANY}/{asked.subresource}")
        return any(resource in wanted for resource in self.resources)

    def to_wire(self) -> dict[str, Any]:
        """As a rule of SelfSubjectRulesReview's status (the kind of rule is told by having paths or not)."""
        if self.paths:
            return {"verbs": list(self.verbs), "nonResourceURLs": list(self.paths)}
        rule: dict[str, Any] = {
            "verbs": list(self.verbs),
            "apiGroups": list(self.groups),
            "resources": list(self.resources),
        }
        if self.names:
            rule["resourceNames"] = list(self.names)
        return rule


def _path_matches(pattern: str, path: str) -> bool:
    return path.startswith(pattern[:-1]) if pattern.endswith(ANY) else path == pattern


@dataclass(frozen=True, slots=True)
class Resolution:
    """What somebody may do, as far as it can be listed."""

    rules: tuple[Rule, ...] = ()
    unresolved: str = ""
    """Why more may be allowed than the rules say; empty when they say it all."""
    own_rules: tuple[Rule, ...] = ()
    """Rules that hold for objects that the user owns, and for no others."""


class RuleResolver(Protocol):
    """Lists what it would allow, for `kubectl auth can-i --list`."""

    async def rules_for(self, user: User, namespace: str) -> Resolution:
        """The rules that hold for `user` in `namespace`, those of the cluster's scope included."""
        ...


class ResolvingAuthorizer(Authorizer, RuleResolver, Protocol):
    """Decides, and lists by what rules."""


class GroupRules:
    """An authorizer that gives fixed rules to the members of groups."""

    def __init__(self, rules: Mapping[str, Sequence[Rule]]) -> None:
        self._rules = {group: tuple(given) for group, given in rules.items()}
        self._about: dict[tuple[object, ...], tuple[Rule, ...]] = {}
        """Rules that allow a verb on a resource, by that and whose they are: of some dozens, one or two."""

    async def authorize(self, attributes: AuthorizationAttributes) -> Decision:
        """Yes when a rule of one of the user's groups allows it."""
        if self._rules.keys().isdisjoint(attributes.user.groups):
            return NO_OPINION
        if attributes.resource:
            is_allowed = any(rule.holds_at(attributes) for rule in self._rules_about(attributes))
        else:
            is_allowed = any(rule.allows(attributes) for rule in self._rules_of(attributes.user))
        return ALLOWED if is_allowed else NO_OPINION

    def _rules_of(self, user: User) -> Iterator[Rule]:
        return (rule for group in user.groups for rule in self._rules.get(group, ()))

    def _rules_about(self, asked: AuthorizationAttributes) -> tuple[Rule, ...]:
        what = (asked.user.groups, asked.verb, asked.group, asked.resource, asked.subresource)
        known = self._about.get(what)
        if known is None:
            known = tuple(rule for rule in self._rules_of(asked.user) if rule.is_about(asked))
            if known:  # of what is nowhere allowed the names are anybody's choice, and would be kept
                if len(self._about) >= QUESTIONS_REMEMBERED:
                    self._about.clear()
                self._about[what] = known
        return known

    async def rules_for(self, user: User, namespace: str) -> Resolution:
        """The rules of the user's groups that hold in `namespace`."""
        held = (rule for group in user.groups for rule in self._rules.get(group, ()))
        return Resolution(tuple(rule for rule in held if not rule.namespaces or namespace in rule.namespaces))


CERTIFICATES = "certificates.k8s.io"
EVENTS = Rule(("create", "patch", "update"), ("", "events.k8s.io"), ("events",))
LEADER_LEASES = Rule(
    ("get", "create", "update", "patch", "delete"), ("coordination.k8s.io",), ("leases",), namespaces=("kube-system",)
)

CONTROLLER_RULES: Mapping[str, tuple[Rule, ...]] = {
    "every controller": (EVENTS, LEADER_LEASES),
    "scheduler": (
        Rule(READ, ("",), ("pods", "nodes", "namespaces")),
        Rule(READ, ("stark.dev",), ("packs", "resourcepools", "clusterconfigs", "podgroups")),
        Rule(READ, ("policy",), ("poddisruptionbudgets",)),
        Rule(READ, ("scheduling.k8s.io",), ("priorityclasses",)),
        Rule(("create",), ("",), ("pods/binding", "bindings")),
        Rule(("update", "patch"), ("",), ("pods/status",)),
        Rule(("delete",), ("",), ("pods",)),  # preemption
    ),
    "deployment": (
        Rule((*READ, "update", "patch"), ("apps",), ("deployments",)),
        Rule(("update", "patch"), ("apps",), ("deployments/status", "deployments/finalizers")),
        Rule((*READ, *WRITE), ("apps",), ("replicasets", "daemonsets")),
        Rule((*READ, "update", "patch"), ("",), ("pods",)),
        Rule(READ, ("stark.dev",), ("packs",)),
    ),
    "replicaset": (
        Rule((*READ, "update", "patch"), ("apps",), ("replicasets",)),
        Rule(("update", "patch"), ("apps",), ("replicasets/status", "replicasets/finalizers")),
        Rule((*READ, "create", "delete", "patch"), ("",), ("pods",)),
    ),
    "daemonset": (
        Rule((*READ, "update", "patch"), ("apps",), ("daemonsets",)),
        Rule(("update", "patch"), ("apps",), ("daemonsets/status", "daemonsets/finalizers")),
        Rule((*READ, "create", "update", "patch", "delete"), ("apps",), ("controllerrevisions",)),
        Rule((*READ, "create", "delete", "patch"), ("",), ("pods",)),
        Rule(READ, ("",), ("nodes",)),
        Rule(READ, ("stark.dev",), ("packs",)),
    ),
    "statefulset": (
        Rule(READ, ("apps",), ("statefulsets",)),
        Rule(("update", "patch"), ("apps",), ("statefulsets/status", "statefulsets/finalizers")),
        Rule((*READ, "create", "update", "patch", "delete"), ("apps",), ("controllerrevisions",)),
        Rule((*READ, "create", "delete", "patch"), ("",), ("pods",)),
    ),
    "config-rollout": (
        Rule((*READ, "patch"), ("apps",), ("deployments", "daemonsets", "statefulsets")),
        Rule(READ, ("",), ("configmaps", "secrets")),
    ),
    "job": (
        Rule((*READ, "update", "patch", "delete"), ("batch",), ("jobs",)),  # those whose time to live is over
        Rule(("update", "patch"), ("batch",), ("jobs/status", "jobs/finalizers")),
        Rule((*READ, "create", "delete", "patch"), ("",), ("pods",)),
    ),
    "cronjob": (
        Rule((*READ, "update", "patch"), ("batch",), ("cronjobs",)),
        Rule(("update", "patch"), ("batch",), ("cronjobs/status", "cronjobs/finalizers")),
        Rule((*READ, *WRITE), ("batch",), ("jobs",)),
    ),
    "crash-loop": (
        Rule(READ, ("",), ("pods",)),
        Rule((*READ, "update", "patch"), ("apps",), ("deployments",)),
        Rule(("update", "patch"), ("apps",), ("deployments/status",)),
        Rule(READ, ("apps",), ("replicasets", "daemonsets", "controllerrevisions")),
    ),
    "node-lifecycle": (
        Rule((*READ, "update", "patch", "delete"), ("",), ("nodes",)),
        Rule(("update", "patch"), ("",), ("nodes/status", "pods/status")),
        Rule((*READ, "delete"), ("",), ("pods",)),
        Rule(READ, ("coordination.k8s.io",), ("leases",)),
        Rule(READ, ("stark.dev",), ("clusterconfigs",)),
    ),
    "node-maintenance": (
        Rule((*READ, "update", "patch"), ("",), ("nodes",)),
        Rule(("update", "patch"), ("",), ("nodes/status",)),
        Rule(READ, ("",), ("pods",)),
        Rule(("create",), ("",), ("pods/eviction",)),
    ),
    "disruption": (
        Rule(READ, ("policy",), ("poddisruptionbudgets",)),
        Rule(("update", "patch"), ("policy",), ("poddisruptionbudgets/status",)),
        Rule(READ, ("",), ("pods",)),
        Rule(READ, ("apps",), ("replicasets", "deployments", "statefulsets")),
    ),
    "pod-group": (
        Rule(READ, ("stark.dev",), ("podgroups",)),
        Rule(("update", "patch"), ("stark.dev",), ("podgroups/status",)),
        Rule(READ, ("",), ("pods",)),
    ),
    # What it scales may be of any kind, kinds that do not exist yet included; whose it is stands in its metadata.
    "horizontal-autoscaler": (
        Rule(READ, ("autoscaling",), ("horizontalpodautoscalers",)),
        Rule(("update", "patch"), ("autoscaling",), ("horizontalpodautoscalers/status",)),
        Rule(("get", "update"), (ANY,), ("*/scale",)),
        Rule(("get",), (ANY,), (ANY,)),
        Rule(READ, ("",), ("pods",)),
        Rule(READ, ("apps",), ("deployments",)),
        Rule(("list",), ("metrics.k8s.io",), ("pods",)),
        Rule(READ, ("stark.dev",), ("clusterconfigs",)),
    ),
    "endpoints": (
        Rule(READ, ("",), ("services", "pods")),
        Rule((*READ, *WRITE), ("discovery.k8s.io",), ("endpointslices",)),
    ),
    # Kinds that may be counted cannot be listed here either.
    "quota": (
        Rule(READ, ("",), ("resourcequotas", "pods")),
        Rule(("update", "patch"), ("",), ("resourcequotas/status",)),
        Rule(("list",), (ANY,), (ANY,)),
    ),
    # These two act on objects of any kind, kinds that do not exist yet included, so their resources cannot be listed.
    "namespace": (
        Rule(READ, ("",), ("namespaces",)),
        Rule(("update", "patch"), ("",), ("namespaces/finalize", "namespaces/status")),
        Rule(("get", "list", "delete", "deletecollection"), (ANY,), (ANY,)),
    ),
    "garbage-collector": (Rule((*READ, "update", "patch", "delete"), (ANY,), (ANY,)),),
    # What every namespace is given: the authority's certificate, and the account of programs that name none.
    "root-ca": (
        Rule(READ, ("",), ("namespaces", "configmaps")),
        Rule(("create",), ("",), ("configmaps",)),
        Rule(("update", "delete"), ("",), ("configmaps",), names=("kube-root-ca.crt",)),
    ),
    "service-account": (
        Rule(READ, ("",), ("namespaces", "serviceaccounts")),
        Rule(("create",), ("",), ("serviceaccounts",)),
    ),
    "service-account-token": (
        Rule((*READ, "patch", "delete"), ("",), ("secrets",)),
        Rule(READ, ("",), ("serviceaccounts",)),
    ),
    # Whose rules it gathers it need not hold: whoever wrote them did, and so did whoever asked for them to be gathered.
    "clusterrole-aggregation": (
        Rule((*READ, "update", "patch", "escalate"), ("rbac.authorization.k8s.io",), ("clusterroles",)),
    ),
    "ttl": (
        Rule((*READ, "delete"), ("",), ("events", "pods")),
        Rule((*READ, "delete"), ("batch",), ("jobs",)),
        Rule((*READ, "delete"), ("stark.dev",), ("packs",)),
    ),
    "certificate-approver": (
        Rule(READ, (CERTIFICATES,), ("certificatesigningrequests",)),
        Rule(("update",), (CERTIFICATES,), ("certificatesigningrequests/approval",)),
        Rule(("approve",), (CERTIFICATES,), ("signers",), names=(NODE_CLIENT_SIGNER, NODE_SERVING_SIGNER)),
        Rule(("create",), ("authorization.k8s.io",), ("subjectaccessreviews",)),
        Rule(("create",), ("stark.dev",), ("certificaterevocations",)),
        Rule(READ, ("",), ("nodes",)),
    ),
    "certificate-cleaner": (Rule((*READ, "delete"), (CERTIFICATES,), ("certificatesigningrequests",)),),
    "bootstrap-token": (
        Rule((*READ, "delete"), ("",), ("secrets",), namespaces=("kube-system",)),
        Rule((*READ, "create"), ("",), ("configmaps",), namespaces=("kube-public",)),
        Rule(("update",), ("",), ("configmaps",), names=("cluster-info",), namespaces=("kube-public",)),
    ),
    "server": (
        Rule((*READ, "update", "patch", "create", "delete"), ("stark.dev",), ("servers",)),
        Rule(("update", "patch"), ("stark.dev",), ("servers/status",)),
        Rule(READ, ("",), ("nodes", "pods")),
    ),
}
"""What the program `stark-controllers` may do, controller by controller; it holds the sum."""

HEALTH_PATHS = (
    "/healthz",
    "/healthz/*",
    "/livez",
    "/livez/*",
    "/readyz",
    "/readyz/*",
    "/health",
    "/ready",
    "/live",
)

HEALTH_RULE = Rule(("get", "head"), paths=HEALTH_PATHS)
"""What is answered to everybody, and before there are any roles: probes ask whether there are."""


def builtin_rules() -> GroupRules:
    """The rules that no object can take away: those of the program of controllers, and of probes."""
    controllers = [rule for rules in CONTROLLER_RULES.values() for rule in rules]
    return GroupRules({CONTROLLERS: controllers, AUTHENTICATED: [HEALTH_RULE], UNAUTHENTICATED: [HEALTH_RULE]})
