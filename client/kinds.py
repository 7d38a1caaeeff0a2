"""How objects of one kind are addressed and decoded, for kinds with a model and for kinds known only by discovery.

Every call of the client takes either a model class (`Pod`) or a `Kind`: `unstructured(resource)` gives plain mappings,
`metadata_only(resource)` gives `PartialObject` and makes the server send nothing but metadata, which is what the
garbage collector needs of every kind there is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Generic, TypeAlias, TypeVar, cast

import orjson
from pydantic import Field

from stark.crds.meta import KubeObject, Model, ObjectMeta, ResourceDef, decode

T = TypeVar("T")

JSON = "application/json"
_PARTIAL = "application/json;as={};g=meta.k8s.io;v=v1,application/json"


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """One served kind and what its objects become here."""

    resource: ResourceDef
    decode: Callable[[bytes | dict[str, Any]], T]
    accept: str = JSON
    accept_list: str = JSON


AnyKind: TypeAlias = type[T] | Kind[T]
"""A model class or a `Kind`: what the client's calls and the informers take."""


class PartialObject(Model):
    """An object's identity and metadata without the rest (meta/v1 PartialObjectMetadata)."""

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = Field(default_factory=ObjectMeta)

    @property
    def key(self) -> str:
        """`namespace/name`, or `name` for a cluster-scoped object."""
        meta = self.metadata
        return f"{meta.namespace}/{meta.name}" if meta.namespace else meta.name


def kind_of(kind: AnyKind[T]) -> Kind[T]:
    """The `Kind` of a model class; a `Kind` is returned as it is."""
    return kind if isinstance(kind, Kind) else _kind_of_model(cast("Any", kind))


@lru_cache(maxsize=512)  # more than one program has model classes
def _kind_of_model(model: type[Any]) -> Kind[Any]:
    if not issubclass(model, KubeObject):
        raise TypeError(f"{model.__name__} is no KubeObject; use unstructured() or metadata_only() for a ResourceDef")
    return Kind(model.RESOURCE, partial(decode, kind=model))


def unstructured(resource: ResourceDef) -> Kind[dict[str, Any]]:
    """Objects as the mappings that were sent, for kinds without a model."""
    return Kind(resource, _as_mapping)


def metadata_only(resource: ResourceDef) -> Kind[PartialObject]:
    """Objects reduced to their metadata by the server."""
    return Kind(
        resource,
        _as_partial,
        accept=_PARTIAL.format("PartialObjectMetadata"),
        accept_list=_PARTIAL.format("PartialObjectMetadataList"),
    )


def _as_mapping(data: bytes | dict[str, Any]) -> dict[str, Any]:
    return data if isinstance(data, dict) else cast("dict[str, Any]", orjson.loads(data))


def _as_partial(data: bytes | dict[str, Any]) -> PartialObject:
    return PartialObject.model_validate(data) if isinstance(data, dict) else PartialObject.model_validate_json(data)
