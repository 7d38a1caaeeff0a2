"""The field types that models share, and the marks that a generated schema carries beside a type.

A model says what a field is (`Quantity`, `IntOrString`, `Int32`) and how its list merges (`list_map("name")`); the
generator turns both into the structural schema from which the API server serves the kind. Nothing here is a rule of
one kind.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

QUANTITY_PATTERN = r"^([+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE][+-]?[0-9]+))?$"
"""What `quantity.parse` reads, as a schema can say it."""

DNS_LABEL_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
DNS_SUBDOMAIN_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
SHA256_PATTERN = r"^[0-9a-f]{64}$"


def _number_as_text(value: object) -> object:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


# The range of a format is the schema's business: a bound here would hide a tighter one that a field sets beside it.
Int32 = Annotated[int, Field(json_schema_extra={"format": "int32"})]
Int64 = Annotated[int, Field(json_schema_extra={"format": "int64"})]
Count = Annotated[int, Field(ge=0, json_schema_extra={"format": "int32"})]
"""A whole number that is never negative. A field with another lower bound is an Int32."""
Port = Annotated[int, Field(ge=1, le=65535, json_schema_extra={"format": "int32"})]

Quantity = Annotated[
    str,
    BeforeValidator(_number_as_text),
    Field(json_schema_extra={"x-kubernetes-int-or-string": True, "format": "quantity", "pattern": QUANTITY_PATTERN}),
]
"""An amount with a unit suffix, e.g. `500m` or `2Gi`; a bare number on the wire is read as text."""

IntOrString = Annotated[int | str, Field(json_schema_extra={"x-kubernetes-int-or-string": True})]
"""A number, or a name or percentage that stands for one, e.g. `25%` or a port's name."""

Base64 = Annotated[str, Field(json_schema_extra={"format": "byte"})]
"""Bytes, in base64 on the wire."""


def list_map(*keys: str, merge_key: str = "") -> dict[str, Any]:
    """A list whose items are identified by `keys`; strategic merge patch knows them by `merge_key` (default: the first)."""
    return {
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": list(keys),
        "x-kubernetes-patch-merge-key": merge_key or keys[0],
        "x-kubernetes-patch-strategy": "merge",
    }


LIST_SET: dict[str, Any] = {"x-kubernetes-list-type": "set"}
"""A list of scalars without repetition."""

LIST_ATOMIC: dict[str, Any] = {"x-kubernetes-list-type": "atomic"}
"""A list that is replaced as a whole."""

LIST_SET_MERGED: dict[str, Any] = {**LIST_SET, "x-kubernetes-patch-strategy": "merge"}
"""A list of scalars to which a strategic merge patch adds."""

MAP_ATOMIC: dict[str, Any] = {"x-kubernetes-map-type": "atomic"}
"""A mapping that is replaced as a whole by server-side apply."""

RETAIN_KEYS: dict[str, Any] = {"x-kubernetes-patch-strategy": "retainKeys"}
"""A mapping of which a strategic merge patch may name the keys that stay."""

PRESERVE_UNKNOWN: dict[str, Any] = {"x-kubernetes-preserve-unknown-fields": True}
"""A value of any shape: nothing below it is pruned."""

DEFAULT_EMPTY: dict[str, Any] = {"default": {}}
"""An object the server writes even when nobody gave it, so that the defaults inside it are seen."""


WRITTEN = "x-written"
"""Mark of such a field between the model and the generator; it does not appear in the schema. False marks one with a
default that the schema does not write, since somebody else does."""


def written(value: bool | int | str) -> Any:
    """A field with a default that the server writes although it says nothing: typed clients insist on finding it."""
    return Field(default=value, json_schema_extra={WRITTEN: True})
