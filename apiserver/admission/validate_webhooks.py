"""What is wrong with configurations of webhooks, in Kubernetes' wording (pkg/apis/admissionregistration/validation)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from stark.crds.names import dns_subdomain_problems, label_key_problems
from stark.crds.selectors import SelectorError, from_label_selector
from stark.crds.webhooks import TIMEOUT_MAX_S

from ..callbacks import client_config_causes, review_version_causes
from ..errors import Cause
from .complaints import bad_value, duplicate, required

NAME_PARTS_MIN = 3
ANY = "*"

Mapped = Mapping[str, Any]


def webhook_configuration_causes(obj: Mapped) -> Iterator[Cause]:
    """Every complaint about a MutatingWebhookConfiguration or a ValidatingWebhookConfiguration."""
    seen: set[str] = set()
    for index, webhook in enumerate(obj.get("webhooks") or ()):
        path = f"webhooks[{index}]"
        yield from _webhook_causes(path, webhook)
        if webhook["name"] in seen:
            yield duplicate(f"{path}.name", webhook["name"])
        seen.add(webhook["name"])


def _webhook_causes(path: str, webhook: Mapped) -> Iterator[Cause]:
    yield from full_name_causes(f"{path}.name", webhook.get("name") or "")
    for index, rule in enumerate(webhook.get("rules") or ()):
        yield from rule_causes(f"{path}.rules[{index}]", rule)
    timeout = webhook.get("timeoutSeconds")
    if timeout is not None and not 1 <= timeout <= TIMEOUT_MAX_S:
        message = f"the timeout value must be between 1 and {TIMEOUT_MAX_S} seconds"
        yield bad_value(f"{path}.timeoutSeconds", timeout, message)
    for field in ("namespaceSelector", "objectSelector"):
        yield from selector_causes(f"{path}.{field}", webhook.get(field))
    yield from client_config_causes(f"{path}.clientConfig", webhook.get("clientConfig"))
    yield from review_version_causes(f"{path}.admissionReviewVersions", webhook.get("admissionReviewVersions") or [])
    yield from match_condition_causes(f"{path}.matchConditions", webhook.get("matchConditions") or ())


def full_name_causes(path: str, name: str) -> Iterator[Cause]:
    """Complaints about a name that must be fully qualified."""
    if not name:
        yield required(path)
        return
    problems = dns_subdomain_problems(name)
    for problem in problems:
        yield bad_value(path, name, problem)
    if not problems and name.count(".") < NAME_PARTS_MIN - 1:
        yield bad_value(path, name, "should be a domain with at least three segments separated by dots")


def rule_causes(path: str, rule: Mapped) -> Iterator[Cause]:
    """Complaints about a rule with operations."""
    operations = rule.get("operations") or []
    if not operations:
        yield required(f"{path}.operations")
    elif len(operations) > 1 and ANY in operations:
        yield bad_value(f"{path}.operations", operations, "if '*' is present, must not specify other operations")
    for field, what in (("apiGroups", "API groups"), ("apiVersions", "API versions")):
        values = rule.get(field) or []
        if not values:
            yield required(f"{path}.{field}")
        elif len(values) > 1 and ANY in values:
            yield bad_value(f"{path}.{field}", values, f"if '*' is present, must not specify other {what}")
    yield from (
        required(f"{path}.apiVersions[{index}]")
        for index, version in enumerate(rule.get("apiVersions") or ())
        if not version
    )
    yield from _resources_causes(f"{path}.resources", rule.get("resources") or [])


def _resources_causes(path: str, resources: Sequence[str]) -> Iterator[Cause]:
    if not resources:
        yield required(path)
    all_subresources: set[str] = set()
    all_resources: set[str] = set()
    for index, item in enumerate(resources):
        if not item:
            yield required(f"{path}[{index}]")
            continue
        resource, slash, subresource = item.partition("/")
        if not slash:
            continue
        if resource in all_subresources:
            message = f"if '{resource}/*' is present, must not specify {item}"
            yield bad_value(f"{path}[{index}]", item, message)
        if subresource in all_resources:
            message = f"if '*/{subresource}' is present, must not specify {item}"
            yield bad_value(f"{path}[{index}]", item, message)
        if subresource == ANY:
            all_subresources.add(resource)
        if resource == ANY:
            all_resources.add(subresource)
    if len(resources) > 1 and "*/*" in resources:
        yield bad_value(path, list(resources), "if '*/*' is present, must not specify other resources")
    if ANY in resources:
        for index, item in enumerate(resources):
            if item and item != ANY and "/" not in item:
                message = "if '*' is present, must not specify other resources without subresources"
                yield bad_value(f"{path}[{index}]", item, message)


def selector_causes(path: str, selector: Mapped | None) -> Iterator[Cause]:
    """Complaints about a label selector."""
    try:
        from_label_selector(selector or {})
    except SelectorError as error:
        yield bad_value(path, dict(selector or {}), str(error))


def match_condition_causes(path: str, conditions: Sequence[Mapped]) -> Iterator[Cause]:
    """Complaints about match conditions, but for what their expressions say."""
    seen: set[str] = set()
    for index, condition in enumerate(conditions):
        name, expression = condition.get("name") or "", (condition.get("expression") or "").strip()
        if not name:
            yield required(f"{path}[{index}].name")
        for problem in label_key_problems(name) if name else ():
            yield bad_value(f"{path}[{index}].name", name, problem)
        if name and name in seen:
            yield duplicate(f"{path}[{index}].name", name)
        seen.add(name)
        if not expression:
            yield required(f"{path}[{index}].expression")
