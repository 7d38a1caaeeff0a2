"""The levels and schemas that come with us (`manifests/flowcontrol/`), and when a stored one must be made like them. Pure.

Mandatory ones are always as they are here. A suggested one is kept as it is here while its annotation says so; an object
without the annotation is ours to keep as long as nobody has changed its spec, which its generation tells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any, Final

import orjson
import yaml

AUTO_UPDATE: Final = "apf.kubernetes.io/autoupdate-spec"
EXEMPT: Final = "exempt"
"""Name of the level and of the schema that nothing limits."""
CATCH_ALL: Final = "catch-all"
"""Name of the level and of the schema for what no other schema matches."""
API_VERSION: Final = "flowcontrol.apiserver.k8s.io/v1"

Object = dict[str, Any]


def _load(name: str) -> tuple[Object, ...]:
    text = (files("stark.manifests") / "flowcontrol" / name).read_text("utf-8")
    return tuple(document for document in yaml.safe_load_all(text) if document)


MANDATORY: Final = _load("mandatory.yaml")
SUGGESTED: Final = _load("suggested.yaml")


def is_mandatory(obj: Mapping[str, Any]) -> bool:
    """Whether it is one of those the server cannot do without."""
    return obj["metadata"].get("name") in (EXEMPT, CATCH_ALL)


def fixed_spec(obj: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The spec a mandatory object must have; None for others. What the exempt level lends is up to its operators."""
    if not is_mandatory(obj):
        return None
    identity = (obj.get("kind"), obj["metadata"]["name"])
    ours = next((each for each in MANDATORY if (each["kind"], each["metadata"]["name"]) == identity), None)
    if ours is None:
        return None
    spec: Mapping[str, Any] = ours["spec"]
    given = (obj.get("spec") or {}).get("exempt")
    return {**spec, "exempt": given} if given and "exempt" in spec else spec


def follows_us(stored: Mapping[str, Any]) -> bool:
    """Whether a stored object of ours is to be kept as it is here."""
    if is_mandatory(stored):
        return True
    told = (stored["metadata"].get("annotations") or {}).get(AUTO_UPDATE)
    return bool(told == "true" if told is not None else stored["metadata"].get("generation", 1) == 1)


def put_right(ours: Object, stored: Mapping[str, Any] | None) -> Object | None:
    """What to store instead of `stored` (None: nothing is there); None when it is as it should be."""
    if stored is None:
        return {**_copy(ours), "metadata": {**ours["metadata"], "annotations": {AUTO_UPDATE: "true"}}}
    follows = follows_us(stored)
    wanted = (fixed_spec(stored) or ours["spec"]) if follows else stored["spec"]
    annotations = {**(stored["metadata"].get("annotations") or {}), AUTO_UPDATE: "true" if follows else "false"}
    metadata = {**stored["metadata"], "annotations": annotations}
    if stored["spec"] == wanted and stored["metadata"] == metadata:
        return None
    return {**stored, "metadata": metadata, "spec": _copy(wanted)}


def _copy(obj: Mapping[str, Any]) -> Object:
    copied: Object = orjson.loads(orjson.dumps(obj))
    return copied


def abandoned(stored: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Stored objects that an earlier version of ours kept and that we no longer have: they go."""
    ours = {(each["kind"], each["metadata"]["name"]) for each in (*MANDATORY, *SUGGESTED)}
    return [
        each
        for each in stored
        if (each["metadata"].get("annotations") or {}).get(AUTO_UPDATE) == "true"
        and (each["kind"], each["metadata"]["name"]) not in ours
    ]
