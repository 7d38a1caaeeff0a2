"""Objects as rows (meta.k8s.io Table) and as bare metadata (PartialObjectMetadata)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from ..resources import Resource


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
    """A Table of `objects`. `include_object` is None, Metadata or Object; `list_meta` the list's resourceVersion, continue
    and remainingItemCount. `header=False` leaves columnDefinitions empty: the second and later events of a watch.
    For a watch event: `table(resource, [obj], now=now, header=first)` as the event's object. Raises BadRequest for
    another `include_object`.
    """
    raise NotImplementedError


def partial_metadata(obj: Mapping[str, Any], version: str = "v1") -> dict[str, Any]:
    """The object's metadata as a PartialObjectMetadata."""
    raise NotImplementedError


def partial_metadata_list(
    objects: Iterable[Mapping[str, Any]], list_meta: Mapping[str, Any], version: str = "v1"
) -> dict[str, Any]:
    """A PartialObjectMetadataList of the objects."""
    raise NotImplementedError
