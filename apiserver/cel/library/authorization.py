"""Kubernetes' authorization library: an expression asks whether somebody may do something (KEP-3488, section Authorizer).

Whether they may is found out by waiting, and expressions do not wait. So a check whose answer is not known ends the
evaluation with `Unanswered`; who evaluates finds the answer, puts it where the check looks, and evaluates again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from stark.crds.names import dns_label_problems, dns_subdomain_problems
from stark.crds.selectors import SelectorError, parse_field_selector, parse_label_selector

from ..errors import CelError, EvaluationError
from ..frame import Frame
from ..values import Opaque
from .registry import Overload, member

CHECK_COST: Final = 350_000
"""Units of one check, as in Kubernetes: an expression has room for two, a policy for 28."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a check asks."""

    account: tuple[str, str] | None = None
    """Namespace and name of the service account that it is about; None: whoever makes the request."""
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""
    field_selector: str = ""
    verb: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of it."""

    allowed: bool
    reason: str = ""


Answers = Mapping[Asked, Answer]


class Unanswered(CelError):
    """The evaluation met a check whose answer is not known yet."""

    def __init__(self, asked: Asked) -> None:
        super().__init__("the authorization check has not been answered")
        self.asked = asked


class _Check(Opaque):
    """What all values of the library are: a question under way, and where answers are."""

    __slots__ = ("answers", "asked")

    def __init__(self, asked: Asked, answers: Answers) -> None:
        self.asked, self.answers = asked, answers

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and isinstance(other, _Check) and other.asked == self.asked

    def __hash__(self) -> int:
        return hash(self.asked)


class Authorizer(_Check):
    """The variable `authorizer`, or that of a service account."""

    __slots__ = ()
    TYPE = "kubernetes.authorization.Authorizer"


class PathCheck(_Check):
    """About a path."""

    __slots__ = ()
    TYPE = "kubernetes.authorization.PathCheck"


class GroupCheck(_Check):
    """About an API group, still without a resource."""

    __slots__ = ()
    TYPE = "kubernetes.authorization.GroupCheck"


class ResourceCheck(_Check):
    """About a resource."""

    __slots__ = ()
    TYPE = "kubernetes.authorization.ResourceCheck"


class Decision(Opaque):
    """An answer."""

    __slots__ = ("answer",)
    TYPE = "kubernetes.authorization.Decision"

    def __init__(self, answer: Answer) -> None:
        self.answer = answer

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Decision) and other.answer == self.answer

    def __hash__(self) -> int:
        return hash(self.answer)


def _path(frame: Frame, held: Authorizer, path: str) -> PathCheck:
    frame.pay(1)
    if not path.strip():
        raise EvaluationError("path must not be empty")
    return PathCheck(replace(held.asked, path=path), held.answers)


def _group(frame: Frame, held: Authorizer, group: str) -> GroupCheck:
    frame.pay(1)
    return GroupCheck(replace(held.asked, group=group), held.answers)


def _service_account(frame: Frame, held: Authorizer, namespace: str, name: str) -> Authorizer:
    frame.pay_for(len(namespace) + len(name))
    if dns_label_problems(namespace):
        raise EvaluationError("Invalid service account namespace")
    if dns_subdomain_problems(name):
        raise EvaluationError("Invalid service account name")
    return Authorizer(Asked(account=(namespace, name)), held.answers)


def _resource(frame: Frame, held: GroupCheck, resource: str) -> ResourceCheck:
    frame.pay(1)
    if not resource.strip():
        raise EvaluationError("resource must not be empty")
    return ResourceCheck(replace(held.asked, resource=resource), held.answers)


def _with(change: Callable[[Asked, str], Asked]) -> Callable[[Frame, ResourceCheck, str], ResourceCheck]:
    def narrowed(frame: Frame, held: ResourceCheck, value: str) -> ResourceCheck:
        frame.pay(1)
        return ResourceCheck(change(held.asked, value), held.answers)

    return narrowed


def _field_selector(frame: Frame, held: ResourceCheck, text: str) -> ResourceCheck:
    """A selector that cannot be read narrows nothing: the check is about everything then."""
    frame.pay_for(len(text))
    try:
        parse_field_selector(text)
    except SelectorError:
        text = ""
    return ResourceCheck(replace(held.asked, field_selector=text), held.answers)


def _label_selector(frame: Frame, held: ResourceCheck, text: str) -> ResourceCheck:
    """No authorizer of ours looks at labels, as RBAC does not: the check stays about everything."""
    frame.pay_for(len(text))
    try:
        parse_label_selector(text)
    except SelectorError:
        pass
    return held


def _check(frame: Frame, held: _Check, verb: str) -> Decision:
    frame.pay(CHECK_COST)
    asked = replace(held.asked, verb=verb)
    answer = held.answers.get(asked)
    if answer is None:
        raise Unanswered(asked)
    return Decision(answer)


def _of(read: Callable[[Answer], Any]) -> Callable[[Frame, Decision], Any]:
    def told(frame: Frame, decision: Decision) -> Any:
        frame.pay(1)
        return read(decision.answer)

    return told


_A, _P, _G, _R, _D = Authorizer.TYPE, PathCheck.TYPE, GroupCheck.TYPE, ResourceCheck.TYPE, Decision.TYPE
TYPES: Final = (_A, _P, _G, _R, _D)

OVERLOADS: list[Overload] = [
    member("path", f"{_A}; string", _P, _path),
    member("group", f"{_A}; string", _G, _group),
    member("serviceAccount", f"{_A}; string; string", _A, _service_account),
    member("resource", f"{_G}; string", _R, _resource),
    member("subresource", f"{_R}; string", _R, _with(lambda asked, value: replace(asked, subresource=value))),
    member("namespace", f"{_R}; string", _R, _with(lambda asked, value: replace(asked, namespace=value))),
    member("name", f"{_R}; string", _R, _with(lambda asked, value: replace(asked, name=value))),
    member("fieldSelector", f"{_R}; string", _R, _field_selector),
    member("labelSelector", f"{_R}; string", _R, _label_selector),
    member("check", f"{_P}; string", _D, _check),
    member("check", f"{_R}; string", _D, _check),
    member("allowed", _D, "bool", _of(lambda answer: answer.allowed)),
    member("reason", _D, "string", _of(lambda answer: answer.reason)),
    member("errored", _D, "bool", _of(lambda answer: False)),
    member("error", _D, "string", _of(lambda answer: "")),
]
