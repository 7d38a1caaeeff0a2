"""Questions posed as objects: who am I, may I do this, what may I do. Nothing of them is stored.

`kubectl auth whoami`, `kubectl auth can-i` and `can-i --list` POST them. Each is a function from the asking user and
the decoded object to the answered object; routing, decoding and encoding are the core's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import Cause, invalid
from ..request import User
from .authorization import AuthorizationAttributes, Authorizer
from .identities import MASTERS
from .rules import ANY, GroupRules, Rule, builtin_rules

Object = dict[str, Any]

AUTHORIZATION = "authorization.k8s.io"
AUTHENTICATION = "authentication.k8s.io"


@dataclass(frozen=True, slots=True)
class VirtualResource:
    """A resource that can only be created, and whose creation is a question."""

    group: str
    version: str
    kind: str
    plural: str
    singular: str
    namespaced: bool
    create: Callable[[User, Object, str], Awaitable[Object]]
    """(asking user, object, namespace of the path or empty) -> the answered object, for a 201."""


def user_info(user: User) -> Object:
    """authentication/v1 UserInfo."""
    info: Object = {"username": user.name}
    if user.uid:
        info["uid"] = user.uid
    if user.groups:
        info["groups"] = list(user.groups)
    if user.extra:
        info["extra"] = {key: list(values) for key, values in user.extra.items()}
    return info


def _answer(api_version: str, kind: str, body: Object, status: Object) -> Object:
    answered: Object = {"apiVersion": api_version, "kind": kind, "metadata": dict(body.get("metadata") or {})}
    if "spec" in body:
        answered["spec"] = body["spec"]
    return {**answered, "status": status}


def _selector_text(field_selector: Mapping[str, Any]) -> str:
    """A FieldSelectorAttributes as selector text, as far as equality goes: all that an authorizer looks at."""
    if field_selector.get("rawSelector"):
        return str(field_selector["rawSelector"])
    terms = [
        f"{term.get('key')}={term['values'][0]}"
        for term in field_selector.get("requirements") or ()
        if term.get("operator") == "In" and len(term.get("values") or ()) == 1
    ]
    return ",".join(terms)


def _asked(kind: str, user: User, spec: Mapping[str, Any]) -> AuthorizationAttributes:
    """The question of an access review. Raises Invalid unless exactly one kind of attributes is given."""
    resource: Mapping[str, Any] | None = spec.get("resourceAttributes")
    path: Mapping[str, Any] | None = spec.get("nonResourceAttributes")
    if (resource is None) == (path is None):
        message = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        field = "spec.resourceAttributes"
        value = "null" if resource is None else "{...}"
        raise invalid(kind, "", [Cause(field, f"Invalid value: {value}: {message}")], group=AUTHORIZATION)
    if path is not None:
        return AuthorizationAttributes(user, path.get("verb", ""), path=path.get("path", ""))
    assert resource is not None, spec
    return AuthorizationAttributes(
        user,
        resource.get("verb", ""),
        group=resource.get("group", ""),
        version=resource.get("version", ""),
        # `*` asks for everything; an empty resource would make it a question about a path.
        resource=resource.get("resource") or ANY,
        subresource=resource.get("subresource", ""),
        namespace=resource.get("namespace", ""),
        name=resource.get("name", ""),
        field_selector=_selector_text(resource.get("fieldSelector") or {}),
    )


class Reviews:
    """Answers the reviews with the authorizer that guards the API itself."""

    def __init__(self, authorizer: Authorizer, rules: GroupRules) -> None:
        self._authorizer = authorizer
        self._rules = rules

    async def who_am_i(self, user: User, body: Object, namespace: str) -> Object:
        """SelfSubjectReview: the user as the server sees it."""
        return _answer("authentication.k8s.io/v1", "SelfSubjectReview", body, {"userInfo": user_info(user)})

    async def may_i(self, user: User, body: Object, namespace: str) -> Object:
        """SelfSubjectAccessReview: whether the asking user may do one thing."""
        kind = "SelfSubjectAccessReview"
        return await self._review(kind, body, _asked(kind, user, body.get("spec") or {}))

    async def may_they(self, user: User, body: Object, namespace: str) -> Object:
        """SubjectAccessReview: whether somebody else may; asking this is itself guarded by authorization."""
        kind, spec = "SubjectAccessReview", body.get("spec") or {}
        if not spec.get("user") and not spec.get("groups"):
            message = "at least one of user or group must be specified"
            raise invalid(kind, "", [Cause("spec.user", f'Invalid value: "": {message}')], group=AUTHORIZATION)
        extra = {key: tuple(values) for key, values in (spec.get("extra") or {}).items()}
        subject = User(spec.get("user", ""), tuple(spec.get("groups") or ()), spec.get("uid", ""), extra)
        return await self._review(kind, body, _asked(kind, subject, spec))

    async def _review(self, kind: str, body: Object, asked: AuthorizationAttributes) -> Object:
        decision = await self._authorizer.authorize(asked)
        status: Object = {"allowed": decision.allowed}
        if decision.reason:
            status["reason"] = decision.reason
        return _answer("authorization.k8s.io/v1", kind, body, status)

    async def my_rules(self, user: User, body: Object, namespace: str) -> Object:
        """SelfSubjectRulesReview: the rules that hold for the asking user in a namespace."""
        where = str((body.get("spec") or {}).get("namespace") or "")
        if not where:
            cause = Cause("spec.namespace", "Required value: no namespace on request", "FieldValueRequired")
            raise invalid("SelfSubjectRulesReview", "", [cause], group=AUTHORIZATION)
        rules = list(self._rules.rules_of(user, where))
        if MASTERS in user.groups:
            rules = [Rule((ANY,), (ANY,), (ANY,)), Rule((ANY,), paths=(ANY,)), *rules]
        status: Object = {
            "resourceRules": [rule.to_wire() for rule in rules if not rule.paths],
            "nonResourceRules": [rule.to_wire() for rule in rules if rule.paths],
            # An agent's permissions follow from its pods and cannot be listed as rules.
            "incomplete": any(group == "system:nodes" for group in user.groups),
        }
        return _answer("authorization.k8s.io/v1", "SelfSubjectRulesReview", body, status)


def virtual_resources(authorizer: Authorizer, rules: GroupRules | None = None) -> tuple[VirtualResource, ...]:
    """The reviews, ready to be routed: verb `create` only. `rules` are the ones that `can-i --list` tells."""
    reviews = Reviews(authorizer, rules or builtin_rules())

    def resource(group: str, kind: str, create: Callable[[User, Object, str], Awaitable[Object]]) -> VirtualResource:
        singular = kind.lower()
        return VirtualResource(group, "v1", kind, f"{singular}s", singular, namespaced=False, create=create)

    return (
        resource(AUTHENTICATION, "SelfSubjectReview", reviews.who_am_i),
        resource(AUTHORIZATION, "SelfSubjectAccessReview", reviews.may_i),
        resource(AUTHORIZATION, "SelfSubjectRulesReview", reviews.my_rules),
        resource(AUTHORIZATION, "SubjectAccessReview", reviews.may_they),
    )
