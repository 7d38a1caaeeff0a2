"""What is wrong with a CustomResourceDefinition that its own schema cannot say, in Kubernetes' wording.

(apiextensions-apiserver/pkg/apis/apiextensions/validation)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

from stark.crds.names import dns_label_1035_problems, dns_subdomain_problems

from ...callbacks import client_config_causes, review_version_causes
from ...errors import Cause
from .base import forbidden, shown

COLUMN_TYPES: Final = ("boolean", "date", "integer", "number", "string")
COLUMN_FORMATS: Final = ("byte", "date", "date-time", "double", "float", "int32", "int64", "password")
DEPRECATION_WARNING_LENGTH_MAX: Final = 256

Mapped = Mapping[str, Any]


def spec_causes(spec: Mapped) -> Iterator[Cause]:
    """Every complaint about a definition's spec but for those about its schemas."""
    yield from _group_causes(spec["group"])
    yield from _names_causes("spec.names", spec["names"])
    yield from _versions_causes(spec["versions"])
    yield from _conversion_causes("spec.conversion", spec.get("conversion") or {})
    if spec.get("preserveUnknownFields"):
        why = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead"
        yield _bad("spec.preserveUnknownFields", True, why)
    for index, version in enumerate(spec["versions"]):
        yield from _version_causes(f"spec.versions[{index}]", version)


def stored_version_causes(stored: list[str], versions: list[Mapped]) -> Iterator[Cause]:
    """Complaints about status.storedVersions: objects may be in each of them, so none may go as long as it is listed."""
    path = "status.storedVersions"
    if not stored:
        yield Cause(path, "Invalid value: []: must have at least one stored version")
    names = {version["name"] for version in versions}
    for version in versions:
        if version.get("storage") and version["name"] not in stored:
            yield _bad(path, version["name"], f"must have the storage version {version['name']}")
    for index, name in enumerate(stored):
        if name not in names:
            yield _bad(f"{path}[{index}]", name, "must appear in spec.versions")


def _group_causes(group: str) -> Iterator[Cause]:
    problems = dns_subdomain_problems(group)
    for problem in problems:
        yield _bad("spec.group", group, problem)
    if not problems and "." not in group:
        yield _bad("spec.group", group, "should be a domain with at least one dot")


def _names_causes(path: str, names: Mapped) -> Iterator[Cause]:
    for field in ("plural", "singular"):
        if names.get(field):
            yield from (_bad(f"{path}.{field}", names[field], text) for text in dns_label_1035_problems(names[field]))
    for field in ("kind", "listKind"):
        for text in dns_label_1035_problems(names[field].lower()) if names.get(field) else ():
            yield _bad(f"{path}.{field}", names[field], f"may have mixed case, but should otherwise match: {text}")
    if names.get("kind") and names.get("kind") == names.get("listKind"):
        yield _bad(f"{path}.listKind", names["listKind"], "kind and listKind may not be the same")
    for field in ("shortNames", "categories"):
        for index, word in enumerate(names.get(field) or ()):
            yield from (_bad(f"{path}.{field}[{index}]", word, text) for text in dns_label_1035_problems(word))


def _versions_causes(versions: list[Mapped]) -> Iterator[Cause]:
    path = "spec.versions"
    names = Counter(version["name"] for version in versions)
    if any(count > 1 for count in names.values()):
        yield Cause(path, f"Invalid value: [{', '.join(names)}]: must contain unique version names")
    if sum(bool(version.get("storage")) for version in versions) != 1:
        yield Cause(path, "Invalid value: must have exactly one version marked as storage version")


def _conversion_causes(path: str, conversion: Mapped) -> Iterator[Cause]:
    webhook = conversion.get("webhook")
    if conversion.get("strategy", "None") != "Webhook":
        if webhook is not None:
            yield forbidden(f"{path}.webhook", "should not be set when strategy is not set to Webhook")
        return
    config = (webhook or {}).get("clientConfig")
    if config is None:
        why = "required when strategy is set to Webhook"
        yield Cause(f"{path}.webhook.clientConfig", f"Required value: {why}", "FieldValueRequired")
    else:
        yield from client_config_causes(f"{path}.webhook.clientConfig", config)
    versions = list((webhook or {}).get("conversionReviewVersions") or [])
    yield from review_version_causes(f"{path}.webhook.conversionReviewVersions", versions)


def _version_causes(path: str, version: Mapped) -> Iterator[Cause]:
    warning = version.get("deprecationWarning")
    if warning is not None and not version.get("deprecated"):
        yield _bad(f"{path}.deprecationWarning", warning, "can only be set for deprecated versions")
    if len(warning or "") > DEPRECATION_WARNING_LENGTH_MAX:
        message = f"Too long: may not be more than {DEPRECATION_WARNING_LENGTH_MAX} bytes"
        yield Cause(f"{path}.deprecationWarning", message, "FieldValueTooLong")
    for index, column in enumerate(version.get("additionalPrinterColumns") or ()):
        yield from _column_causes(f"{path}.additionalPrinterColumns[{index}]", column)
    scale = (version.get("subresources") or {}).get("scale")
    if scale is not None:
        yield from _scale_causes(f"{path}.subresources.scale", scale)


def _column_causes(path: str, column: Mapped) -> Iterator[Cause]:
    if not column.get("name"):
        yield Cause(f"{path}.name", "Required value", "FieldValueRequired")
    for field, known in (("type", COLUMN_TYPES), ("format", COLUMN_FORMATS)):
        value = column.get(field)
        if value and value not in known:
            choices = ", ".join(f'"{choice}"' for choice in known)
            message = f"Unsupported value: {shown(value)}: supported values: {choices}"
            yield Cause(f"{path}.{field}", message, "FieldValueNotSupported")
    if not (column.get("jsonPath") or "").startswith("."):
        yield _bad(f"{path}.jsonPath", column.get("jsonPath") or "", "must be a simple json path starting with .")


def _scale_causes(path: str, scale: Mapped) -> Iterator[Cause]:
    wanted = (
        ("specReplicasPath", (".spec.",), "should be a json path under .spec"),
        ("statusReplicasPath", (".status.",), "should be a json path under .status"),
        ("labelSelectorPath", (".spec.", ".status."), "should be a json path under either .spec or .status"),
    )
    for field, roots, why in wanted:
        value = scale.get(field)
        if value is not None and not value.startswith(roots):
            yield _bad(f"{path}.{field}", value, why)


def _bad(path: str, value: Any, message: str) -> Cause:
    return Cause(path, f"Invalid value: {shown(value)}: {message}")
