"""Objects in another version of their kind by a webhook: ConversionReview (apiextensions.k8s.io/v1), and no trust.

A webhook may change everything of an object but what it is: kind, name, namespace and uid stay, and of the metadata it may
change labels and annotations only. Messages are Kubernetes' (apiextensions-apiserver/pkg/apiserver/conversion).
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from ..callbacks import Caller, CallFailed, endpoint_of
from ..errors import InternalError

API_VERSION: Final = "apiextensions.k8s.io/v1"
KIND: Final = "ConversionReview"
TIMEOUT_S: Final = 30.0
"""For one question, as in Kubernetes; a request's own time may be shorter."""
OBJECTS_MAX: Final = 500
"""Objects in one question: a long list is converted in pieces, so that no question and no answer is without bound."""
CHANGEABLE: Final = ("labels", "annotations")

Object = dict[str, Any]
Mapped = Mapping[str, Any]


class ConversionFailed(InternalError):
    """The webhook was not reached, would not convert, or gave something else back."""

    def __init__(self, source: str, message: str) -> None:
        super().__init__(f"conversion webhook for {source} {message}")


async def convert(caller: Caller, config: Mapped, objects: Sequence[Mapped], wanted: str) -> list[Object]:
    """The objects in the apiVersion `wanted`, in order. Raises ConversionFailed."""
    converted: list[Object] = []
    for at in range(0, len(objects), OBJECTS_MAX):
        converted += await _convert_some(caller, config, objects[at : at + OBJECTS_MAX], wanted)
    return converted


async def _convert_some(caller: Caller, config: Mapped, objects: Sequence[Mapped], wanted: str) -> list[Object]:
    source, uid = f"{objects[0]['apiVersion']}, Kind={objects[0]['kind']}", str(uuid.uuid4())
    request = {"uid": uid, "desiredAPIVersion": wanted, "objects": objects}
    body = orjson.dumps({"kind": KIND, "apiVersion": API_VERSION, "request": request})
    try:
        answer = await caller.post(endpoint_of(config), body, TIMEOUT_S)
        converted = read_answer(answer, uid)
    except CallFailed as error:
        raise ConversionFailed(source, f"failed: {error}") from error
    if len(converted) != len(objects):
        raise ConversionFailed(source, f"returned {len(converted)} objects, expected {len(objects)}")
    pairs = zip(objects, converted, strict=True)
    return [_checked(source, index, old, new, wanted) for index, (old, new) in enumerate(pairs)]


def read_answer(data: bytes, uid: str) -> list[Any]:
    """The converted objects in an answer. Raises CallFailed, which says what is wrong with it."""
    try:
        review = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise CallFailed(f"couldn't get version/kind; json parse error: {error}") from error
    if not isinstance(review, dict):
        raise CallFailed("couldn't get version/kind; json parse error: the answer is not an object")
    given = f"{review.get('apiVersion', '')}, Kind={review.get('kind', '')}"
    if given != f"{API_VERSION}, Kind={KIND}":
        raise CallFailed(f"expected webhook response of {API_VERSION}, Kind={KIND}, got {given}")
    response = review.get("response")
    if not isinstance(response, dict):
        raise CallFailed("no response provided")
    if response.get("uid") != uid:
        raise CallFailed(f'expected response.uid="{uid}", got {orjson.dumps(response.get("uid", "")).decode()}')
    result = response.get("result")
    status = result.get("status") if isinstance(result, dict) else ""
    if status != "Success":
        message = result.get("message") if isinstance(result, dict) else ""
        raise CallFailed(str(message) if message else f"response.result.status was '{status or ''}', not 'Success'")
    converted = response.get("convertedObjects")
    if not isinstance(converted, list):
        raise CallFailed("response.convertedObjects: expected a list")
    return converted


def _checked(source: str, index: int, old: Mapped, new: Any, wanted: str) -> Object:
    """The converted object with the metadata that conversion may not touch. Raises ConversionFailed."""
    where = f"returned invalid converted object at index {index}: "
    if not isinstance(new, dict):
        raise ConversionFailed(source, f"{where}it is not an object")
    if new.get("apiVersion") != wanted:
        received = new.get("apiVersion", "")
        raise ConversionFailed(source, f"{where}invalid groupVersion (expected {wanted}, received {received})")
    if new.get("kind") != old["kind"]:
        raise ConversionFailed(source, f"{where}must have the same kind: {new.get('kind')} != {old['kind']}")
    meta, before = new.get("metadata"), old["metadata"]
    if not isinstance(meta, dict):
        raise ConversionFailed(source, f"{where}metadata is missing")
    for field, what in (("name", "name"), ("namespace", "namespace"), ("uid", "UID")):
        if (meta.get(field) or "") != (before.get(field) or ""):
            change = f"{before.get(field, '')} != {meta.get(field, '')}"
            raise ConversionFailed(source, f"{where}must have the same {what}: {change}")
    return {**new, "metadata": _metadata(source, where, before, meta)}


def _metadata(source: str, where: str, before: Mapped, given: Mapped) -> Object:
    kept = {name: value for name, value in before.items() if name not in CHANGEABLE}
    for field in CHANGEABLE:
        values = given.get(field)
        if not values:
            continue
        is_map = isinstance(values, dict) and all(isinstance(value, str) for value in values.values())
        if not is_map:
            raise ConversionFailed(source, f"{where}invalid metadata: {field}: expected a map of strings")
        kept[field] = values
    return kept
