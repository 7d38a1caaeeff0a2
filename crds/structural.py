"""From models to structural OpenAPI v3 schemas, as CustomResourceDefinitions carry them.

pydantic writes JSON Schema with references and unions; a structural schema has neither. What a field means is read
from the string that follows it in the source, so that reading the model and reading the API is reading the same words.
Used when schemas are generated, never while Stark runs.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from .fields import WRITTEN
from .meta import KubeObject, Model

Schema = dict[str, Any]

KEYWORDS = (
    "description",
    "type",
    "format",
    "default",
    "enum",
    "pattern",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
)
"""What is carried over as it is, in the order in which it is written."""


def structural_schema(kind: type[KubeObject]) -> Schema:
    """The schema of a kind: apiVersion, kind and metadata as a structural schema may say them, then the kind's own."""
    raw = kind.model_json_schema(by_alias=True)
    schema = _convert(raw, raw.get("$defs", {}), kind)
    own = {name: value for name, value in schema["properties"].items() if name != "metadata"}
    schema["properties"] = {
        "apiVersion": {"description": "Group and version of the kind.", "type": "string"},
        "kind": {"description": "The kind.", "type": "string"},
        "metadata": {"description": field_docs(kind)["metadata"], "type": "object"},
        **own,
    }
    return schema


VOCABULARY = __package__ + "."


def models() -> dict[str, type[Model]]:
    """Every model of the vocabulary by its class name, which is unique. Other roots may have views of their own."""
    found: dict[str, type[Model]] = {}
    for model in _subclasses(Model):
        if not model.__module__.startswith(VOCABULARY):
            continue
        assert found.setdefault(model.__name__, model) is model, model
    return found


def _subclasses(model: type[Model]) -> Iterator[type[Model]]:
    for below in model.__subclasses__():
        yield below
        yield from _subclasses(below)


def _convert(raw: Mapping[str, Any], definitions: Mapping[str, Any], model: type[Model] | None = None) -> Schema:
    if "$ref" in raw:
        name = raw["$ref"].removeprefix("#/$defs/")
        return {**_convert(definitions[name], definitions, models()[name]), **_marks(raw)}
    options = [option for option in raw.get("anyOf", ()) if option != {"type": "null"}]
    if len(options) == 1:
        return {**_convert(options[0], definitions), **_marks(raw)}
    if raw.get("x-kubernetes-int-or-string"):
        marks = {key: value for key, value in _marks(raw).items() if key != "type"}
        return {**marks, "anyOf": [{"type": "integer"}, {"type": "string"}]}
    assert not options, raw
    schema = _marks(raw)
    if "const" in raw:
        schema["enum"] = [raw["const"]]
    if "properties" in raw:
        assert model is not None, raw
        schema["properties"] = _properties(raw["properties"], definitions, model)
    if raw.get("required"):
        schema["required"] = list(raw["required"])
    if "items" in raw:
        schema["items"] = _convert(raw["items"], definitions)
    if isinstance(raw.get("additionalProperties"), dict):
        schema["additionalProperties"] = _convert(raw["additionalProperties"], definitions)
    return schema


def _properties(raw: Mapping[str, Any], definitions: Mapping[str, Any], model: type[Model]) -> Schema:
    docs = field_docs(model)
    return {
        name: {"description": docs[name], **_without(_convert(field, definitions), "description")}
        for name, field in raw.items()
    }


def _marks(raw: Mapping[str, Any]) -> Schema:
    """The keywords and extensions of one place."""
    marks = {key: raw[key] for key in KEYWORDS if key in raw}
    if "description" in marks:
        marks["description"] = " ".join(marks["description"].split())
    if "default" in marks and not _is_written(raw):
        del marks["default"]
    return marks | {key: value for key, value in raw.items() if key.startswith("x-") and key != WRITTEN}


def _is_written(raw: Mapping[str, Any]) -> bool:
    """Whether the schema writes a default: one that says something, and one that is marked so; not one marked otherwise."""
    return bool(raw.get(WRITTEN, raw["default"] or raw["default"] == {}))


def _without(schema: Schema, *keys: str) -> Schema:
    return {key: value for key, value in schema.items() if key not in keys}


def field_docs(model: type[Model]) -> dict[str, str]:
    """Wire name of each field -> what it means, on one line."""
    texts: dict[str, str] = {}
    for ancestor in reversed(model.__mro__):
        if issubclass(ancestor, Model) and ancestor is not Model:
            texts |= _attribute_texts(ancestor.__module__).get(ancestor.__name__, {})
    fields = model.model_fields
    missing = [name for name in fields if name not in texts]
    assert not missing, f"{model.__name__}: say what {', '.join(missing)} means"
    return {(field.alias or name): texts[name] for name, field in fields.items()}


@cache
def _attribute_texts(module: str) -> dict[str, dict[str, str]]:
    """Class -> attribute -> the string that follows it in the module's source."""
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    found: dict[str, dict[str, str]] = {}
    for node in tree.body:
        if not isinstance(node, ast.ClassDef):
            continue
        texts = found.setdefault(node.name, {})
        for statement, following in zip(node.body, node.body[1:], strict=False):
            if (
                isinstance(statement, ast.AnnAssign)
                and isinstance(statement.target, ast.Name)
                and isinstance(following, ast.Expr)
                and isinstance(following.value, ast.Constant)
            ):
                texts[statement.target.id] = " ".join(str(following.value.value).split())
    return found
