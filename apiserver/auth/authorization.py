"""May this user do this? The question, the answer, and the refusal that tells it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ..errors import Forbidden
from ..request import User


@dataclass(slots=True, unsafe_hash=True)
class AuthorizationAttributes:
    """What is asked. A resource request has `resource`; any other has `path` and the HTTP method in lower case.

    Never changed. Not frozen by the dataclass, because that sets every field by a call, and every request has one of these.
    """

    user: User
    verb: str
    """get list watch create update patch delete deletecollection impersonate, or an HTTP method in lower case."""
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""
    field_selector: str = ""
    """The raw fieldSelector parameter of a list, watch or deletecollection."""

    @property
    def full_resource(self) -> str:
        """`pods` or `pods/status`."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer; `reason` is for people, and empty when there is nothing to add."""

    allowed: bool
    reason: str = ""
    own_only: bool = False
    """The yes is for objects that the asker owns, and for no others: whoever acts on it must see to that."""
    owners: frozenset[str] = frozenset()
    """With `own_only`: whose objects are meant, when that is not the asker's."""

    @property
    def is_outright(self) -> bool:
        """Yes, whosever the object is. All that may be acted on where nobody can look at an owner."""
        return self.allowed and not self.own_only


NO_OPINION = Decision(allowed=False)
ALLOWED = Decision(allowed=True)


class Authorizer(Protocol):
    """Answers whether a request may go on."""

    async def authorize(self, attributes: AuthorizationAttributes) -> Decision:
        """The decision; never raises for a plain no."""
        ...


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _refusal(attributes: AuthorizationAttributes) -> str:
    user, verb = _quoted(attributes.user.name), attributes.verb
    if not attributes.resource:
        return f"User {user} cannot {verb} path {_quoted(attributes.path)}"
    where = f"in the namespace {_quoted(attributes.namespace)}" if attributes.namespace else "at the cluster scope"
    what = f"resource {_quoted(attributes.full_resource)} in API group {_quoted(attributes.group)}"
    return f"User {user} cannot {verb} {what} {where}"


def forbidden(attributes: AuthorizationAttributes, decision: Decision) -> Forbidden:
    """The refusal in Kubernetes' words: `pods "x" is forbidden: User "u" cannot get resource "pods" ...`."""
    message = _refusal(attributes)
    if decision.reason:
        message = f"{message}: {decision.reason}"
    if not attributes.resource:
        return Forbidden(f"forbidden: {message}")
    subject = f"{attributes.resource}.{attributes.group}" if attributes.group else attributes.resource
    if attributes.name:
        subject = f"{subject} {_quoted(attributes.name)}"
    return Forbidden(
        f"{subject} is forbidden: {message}",
        group=attributes.group,
        kind=attributes.resource,
        name=attributes.name,
    )
