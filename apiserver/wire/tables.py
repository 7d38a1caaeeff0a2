"""Objects as rows (meta.k8s.io Table) and as bare metadata (PartialObjectMetadata).

Kubernetes' own kinds have computed cells (`stark.crds.printers`); every other kind has JSON path columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

import orjson

from stark.crds.printers import find_printer, human_age, row_conditions
from stark.crds.resource import Column

from ..errors import BadRequest
from ..resources import Resource
from .jsonpath import JsonPathError, compile_path

META = "meta.k8s.io"
INTEGERS_END = 1 << 63
"""The first number too large for an integer cell. A field that is a number may be larger: 1e300."""
INCLUDED = ("None", "Metadata", "Object")
NAME_COLUMN = Column(
    "Name",
    "string",
    ".metadata.name",
    "Name must be unique within a namespace. Is required when creating resources, although some resources may allow a "
    "client to request the generation of an appropriate name automatically. Name is primarily intended for creation "
    "idempotence and configuration definition. Cannot be updated.",
    "name",
)
AGE_COLUMN = Column("Age", "date", ".metadata.creationTimestamp")

Cells = Callable[[Mapping[str, Any], datetime], list[Any]]


def table(
    resource: Resource,
    objects: Iterable[Mapping[str, Any]],
    *,
    now: datetime,
    include_object: str = "Metadata",
    list_meta: Mapping[str, Any] | None = None,
    version: str = "v1",
    header: bool = True,
) -> dict[str, Any]:
    """A Table of `objects`.

    `include_object` is None, Metadata or Object (or empty: Metadata); `list_meta` the list's resourceVersion, continue and
    remainingItemCount. `header=False` leaves the column definitions out: the second and later events of a watch. A watch
    event's object is `table(resource, [obj], now=now, header=first)`. Raises BadRequest for another `include_object`.
    """
    include = include_object or "Metadata"
    if include not in INCLUDED:
        raise BadRequest(f'unrecognized includeObject value: "{include_object}"')
    columns, cells = _printer(resource)
    return {
        "kind": "Table",
        "apiVersion": f"{META}/{version}",
        "metadata": dict(list_meta or {}),
        "columnDefinitions": [_definition(column) for column in columns] if header else [],
        "rows": [_row(resource, obj, cells(obj, now), include, version) for obj in objects],
    }


def watch_metadata(obj: Mapping[str, Any]) -> dict[str, Any]:
    """The `list_meta` of a watch event's table: the object's own resourceVersion."""
    revision = (obj.get("metadata") or {}).get("resourceVersion")
    return {"resourceVersion": revision} if revision else {}


def _printer(resource: Resource) -> tuple[tuple[Column, ...], Cells]:
    known = None if resource.custom else find_printer(resource.group, resource.kind)
    if known is not None:
        return known.columns, known.cells
    columns = (NAME_COLUMN, *(resource.columns or (AGE_COLUMN,)))
    return columns, lambda obj, now: [cell(column, obj, now) for column in columns]


def _definition(column: Column) -> dict[str, Any]:
    return {
        "name": column.name,
        "type": column.type,
        "format": column.format,
        "description": column.description,
        "priority": column.priority,
    }


def _row(resource: Resource, obj: Mapping[str, Any], cells: list[Any], include: str, version: str) -> dict[str, Any]:
    row: dict[str, Any] = {"cells": cells}
    conditions = [] if resource.custom else row_conditions(resource.group, resource.kind, obj)
    if conditions:
        row["conditions"] = conditions
    if include == "Object":
        row["object"] = obj
    else:
        row["object"] = partial_metadata(obj, version) if include == "Metadata" else None
    return row


def cell(column: Column, obj: Mapping[str, Any], now: datetime) -> Any:
    """The value of a JSON path column, converted to the column's type; None (shown as `<none>`) when there is none."""
    try:
        value = compile_path(column.json_path).first(obj)
    except JsonPathError:
        return None
    if value is None:
        return None
    match column.type:
        case "date":
            return human_age(value, now) if isinstance(value, str) else "<unknown>"
        case "integer":
            return int(value) if _is_number(value) and abs(value) < INTEGERS_END else None
        case "number":
            return value if _is_number(value) else None
        case "boolean":
            return value if isinstance(value, bool) else None
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def partial_metadata(obj: Mapping[str, Any], version: str = "v1") -> dict[str, Any]:
    """The object's metadata as a PartialObjectMetadata."""
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": f"{META}/{version}",
        "metadata": obj.get("metadata") or {},
    }


def partial_metadata_list(
    objects: Iterable[Mapping[str, Any]], list_meta: Mapping[str, Any], version: str = "v1"
) -> dict[str, Any]:
    """A PartialObjectMetadataList of the objects."""
    return {
        "kind": "PartialObjectMetadataList",
        "apiVersion": f"{META}/{version}",
        "metadata": dict(list_meta),
        "items": [partial_metadata(obj, version) for obj in objects],
    }
