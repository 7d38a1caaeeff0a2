"""From a PATCH body to a function that changes the object. Which kinds of patch a resource takes, and how they fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import orjson

from stark.crds.patches import (
    PatchError,
    PatchMalformed,
    PatchTestFailed,
    PatchTooLarge,
    json_patch,
    merge_patch,
    strategic_merge_patch,
)

from ..errors import BadRequest, Cause, Invalid, RequestEntityTooLarge, UnsupportedMediaType
from ..resources import Resource
from . import bodies

JSON_PATCH: Final = "application/json-patch+json"
MERGE_PATCH: Final = "application/merge-patch+json"
APPLY_PATCH: Final = "application/apply-patch+yaml"
"""Not a change but a configuration: see `apply`."""
STRATEGIC_PATCH: Final = "application/strategic-merge-patch+json"

Object = dict[str, Any]


def patch_of(data: bytes, content_type: str, resource: Resource) -> Callable[[Object], Object]:
    """The change a body asks for. Raises UnsupportedMediaType, BadRequest."""
    kind = bodies.media_type(content_type)
    offered = [JSON_PATCH, MERGE_PATCH] if resource.custom else [JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH]
    if kind not in offered:
        shown = ", ".join([*offered, APPLY_PATCH])
        raise UnsupportedMediaType(
            f"the body of the request was in an unknown format - accepted media types include: {shown}"
        )
    patch = _parse(data, kind)

    def change(obj: Object) -> Object:
        try:
            return _apply(kind, obj, patch, resource)
        except PatchError as error:
            raise _refusal(error, resource, obj) from error

    return change


def is_apply(content_type: str) -> bool:
    """Whether the body is a configuration to apply."""
    return bodies.media_type(content_type) == APPLY_PATCH


def configuration_of(data: bytes) -> Object:
    """What is to be applied. JSON is YAML, and what programs send; it is also read much faster. Raises BadRequest."""
    is_json = data.lstrip()[:1] == b"{"
    try:
        return bodies.decode(data, bodies.JSON if is_json else bodies.YAML)
    except BadRequest:
        if not is_json:
            raise
        return bodies.decode(data, bodies.YAML)


def _parse(data: bytes, kind: str) -> Any:
    try:
        patch = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"error decoding patch: {error}") from error
    expected: type = list if kind == JSON_PATCH else dict
    if not isinstance(patch, expected):
        raise BadRequest(f"error decoding patch: expected a JSON {'array' if expected is list else 'object'}")
    return patch


def _apply(kind: str, obj: Object, patch: Any, resource: Resource) -> Object:
    if kind == JSON_PATCH:
        changed = json_patch(obj, patch)
    elif kind == MERGE_PATCH:
        changed = merge_patch(obj, patch)
    else:
        changed = strategic_merge_patch(obj, patch, resource.merge_keys)
    if not isinstance(changed, dict) or not isinstance(changed.get("metadata"), dict):
        raise BadRequest("the patch leaves no object: it must keep apiVersion, kind and metadata")
    return {**changed, "metadata": dict(changed["metadata"])}


def _refusal(error: PatchError, resource: Resource, obj: Object) -> Exception:
    name = obj["metadata"]["name"]
    if isinstance(error, PatchTooLarge):
        return RequestEntityTooLarge(str(error))
    if isinstance(error, PatchMalformed):
        return BadRequest(f"error decoding patch: {error}")
    what = "testing value failed" if isinstance(error, PatchTestFailed) else error.message
    return Invalid(
        "the server rejected our request due to an error in our request",
        group=resource.group,
        kind=resource.plural,
        name=name,
        causes=[Cause(error.path, what, "FieldValueInvalid")],
    )
