"""The question and the answer: AdmissionReview (admission.k8s.io/v1), built and read without trust.

Messages about answers are Kubernetes' (apiserver/pkg/admission/plugin/webhook/request/admissionreview.go).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from ...callbacks import CallFailed
from ...resources import Resource
from ..attributes import Attributes
from .matching import namespace_of

API_VERSION: Final = "admission.k8s.io/v1"
KIND: Final = "AdmissionReview"
JSON_PATCH: Final = "JSONPatch"
WARNINGS_MAX: Final = 64
"""Warnings of one answer that are passed on."""
AUDIT_ANNOTATIONS_MAX: Final = 64
AUDIT_VALUE_LENGTH_MAX: Final = 10 * 1024
"""Audit annotations of one answer, and characters of each: the request keeps them until it is over."""

Object = dict[str, Any]
Mapped = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a webhook said."""

    allowed: bool
    status: Mapped | None = None
    """The Status it gave as its reason."""
    patch: Sequence[Mapped] = ()
    warnings: tuple[str, ...] = ()
    audit: Mapping[str, str] | None = None


def question(uid: str, request: Mapped, obj: Mapped | None, old: Mapped | None) -> bytes:
    """The body of what is sent; `request` is from `request_of`."""
    whole = {"uid": uid, **request, "object": obj, "oldObject": old}
    return orjson.dumps({"kind": KIND, "apiVersion": API_VERSION, "request": whole})


def request_of(attributes: Attributes, shown_as: Resource) -> Object:
    """The AdmissionRequest of a write, but for its objects. `shown_as`: the version these are shown in."""
    resource, kind = attributes.resource, attributes.kind_shown()
    is_as_written = shown_as is resource or attributes.is_own_form
    seen_kind = kind if is_as_written else (shown_as.group, shown_as.version, shown_as.kind)
    subresource = attributes.subresource
    request: Object = {"kind": _kind(seen_kind), "resource": _resource(shown_as)}
    if subresource:
        request["subResource"] = subresource
    request |= {"requestKind": _kind(kind), "requestResource": _resource(resource)}
    if subresource:
        request["requestSubResource"] = subresource
    name, namespace = attributes.name_of_object(), namespace_of(attributes)
    request |= {key: value for key, value in (("name", name), ("namespace", namespace)) if value}
    return {
        **request,
        "operation": attributes.operation,
        "userInfo": attributes.user.info(),
        "dryRun": attributes.dry_run,
        "options": attributes.options,
    }


def _kind(kind: tuple[str, str, str]) -> dict[str, str]:
    return dict(zip(("group", "version", "kind"), kind, strict=True))


def _resource(resource: Resource) -> dict[str, str]:
    return {"group": resource.group, "version": resource.version, "resource": resource.plural}


def read_answer(data: bytes, uid: str, *, may_patch: bool) -> Verdict:
    """The verdict in an answer. Raises CallFailed, which says what is wrong with it."""
    try:
        review = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise CallFailed(f"couldn't get version/kind; json parse error: {error}") from error
    if not isinstance(review, dict):
        raise CallFailed("couldn't get version/kind; json parse error: the answer is not an object")
    response = review.get("response")
    if response is None:
        raise _wrong("webhook response was absent")
    if not isinstance(response, dict):
        raise _wrong(f"response: expected an object, got {_shown(response)}")
    if response.get("uid") != uid:
        raise _wrong(f"expected response.uid={_shown(uid)}, got {_shown(response.get('uid', ''))}")
    given = f"{review.get('apiVersion', '')}, Kind={review.get('kind', '')}"
    if given != f"{API_VERSION}, Kind={KIND}":
        raise _wrong(f"expected webhook response of {API_VERSION}, Kind={KIND}, got {given}")
    return Verdict(
        bool(_typed(response, "allowed", bool, False)),
        _typed(response, "status", dict, None),
        _patch(response, may_patch),
        tuple(_texts(response, "warnings"))[:WARNINGS_MAX],
        _annotations(response),
    )


def _patch(response: Mapped, may_patch: bool) -> Sequence[Mapped]:
    patch, kind = _typed(response, "patch", str, ""), _typed(response, "patchType", str, None)
    if not may_patch:
        if patch:
            raise _wrong("validating webhook may not return response.patch")
        if kind is not None:
            raise _wrong("validating webhook may not return response.patchType")
        return ()
    if patch and kind is None:
        raise _wrong("webhook returned response.patch but not response.patchType")
    if kind is not None and not patch:
        raise _wrong("webhook returned response.patchType but not response.patch")
    if not patch:
        return ()
    if kind != JSON_PATCH:
        raise _wrong(f"webhook returned invalid response.patchType of {_shown(kind)}")
    try:
        operations = orjson.loads(base64.b64decode(patch, validate=True))
    except (binascii.Error, ValueError) as error:
        raise _wrong(f"response.patch is no JSON in base64: {error}") from error
    if not isinstance(operations, list) or not all(isinstance(one, dict) for one in operations):
        raise _wrong("response.patch: expected a list of operations")
    return operations


def _annotations(response: Mapped) -> dict[str, str]:
    given = _typed(response, "auditAnnotations", dict, {})
    if not all(isinstance(value, str) for value in given.values()):
        raise _wrong("response.auditAnnotations: expected a map of strings")
    return {key: value[:AUDIT_VALUE_LENGTH_MAX] for key, value in list(given.items())[:AUDIT_ANNOTATIONS_MAX]}


def _texts(response: Mapped, field: str) -> list[str]:
    values: list[str] = _typed(response, field, list, [])
    if not all(isinstance(value, str) for value in values):
        raise _wrong(f"response.{field}: expected a list of strings")
    return values


def _typed(response: Mapped, field: str, kind: type, default: Any) -> Any:
    value = response.get(field)
    if value is None:
        return default
    if not isinstance(value, kind):
        raise _wrong(f"response.{field}: expected a value of type {kind.__name__}, got {_shown(value)}")
    return value


def _shown(value: Any) -> str:
    return orjson.dumps(value).decode()[:200]


class Misanswered(CallFailed):
    """The answer came and is none that can be understood."""


def _wrong(message: str) -> Misanswered:
    return Misanswered(message)
