"""Questions posed as objects: who am I, may I do this, what may I do. Nothing of them is stored.

`kubectl auth whoami`, `kubectl auth can-i` and `can-i --list` POST them. Each is a function from the asking user and
the decoded object to the answered object; routing, decoding and encoding are the core's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..admission.complaints import bad_value
from ..errors import BadRequest, Cause, invalid
from ..request import User
from .authorization import AuthorizationAttributes
from .rules import ANY, ResolvingAuthorizer, Rule

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


def _complaints(body: Object, *, local: bool) -> Iterator[Cause]:
    """What is wrong with an access review: it asks one thing, and is nothing that could be stored."""
    spec = body.get("spec") or {}
    metadata = {key: value for key, value in (body.get("metadata") or {}).items() if key != "managedFields" and value}
    namespace = metadata.pop("namespace", "") if local else ""
    if metadata:
        yield bad_value("metadata", metadata, "must be empty except for namespace" if local else "must be empty")
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if resource is not None and path is not None:
        text = "cannot be specified in combination with resourceAttributes"
        yield bad_value("spec.nonResourceAttributes", path, text)
    if resource is None and path is None:
        text = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        yield bad_value("spec.resourceAttributes", None, text)
    for field in ("fieldSelector", "labelSelector"):
        selector = (resource or {}).get(field) or {}
        if selector.get("rawSelector") and selector.get("requirements"):
            where, text = (
                f"spec.resourceAttributes.{field}.rawSelector",
                "may not specified at the same time as requirements",
            )
            yield bad_value(where, selector["rawSelector"], text)
    if local and resource is not None and resource.get("namespace", "") != namespace:
        where, given = "spec.resourceAttributes.namespace", resource.get("namespace", "")
        yield bad_value(where, given, "must match metadata.namespace")
    if local and path is not None:
        yield bad_value("spec.nonResourceAttributes", path, "disallowed on this kind of request")


def _nobody(body: Object) -> Iterator[Cause]:
    """A question about somebody must say about whom."""
    spec = body.get("spec") or {}
    if not spec.get("user") and not spec.get("groups"):
        yield bad_value("spec.user", "", "at least one of user or group must be specified")


def _subject(spec: Mapping[str, Any]) -> User:
    extra = {key.lower(): tuple(values) for key, values in (spec.get("extra") or {}).items()}
    return User(spec.get("user", ""), tuple(spec.get("groups") or ()), spec.get("uid", ""), extra)


def _asked(user: User, spec: Mapping[str, Any]) -> AuthorizationAttributes:
    """The question of an access review without complaints."""
    path: Mapping[str, Any] | None = spec.get("nonResourceAttributes")
    if path is not None:
        return AuthorizationAttributes(user, path.get("verb", ""), path=path.get("path", ""))
    resource: Mapping[str, Any] = spec["resourceAttributes"]
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

    def __init__(self, authorizer: ResolvingAuthorizer) -> None:
        self._authorizer = authorizer

    async def who_am_i(self, user: User, body: Object, namespace: str) -> Object:
        """SelfSubjectReview: the user as the server sees it."""
        return _answer("authentication.k8s.io/v1", "SelfSubjectReview", body, {"userInfo": user.info()})

    async def may_i(self, user: User, body: Object, namespace: str) -> Object:
        """SelfSubjectAccessReview: whether the asking user may do one thing."""
        return await self._review("SelfSubjectAccessReview", body, user, _complaints(body, local=False))

    async def may_they(self, user: User, body: Object, namespace: str) -> Object:
        """SubjectAccessReview: whether somebody else may; asking this is itself guarded by authorization."""
        causes = (*_nobody(body), *_complaints(body, local=False))
        return await self._review("SubjectAccessReview", body, _subject(body.get("spec") or {}), causes)

    async def may_they_here(self, user: User, body: Object, namespace: str) -> Object:
        """LocalSubjectAccessReview: the same about one namespace, which may be granted to somebody who rules there."""
        given = (body.get("metadata") or {}).get("namespace")
        if given and given != namespace:
            raise BadRequest("the namespace of the provided object does not match the namespace sent on the request")
        placed = {**body, "metadata": {**(body.get("metadata") or {}), "namespace": namespace}}
        causes = (*_nobody(placed), *_complaints(placed, local=True))
        return await self._review("LocalSubjectAccessReview", placed, _subject(placed.get("spec") or {}), causes)

    async def _review(self, kind: str, body: Object, subject: User, causes: Iterable[Cause]) -> Object:
        complaints = list(causes)
        if complaints:
            raise invalid(kind, "", complaints, group=AUTHORIZATION)
        decision = await self._authorizer.authorize(_asked(subject, body["spec"]))
        status: Object = {"allowed": decision.allowed}
        if decision.reason:
            status["reason"] = decision.reason
        return _answer("authorization.k8s.io/v1", kind, body, status)

    async def my_rules(self, user: User, body: Object, namespace: str) -> Object:
        """SelfSubjectRulesReview: the rules that hold for the asking user in a namespace."""
        where = str((body.get("spec") or {}).get("namespace") or "")
        if not where:
            raise BadRequest("no namespace on request")
        resolution = await self._authorizer.rules_for(user, where)
        own = [rule for rule in resolution.own_rules if rule not in resolution.rules]
        status: Object = {
            "resourceRules": [rule.to_wire() for rule in (*resolution.rules, *own) if not rule.paths],
            "nonResourceRules": [rule.to_wire() for rule in resolution.rules if rule.paths],
            "incomplete": bool(resolution.unresolved or own),
        }
        reasons = [resolution.unresolved] if resolution.unresolved else []
        if own:
            reasons.append(f"only for objects that {user.name} owns: {', '.join(_resources(own))}")
        if reasons:
            status["evaluationError"] = "; ".join(reasons)
        return _answer("authorization.k8s.io/v1", "SelfSubjectRulesReview", body, status)


def _resources(rules: Iterable[Rule]) -> list[str]:
    """What the rules are about, without subresources, in the order of the alphabet: `deployments.apps`, `pods`."""
    found = {
        f"{resource.partition('/')[0]}.{group}" if group else resource.partition("/")[0]
        for rule in rules
        for group in rule.groups
        for resource in rule.resources
    }
    return sorted(found)


def virtual_resources(authorizer: ResolvingAuthorizer) -> tuple[VirtualResource, ...]:
    """The reviews, ready to be routed: verb `create` only."""
    reviews = Reviews(authorizer)

    def resource(
        group: str, kind: str, create: Callable[[User, Object, str], Awaitable[Object]], *, namespaced: bool = False
    ) -> VirtualResource:
        singular = kind.lower()
        return VirtualResource(group, "v1", kind, f"{singular}s", singular, namespaced=namespaced, create=create)

    return (
        resource(AUTHENTICATION, "SelfSubjectReview", reviews.who_am_i),
        resource(AUTHORIZATION, "SelfSubjectAccessReview", reviews.may_i),
        resource(AUTHORIZATION, "SelfSubjectRulesReview", reviews.my_rules),
        resource(AUTHORIZATION, "SubjectAccessReview", reviews.may_they),
        resource(AUTHORIZATION, "LocalSubjectAccessReview", reviews.may_they_here, namespaced=True),
    )
