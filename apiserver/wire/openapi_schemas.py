"""The schemas of an OpenAPI document: every kind, its list, the metadata they share, and the Swagger 2.0 spelling."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..resources import Resource
from ..schema.metadata import OBJECT_META

META_PREFIX = "io.k8s.apimachinery.pkg.apis.meta.v1"
OBJECT_META_NAME = f"{META_PREFIX}.ObjectMeta"
LIST_META_NAME = f"{META_PREFIX}.ListMeta"
STATUS_NAME = f"{META_PREFIX}.Status"
DELETE_OPTIONS_NAME = f"{META_PREFIX}.DeleteOptions"
PATCH_NAME = f"{META_PREFIX}.Patch"

_API_VERSION = {
    "type": "string",
    "description": "APIVersion defines the versioned schema of this representation of an object.",
}
_KIND = {
    "type": "string",
    "description": "Kind is a string value representing the REST resource this object represents. In CamelCase.",
}
_LIST_META: dict[str, Any] = {
    "type": "object",
    "description": "ListMeta describes metadata that lists have.",
    "properties": {
        "resourceVersion": {"type": "string", "description": "The revision at which the list was read."},
        "continue": {"type": "string", "description": "Token to ask for the next page with; empty on the last one."},
        "remainingItemCount": {"type": "integer", "format": "int64", "description": "Items not in this page."},
    },
}
_STATUS: dict[str, Any] = {
    "type": "object",
    "description": "Status is the answer to a call that returns no object.",
    "properties": {
        "apiVersion": _API_VERSION,
        "kind": _KIND,
        "metadata": {"$ref": f"#/components/schemas/{LIST_META_NAME}"},
        "status": {"type": "string", "description": "Success or Failure."},
        "message": {"type": "string", "description": "For people."},
        "reason": {"type": "string", "description": "For programs, e.g. NotFound."},
        "details": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "code": {"type": "integer", "format": "int32", "description": "The HTTP status code."},
    },
    "x-kubernetes-group-version-kind": [{"group": "", "kind": "Status", "version": "v1"}],
}
_DELETE_OPTIONS: dict[str, Any] = {
    "type": "object",
    "description": "DeleteOptions say how to delete.",
    "properties": {
        "apiVersion": _API_VERSION,
        "kind": _KIND,
        "gracePeriodSeconds": {
            "type": "integer",
            "format": "int64",
            "description": "Seconds to stop in; 0 is at once.",
        },
        "propagationPolicy": {"type": "string", "description": "Orphan, Background or Foreground."},
        "dryRun": {"type": "array", "items": {"type": "string"}, "description": "All: check only."},
        "preconditions": {
            "type": "object",
            "description": "What must be so for the deletion to happen.",
            "properties": {"uid": {"type": "string"}, "resourceVersion": {"type": "string"}},
        },
    },
    "x-kubernetes-group-version-kind": [{"group": "", "kind": "DeleteOptions", "version": "v1"}],
}

_SHARED: Mapping[str, Mapping[str, Any]] = {
    OBJECT_META_NAME: {"description": "ObjectMeta is the metadata that every object has.", **OBJECT_META},
    LIST_META_NAME: _LIST_META,
    STATUS_NAME: _STATUS,
    DELETE_OPTIONS_NAME: _DELETE_OPTIONS,
    PATCH_NAME: {"type": "object", "description": "A patch, in the form that Content-Type names."},
}


def reference(name: str) -> dict[str, str]:
    """A `$ref` to a schema of the document."""
    return {"$ref": f"#/components/schemas/{name}"}


def schema_name(resource: Resource) -> str:
    """The kind's name among the schemas: `io.k8s.api.apps.v1.Deployment`, or the group's labels reversed."""
    group = resource.group
    if not resource.custom and (not group or "." not in group):
        return f"io.k8s.api.{group or 'core'}.{resource.version}.{resource.kind}"
    return ".".join((*reversed(group.split(".")), resource.version, resource.kind))


def list_name(resource: Resource) -> str:
    """The name of the schema of the kind's list."""
    return f"{schema_name(resource)}List"


def gvk(resource: Resource, kind: str = "") -> dict[str, str]:
    """Group, version and kind, as the extension x-kubernetes-group-version-kind gives them."""
    return {"group": resource.group, "kind": kind or resource.kind, "version": resource.version}


def schemas_of(resources: Iterable[Resource]) -> dict[str, Any]:
    """`components.schemas`: the kinds, their lists and what they share."""
    schemas: dict[str, Any] = dict(_SHARED)
    for resource in resources:
        schemas[schema_name(resource)] = _object(resource)
        if not resource.verbs or "list" in resource.verbs:
            schemas[list_name(resource)] = _list(resource)
    return schemas


def _object(resource: Resource) -> dict[str, Any]:
    schema = dict(resource.schema)
    own = {key: value for key, value in (schema.get("properties") or {}).items() if key not in _IMPLIED}
    metadata = {"description": "Standard object's metadata.", "allOf": [reference(OBJECT_META_NAME)], "default": {}}
    return {
        **schema,
        "type": "object",
        "properties": {"apiVersion": _API_VERSION, "kind": _KIND, "metadata": metadata, **own},
        "x-kubernetes-group-version-kind": [gvk(resource)],
        **_selectable(resource),
    }


def _selectable(resource: Resource) -> dict[str, Any]:
    """What field selectors may use, which is told of users' kinds only, as in Kubernetes (KEP-4358)."""
    if not resource.custom or not resource.selectable_fields:
        return {}
    return {"x-kubernetes-selectable-fields": [{"fieldPath": path} for path in resource.selectable_fields]}


_IMPLIED = ("apiVersion", "kind", "metadata")


def _list(resource: Resource) -> dict[str, Any]:
    return {
        "type": "object",
        "description": f"{resource.list_kind} is a list of {resource.kind}.",
        "required": ["items"],
        "properties": {
            "apiVersion": _API_VERSION,
            "kind": _KIND,
            "metadata": {"allOf": [reference(LIST_META_NAME)], "default": {}},
            "items": {"type": "array", "items": reference(schema_name(resource))},
        },
        "x-kubernetes-group-version-kind": [gvk(resource, resource.list_kind)],
    }


_V3_ONLY = frozenset({"nullable", "anyOf", "oneOf", "not"})


def as_v2(paths: Mapping[str, Any], schemas: Mapping[str, Any]) -> dict[str, Any]:
    """`paths` and `definitions` in Swagger 2.0: other references, bodies as parameters, no logic, no nullable."""
    return {
        "paths": {path: _path_v2(item) for path, item in paths.items()},
        "definitions": {name: _schema_v2(schema) for name, schema in schemas.items()},
    }


def _schema_v2(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_schema_v2(item) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    if "$ref" in schema:
        return {"$ref": _ref_v2(schema["$ref"])}
    only = schema.get("allOf")
    if isinstance(only, list) and len(only) == 1 and "$ref" in only[0]:
        return {**_kept(schema, ("description",)), "$ref": _ref_v2(only[0]["$ref"])}
    out = {key: _member_v2(key, value) for key, value in schema.items() if key not in _V3_ONLY}
    if schema.get("x-kubernetes-int-or-string") is True:
        out |= {"type": "string", "format": "int-or-string"}
    return out


def _member_v2(key: str, value: Any) -> Any:
    """What is under `properties` are names, not keywords: a field may well be called `not`."""
    if key == "properties":
        return {name: _schema_v2(child) for name, child in value.items()}
    return _schema_v2(value) if key in ("items", "additionalProperties", "allOf") else value


def _kept(schema: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: schema[key] for key in keys if key in schema}


def _ref_v2(reference_v3: str) -> str:
    return reference_v3.replace("#/components/schemas/", "#/definitions/")


def _path_v2(item: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: [_parameter_v2(parameter) for parameter in value] if key == "parameters" else _operation_v2(value)
        for key, value in item.items()
    }


def _parameter_v2(parameter: Mapping[str, Any]) -> dict[str, Any]:
    return {**{key: value for key, value in parameter.items() if key != "schema"}, **parameter["schema"]}


def _operation_v2(operation: Mapping[str, Any]) -> dict[str, Any]:
    out = _kept(operation, ("operationId", "description", "tags"))
    out |= {key: value for key, value in operation.items() if key.startswith("x-")}
    parameters = [_parameter_v2(parameter) for parameter in operation.get("parameters") or ()]
    if "requestBody" in operation:
        content = operation["requestBody"]["content"]
        out["consumes"] = list(content)
        schema = next(iter(content.values()))["schema"]
        parameters.append({"in": "body", "name": "body", "required": True, "schema": _schema_v2(schema)})
    out["parameters"] = parameters
    out["produces"] = ["application/json"]
    out["responses"] = {
        code: {"description": answer["description"], **_answer_v2(answer)}
        for code, answer in operation["responses"].items()
    }
    return out


def _answer_v2(answer: Mapping[str, Any]) -> dict[str, Any]:
    content = answer.get("content")
    return {"schema": _schema_v2(content["application/json"]["schema"])} if content else {}
