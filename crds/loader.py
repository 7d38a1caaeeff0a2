"""The built-in kinds as the API server gets them: generated definitions, read from disk once, without any model.

`schema/*.yaml` is for people and for other clusters; the same definitions stand in one JSON file beside them, because
that one is read in a tenth of the time. Free of pydantic.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from .strategic import MERGE_SCALARS, RETAIN_KEYS, MergeKeys

SCHEMA_DIR = Path(__file__).parent / "schema"
INDEX = "kinds.json"

METADATA_MERGE_KEYS: MergeKeys = {"metadata.ownerReferences": "uid", "metadata.finalizers": MERGE_SCALARS}
"""Every object's metadata merges so; schemas do not say it, because metadata is implied in them."""


def load_builtin() -> list[dict[str, Any]]:
    """Every kind whose objects are stored, in CustomResourceDefinition form (`spec.group` is "" for the core group).

    Beside `status` and `scale`, a version's `subresources` name the other ones: `log`, `binding`, `bundles` ...
    """
    return [body for body in _definitions() if body["x-stark"]["stored"]]


def load_computed() -> list[dict[str, Any]]:
    """Kinds that are never stored and only read (`x-stark.verbs`), in the same form."""
    return [body for body in _definitions() if not body["x-stark"]["stored"] and body["x-stark"]["verbs"]]


def load_subresource_kinds() -> list[dict[str, Any]]:
    """Kinds that are only the body of a subresource (Binding, Scale), in the same form."""
    return [body for body in _definitions() if not body["x-stark"]["stored"] and not body["x-stark"]["verbs"]]


def _definitions() -> list[dict[str, Any]]:
    # Read anew for every caller: the result is theirs to change.
    loaded: list[dict[str, Any]] = json.loads((SCHEMA_DIR / INDEX).read_bytes())
    return loaded


def merge_keys(schema: Mapping[str, Any]) -> dict[str, str]:
    """How lists below this schema merge, as `strategic` wants it: path -> key, metadata's included."""
    return {**METADATA_MERGE_KEYS, **dict(_merge_keys(schema, ()))}


def _merge_keys(schema: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    strategy = schema.get("x-kubernetes-patch-strategy", "")
    if "merge" in strategy.split(",") and schema.get("type") == "array":
        yield ".".join(path), schema.get("x-kubernetes-patch-merge-key", MERGE_SCALARS)
    elif "retainKeys" in strategy.split(","):
        yield ".".join(path), RETAIN_KEYS
    for name, field in (schema.get("properties") or {}).items():
        yield from _merge_keys(field, (*path, name))
    if isinstance(schema.get("items"), Mapping):
        yield from _merge_keys(schema["items"], path)
    if isinstance(schema.get("additionalProperties"), Mapping):
        yield from _merge_keys(schema["additionalProperties"], (*path, "*"))


@cache
def merge_keys_of(group: str, kind: str) -> MergeKeys:
    """How a built-in kind's lists merge; only metadata's for a kind that is not built in."""
    for body in _definitions():
        if (body["spec"]["group"], body["spec"]["names"]["kind"]) == (group, kind):
            return merge_keys(body["spec"]["versions"][0]["schema"]["openAPIV3Schema"])
    return METADATA_MERGE_KEYS
