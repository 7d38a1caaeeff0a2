"""One schema, compiled: what the registry calls for every object that is written.

The usual object is right, and goes through Rust once. An object that Rust refuses is shaped and walked in Python, which
finds every cause and has the last word.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import islice
from typing import Any

import orjson
from pydantic_core import SchemaValidator, ValidationError

from ..errors import BadRequest, Cause
from . import wording
from .checks import OBJECT_DEPTH_MAX, causes, too_deep
from .effort import WORK_MAX, dearest, too_dear
from .metadata import imply, with_rules
from .nodes import MISSING, Node, Reader, walk
from .rust import build
from .shape import UNKNOWN_FIELDS_MAX, shape, unknown

CAUSES_MAX = 256
"""Causes that are reported for one object; whoever has more learns of the rest on the next try."""

TOO_DEAR = f"must take less work to match with its schema's patterns than {WORK_MAX} characters times their length"


class SchemaInvalid(ValueError):
    """The object does not satisfy its schema; `causes` has every reason, in Kubernetes' wording."""

    def __init__(self, causes: Sequence[Cause]) -> None:
        super().__init__("; ".join(f"{cause.field}: {cause.message}" for cause in causes))
        self.causes = tuple(causes)


class CompiledSchema:
    """A structural schema, ready to admit objects. Make one with `compile_schema`."""

    def __init__(self, root: Node) -> None:
        self._root = root
        self._dearest = dearest(root)
        self._pruning = build(root, "ignore")

    @cached_property
    def _forbidding(self) -> SchemaValidator:
        """Built when first asked for: a schema whose kind is only read never needs it."""
        return build(self._root, "forbid")

    def admit(self, obj: dict[str, Any]) -> dict[str, Any]:
        """The object pruned, defaulted and validated: a new dict, `obj` unchanged. Raises SchemaInvalid with all causes."""
        self._require_bearable(obj)
        try:
            admitted: dict[str, Any] = self._pruning.validate_python(obj)
        except ValidationError:
            return self._judge(obj)
        return admitted

    def admit_bytes(self, data: bytes) -> dict[str, Any]:
        """Same from JSON bytes. Raises BadRequest when they are not a JSON object, SchemaInvalid as `admit`."""
        try:
            obj = orjson.loads(data)
        except orjson.JSONDecodeError as error:
            raise BadRequest(f"the object provided is unrecognized: {error}") from error
        if not isinstance(obj, dict):
            raise BadRequest(f"the object provided is unrecognized: it is of type {wording.type_name(obj)}, not object")
        return self.admit(obj)

    def admit_noting_unknown(self, obj: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """`admit` and `unknown_fields` together, in one pass when there is nothing unknown (the usual case)."""
        self._require_bearable(obj)
        try:
            admitted: dict[str, Any] = self._forbidding.validate_python(obj)
        except ValidationError:
            return self.admit(obj), self.unknown_fields(obj)
        return admitted, []

    def admit_update(self, new: dict[str, Any], old: Mapping[str, Any]) -> dict[str, Any]:
        """`admit`, but errors at values that `old` had already are let pass (ratcheting)."""
        if self._is_too_dear(new):
            return self._only_metadata(new, old)
        try:
            admitted: dict[str, Any] = self._pruning.validate_python(new)
        except ValidationError:
            # What is stored may be older than a default of today's schema: it counts as having been there.
            return self._judge(new, shape(self._root, dict(old)))
        return admitted

    def shape(self, obj: dict[str, Any]) -> dict[str, Any]:
        """The object pruned and defaulted, right or not: for what was stored under another schema and is only read."""
        if self._is_too_dear(obj):
            unjudged: dict[str, Any] = shape(self._root, obj)
            return unjudged
        try:
            shaped: dict[str, Any] = self._pruning.validate_python(obj)
        except ValidationError:
            shaped = shape(self._root, obj)
        return shaped

    def unknown_fields(self, obj: Mapping[str, Any]) -> list[str]:
        """Paths of the fields that pruning drops, e.g. `spec.containers[0].imagee`, in document order."""
        return list(islice(unknown(self._root, obj), UNKNOWN_FIELDS_MAX))

    def _is_too_dear(self, obj: Mapping[str, Any]) -> bool:
        return too_dear(self._root, obj, self._dearest)

    def _require_bearable(self, obj: Mapping[str, Any]) -> None:
        if self._is_too_dear(obj):
            raise SchemaInvalid([wording.invalid("", "", TOO_DEAR)])

    def _only_metadata(self, new: dict[str, Any], old: Mapping[str, Any]) -> dict[str, Any]:
        """What got its pattern after it was stored can no longer be judged; yet a finalizer must come off it."""
        shaped: dict[str, Any] = shape(self._root, new)
        if {**shaped, "metadata": None} != {**shape(self._root, dict(old)), "metadata": None}:
            self._require_bearable(new)
        found = list(islice(causes(self._root.properties["metadata"], shaped.get("metadata"), "metadata"), CAUSES_MAX))
        if found:
            raise SchemaInvalid(found)
        return shaped

    def _judge(self, obj: dict[str, Any], old: Any = MISSING) -> dict[str, Any]:
        """The verdict on what Rust refused: the shaped object, or every cause."""
        shaped = shape(self._root, obj)
        if too_deep(shaped):
            raise SchemaInvalid([wording.invalid("", "", f"must not be nested deeper than {OBJECT_DEPTH_MAX} levels")])
        found = list(islice(causes(self._root, shaped, "", old), CAUSES_MAX))
        if found:
            raise SchemaInvalid(found)
        assert isinstance(shaped, dict), type(shaped)
        return shaped


def compile_schema(schema: Mapping[str, Any]) -> CompiledSchema:
    """Compile the schema of a whole object; apiVersion, kind and metadata are implied. The caller keeps the result.

    Raises SchemaTooLarge, or pydantic_core.SchemaError for a pattern that is no regular expression: `check_structural`
    finds both first.
    """
    return CompiledSchema(complete(schema))


def complete(schema: Mapping[str, Any]) -> Node:
    """The node of a whole object: metadata implied, embedded objects completed, every default with those inside it."""
    reader = Reader()
    root = imply(reader.read(schema))
    for node in walk(root):
        if node.embedded:
            imply(node).required += tuple(name for name in ("apiVersion", "kind") if name not in node.required)
        template = node.properties.get("metadata") if node is not root else None
        if template is not None and {"labels", "annotations", "name"} <= template.properties.keys():
            # A template's metadata, spelled out: its labels are to be those of an object.
            with_rules(template)
        if node.default is not None:
            # Children come first, so that the default of an object is completed by finished ones.
            node.default = orjson.dumps(shape(node, orjson.loads(node.default)))
    return root
