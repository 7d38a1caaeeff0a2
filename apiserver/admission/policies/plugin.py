"""The plugin: every policy in force that a write concerns is evaluated, and what it says is done as its bindings want.

All are heard, so that warnings and notes of every policy arrive; the first refusal is the answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from ...auth.authorization import Authorizer
from ...errors import ApiError, Cause
from ...resources import Resource, Resources
from ..attributes import Attributes, Lookup
from ..authorizing import Checks
from ..complaints import refused
from ..webhooks.asking import Convert, objects_seen
from ..webhooks.matching import CONFIGURATION_GROUP, is_namespace
from ..webhooks.review import request_of
from .compiled import Binding, Policies, Policy
from .deciding import NO_ERROR, Decided, Decision, Judge
from .metrics import PolicyMetrics
from .params import Misconfigured, NoSuchKind, Params

OWN_KINDS: Final = frozenset({"validatingadmissionpolicies", "validatingadmissionpolicybindings"})
CODES: Final = {"Forbidden": 403, "Unauthorized": 401, "RequestEntityTooLarge": 413}
FAILURES: Final = "validation.policy.admission.k8s.io/validation_failure"

Mapped = Mapping[str, Any]


class Denied(ApiError):
    """A policy does not let the write pass."""

    def __init__(self, attributes: Attributes, message: str, reason: str) -> None:
        as_forbidden = refused(attributes, message)
        super().__init__(
            as_forbidden.message,
            group=as_forbidden.group,
            kind=as_forbidden.kind,
            name=as_forbidden.name,
            causes=[Cause("", message, "")],
        )
        self.reason, self.code = reason, CODES.get(reason, 422)


@dataclass(slots=True)
class _Heard:
    """What all policies said about one write."""

    denials: list[Denied] = field(default_factory=list)
    failures: list[Mapped] = field(default_factory=list)
    notes: dict[str, list[str]] = field(default_factory=dict)


class AdmissionPolicies:
    """One of the chain's concluding plugins."""

    def __init__(
        self, policies: Policies, resources: Resources, convert: Convert, metrics: PolicyMetrics, authorizer: Authorizer
    ) -> None:
        self._policies, self._resources, self._convert, self._authorizer = policies, resources, convert, authorizer
        self._params, self._metrics = Params(resources, convert), metrics
        self.none = policies.none
        """Whether there is surely nothing in force."""

    async def __call__(self, attributes: Attributes, lookup: Lookup) -> None:
        """Judge a write. Raises Denied, NotFound."""
        if self._policies.none():
            return
        in_force = await self._policies.in_force()
        if not in_force or not attributes.consults or _is_exempt(attributes):
            return
        heard = _Heard()
        for policy, bindings in in_force:
            seen_as = await policy.matching.seen_as(attributes, lookup, self._resources)
            if seen_as is not None:
                await self._hear(policy, bindings, seen_as, attributes, lookup, heard)
        if heard.failures:
            attributes.audit[FAILURES] = orjson.dumps(heard.failures).decode()
        attributes.audit.update({key: ", ".join(dict.fromkeys(values)) for key, values in heard.notes.items()})
        if heard.denials:
            raise heard.denials[0]

    async def _hear(
        self,
        policy: Policy,
        bindings: Any,
        seen_as: Resource,
        attributes: Attributes,
        lookup: Lookup,
        heard: _Heard,
    ) -> None:
        shown: Mapped | None = None
        checks = Checks(self._authorizer, attributes, seen_as)
        for binding in bindings:
            if await binding.matching.seen_as(attributes, lookup, self._resources) is None:
                continue
            try:
                found = await self._params.of(policy, binding, attributes, lookup)
            except Misconfigured as error:
                self._misconfigured(policy, binding, error, attributes, heard)
                continue
            if shown is None and found:
                shown = await self._shown(attributes, seen_as, lookup)
            for params in found:
                values = policy.scope.bind(params=params, checks=checks.values, **(shown or {}))
                decided = await Judge(policy, values, checks).decide()
                self._act(policy, binding, decided, attributes, heard)

    async def _shown(self, attributes: Attributes, seen_as: Resource, lookup: Lookup) -> Mapped:
        """What expressions see of a write, but for the parameters."""
        new, old = await objects_seen(attributes, seen_as, self._convert)
        namespace = None
        if attributes.namespace and not is_namespace(attributes):
            namespace = await lookup.get("", "namespaces", "", attributes.namespace)
        return {"request": request_of(attributes, seen_as), "new": new, "old": old, "namespace": namespace}

    def _misconfigured(
        self, policy: Policy, binding: Binding, error: Misconfigured, attributes: Attributes, heard: _Heard
    ) -> None:
        is_policys = isinstance(error, NoSuchKind)
        self._metrics.checked(policy.name, binding.name, "invalid_error", "allow" if policy.fails_open else "deny")
        if policy.fails_open:
            return
        if is_policys:
            message = f"ValidatingAdmissionPolicy '{policy.name}' denied request: failed to configure policy: {error}"
        else:
            message = _denied(policy, binding, f"failed to configure binding: {error}")
        heard.denials.append(Denied(attributes, message, "Invalid"))

    def _act(self, policy: Policy, binding: Binding, decided: Decided, attributes: Attributes, heard: _Heard) -> None:
        for decision in decided.decisions:
            if decision.allows:
                if decision.error_type != NO_ERROR:
                    self._metrics.checked(policy.name, binding.name, decision.error_type, "allow")
                continue
            actions = frozenset({"Deny"}) if decision.in_spite_of_actions else binding.actions
            for action in sorted(actions):
                self._metrics.checked(policy.name, binding.name, decision.error_type, action.lower())
            self._refuse(policy, binding, decision, actions, attributes, heard)
        for key, value in (decided.notes or {}).items():
            heard.notes.setdefault(key, []).append(value)

    def _refuse(
        self,
        policy: Policy,
        binding: Binding,
        decision: Decision,
        actions: frozenset[str],
        attributes: Attributes,
        heard: _Heard,
    ) -> None:
        if "Deny" in actions:
            heard.denials.append(Denied(attributes, _denied(policy, binding, decision.message), decision.reason))
        if "Warn" in actions:
            text = (
                f"Validation failed for ValidatingAdmissionPolicy '{policy.name}' "
                f"with binding '{binding.name}': {decision.message}"
            )
            if text not in attributes.warnings:
                attributes.warnings.append(text)
        if "Audit" in actions:
            heard.failures.append(
                {
                    "message": decision.message,
                    "policy": policy.name,
                    "binding": binding.name,
                    "expressionIndex": decision.index,
                    "validationActions": sorted(actions),
                }
            )


def _denied(policy: Policy, binding: Binding, message: str) -> str:
    return f"ValidatingAdmissionPolicy '{policy.name}' with binding '{binding.name}' denied request: {message}"


def _is_exempt(attributes: Attributes) -> bool:
    """Policies are not judged by policies: a bad one must not keep anybody from repairing it."""
    resource = attributes.resource
    return resource.group == CONFIGURATION_GROUP and resource.plural in OWN_KINDS
