"""The paths of an OpenAPI document: every verb of every kind, with the parameters that clients look for."""

from __future__ import annotations

from typing import Any

from ..resources import ALL_VERBS, Resource
from .discovery import SUBRESOURCES, Subresource
from .openapi_schemas import DELETE_OPTIONS_NAME, PATCH_NAME, STATUS_NAME, gvk, list_name, reference, schema_name

_MERGE_TYPES = ("application/json-patch+json", "application/merge-patch+json")
_STRATEGIC = "application/strategic-merge-patch+json"
_APPLY = "application/apply-patch+yaml"

ACTIONS = {"get": "get", "put": "put", "post": "post", "patch": "patch", "delete": "delete"}


def _query(name: str, type_: str, description: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "query",
        "description": description,
        "schema": {"type": type_, "uniqueItems": True},
    }


def _in_path(name: str) -> dict[str, Any]:
    described = "name of the object" if name == "name" else "object name and auth scope, such as for teams and projects"
    return {"name": name, "in": "path", "required": True, "description": described, "schema": {"type": "string"}}


_PRETTY = _query("pretty", "string", "Indent the answer.")
_WRITE = [
    _query("dryRun", "string", "All: do everything but store the outcome."),
    _query("fieldManager", "string", "Who is changing the object."),
    _query("fieldValidation", "string", "What to do about unknown and duplicate fields: Ignore, Warn or Strict."),
]
_FORCE = _query("force", "boolean", "Take over fields that another manager owns. Only for apply patches.")
_LIST = [
    _query("allowWatchBookmarks", "boolean", "Send bookmarks in a watch."),
    _query("continue", "string", "Token of the next page."),
    _query("fieldSelector", "string", "Only objects whose fields are so."),
    _query("labelSelector", "string", "Only objects whose labels are so."),
    _query("limit", "integer", "Objects of one page."),
    _query("resourceVersion", "string", "How fresh the answer must be."),
    _query("resourceVersionMatch", "string", "How resourceVersion is meant."),
    _query("sendInitialEvents", "boolean", "Begin a watch with what there is."),
    _query("timeoutSeconds", "integer", "Seconds after which a watch ends."),
    _query("watch", "boolean", "Watch instead of listing."),
]
_DELETE = [
    _query("dryRun", "string", "All: do everything but delete."),
    _query("gracePeriodSeconds", "integer", "Seconds to stop in; 0 is at once."),
    _query("propagationPolicy", "string", "Orphan, Background or Foreground."),
]


def paths_of(resource: Resource) -> dict[str, Any]:
    """The path items of one kind and its subresources."""
    scope = "/namespaces/{namespace}" if resource.namespaced else ""
    collection = f"{resource.root}{scope}/{resource.plural}"
    item = f"{collection}/{{name}}"
    verbs = resource.verbs or ALL_VERBS
    paths: dict[str, Any] = {collection: _collection(resource, verbs)}
    if "get" in verbs:
        paths[item] = _item(resource, verbs)
    if resource.namespaced and "list" in verbs:
        everywhere = f"{resource.root}/{resource.plural}"
        paths[everywhere] = {"get": _operation(resource, "list", "ForAllNamespaces", _LIST, list_name(resource))}
    for name in resource.subresources:
        paths[f"{item}/{name}"] = _subresource(resource, name)
    return paths


def _place(resource: Resource, *, named: bool) -> list[dict[str, Any]]:
    names = (*(("namespace",) if resource.namespaced else ()), *(("name",) if named else ()))
    return [*(_in_path(name) for name in names), _PRETTY]


def _collection(resource: Resource, verbs: tuple[str, ...]) -> dict[str, Any]:
    item: dict[str, Any] = {"parameters": _place(resource, named=False)}
    if "list" in verbs:
        item["get"] = _operation(resource, "list", "", _LIST, list_name(resource))
    if "create" in verbs:
        body = {"*/*": {"schema": reference(schema_name(resource))}}
        item["post"] = {
            **_operation(resource, "post", "", _WRITE, schema_name(resource)),
            "requestBody": {"content": body},
        }
    if "deletecollection" in verbs:
        item["delete"] = _operation(resource, "deletecollection", "", [*_DELETE, *_LIST[:8]], STATUS_NAME)
    return item


def _item(resource: Resource, verbs: tuple[str, ...]) -> dict[str, Any]:
    own = schema_name(resource)
    options = {"*/*": {"schema": reference(DELETE_OPTIONS_NAME)}}
    read = {"parameters": _place(resource, named=True), "get": _operation(resource, "get", "", [], own)}
    if "update" not in verbs:
        return read
    return {
        **read,
        "put": _written(resource, "put", "", own),
        "patch": _patched(resource, "", own),
        "delete": {
            **_operation(resource, "delete", "", _DELETE, STATUS_NAME),
            "requestBody": {"content": options},
        },
    }


def _written(resource: Resource, action: str, suffix: str, schema: str) -> dict[str, Any]:
    content = {"*/*": {"schema": reference(schema)}}
    return {**_operation(resource, action, suffix, _WRITE, schema), "requestBody": {"content": content}}


def _patched(resource: Resource, suffix: str, schema: str) -> dict[str, Any]:
    """A kind that users defined has no strategic merge: kubectl reads that off this list."""
    types = (*_MERGE_TYPES, _APPLY) if resource.custom else (*_MERGE_TYPES, _STRATEGIC, _APPLY)
    content = {media_type: {"schema": reference(PATCH_NAME)} for media_type in types}
    operation = _operation(resource, "patch", suffix, [*_WRITE, _FORCE], schema)
    return {**operation, "requestBody": {"content": content}}


def _subresource(resource: Resource, name: str) -> dict[str, Any]:
    """A subresource with a kind of its own is described by name only: its schema lives in another group's document."""
    known = SUBRESOURCES.get(name, Subresource())
    own = "" if known.kind else schema_name(resource)
    suffix = name.capitalize()
    item: dict[str, Any] = {"parameters": _place(resource, named=True)}
    for verb in known.verbs:
        method = {"create": "post", "update": "put"}.get(verb, verb)
        match method:
            case "patch":
                item[method] = _patched(resource, suffix, own or PATCH_NAME)
            case "put" | "post":
                item[method] = _written(resource, method, suffix, own or PATCH_NAME)
            case _:
                item[method] = _operation(resource, method, suffix, [], own)
        if known.kind:
            kind = {"group": known.group, "kind": known.kind, "version": known.version}
            item[method]["x-kubernetes-group-version-kind"] = kind
    return item


def _operation(
    resource: Resource, action: str, suffix: str, parameters: list[dict[str, Any]], schema: str
) -> dict[str, Any]:
    group = "".join(part.capitalize() for part in (resource.group or "core").split("."))
    scope = "Namespaced" if resource.namespaced and suffix != "ForAllNamespaces" else ""
    names = {"put": "replace", "post": "create", "get": "read", "deletecollection": "deleteCollection"}
    verb = names.get(action, action)
    answer: dict[str, Any] = {"description": "OK"}
    if schema:
        answer["content"] = {"application/json": {"schema": reference(schema)}}
    operation: dict[str, Any] = {
        "operationId": f"{verb}{group}{resource.version.capitalize()}{scope}{resource.kind}{suffix}",
        "tags": [f"{resource.group or 'core'}_{resource.version}"],
        "responses": {"200": answer},
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": gvk(resource),
    }
    if parameters:
        operation["parameters"] = parameters
    return operation
