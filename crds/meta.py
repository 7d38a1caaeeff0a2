"""What every object has: apiVersion, kind, metadata; and how objects become bytes and bytes become objects.

Models are frozen: an object in an informer's cache is shared by everyone who looked at it, so whoever wants another
one makes a copy (`model_copy(update=...)`). `encode` writes exactly the fields that were set, so an object that was
read and written again comes back as it was. Field names are snake_case here and the wire's camelCase by alias.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, ValidationError

from .fields import LIST_ATOMIC, LIST_SET_MERGED, list_map
from .resource import Column as Column
from .resource import ResourceDef as ResourceDef

ACRONYMS = {
    "ip": "IP",
    "ips": "IPs",
    "id": "ID",
    "uuid": "UUID",
    "cidr": "CIDR",
    "v3": "V3",
    "api": "API",
    "uri": "URI",
}
"""Words the Kubernetes API spells in capitals when they are not the first word: podIP, containerID, openAPIV3Schema."""


def wire_name(name: str) -> str:
    """The wire's spelling of a snake_case field name, e.g. `pod_ip` -> `podIP`."""
    first, *rest = name.rstrip("_").split("_")
    return first + "".join(ACRONYMS.get(word, word[:1].upper() + word[1:]) for word in rest)


def _rfc3339(value: datetime) -> str:
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _rfc3339_micro(value: datetime) -> str:
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


Time = Annotated[datetime, PlainSerializer(_rfc3339, when_used="json")]
"""A moment in UTC with a resolution of one second (meta/v1 Time)."""

MicroTime = Annotated[datetime, PlainSerializer(_rfc3339_micro, when_used="json")]
"""A moment in UTC with a resolution of one microsecond (meta/v1 MicroTime), as leases and events use it."""


class Model(BaseModel):
    """Base of everything that travels: camelCase on the wire, unknown fields dropped, never changed in place."""

    model_config = ConfigDict(
        alias_generator=wire_name, populate_by_name=True, extra="ignore", frozen=True, defer_build=True
    )


class OwnerReference(Model):
    """Names the object this one belongs to; the garbage collector deletes what has lost all its owners."""

    api_version: str
    """The owner's apiVersion."""
    kind: str
    """The owner's kind."""
    name: str
    """The owner's name; it lives in the same namespace or in none."""
    uid: str
    """The owner's uid: a later object of the same name is not the owner."""
    controller: bool | None = None
    """Whether the owner is the one that manages this object; true for at most one."""
    block_owner_deletion: bool | None = None
    """Whether the owner, when deleted in the foreground, waits for this object to go."""


class ManagedFieldsEntry(Model):
    """Which manager set which fields, as server-side apply records it (KEP-555)."""

    manager: str | None = None
    """Name of the program that set them."""
    operation: str | None = None
    """Apply or Update."""
    api_version: str | None = None
    """Version in which the fields are written."""
    time: Time | None = None
    """When they were set last."""
    fields_type: str | None = None
    """Always FieldsV1."""
    fields_v1: dict[str, Any] | None = Field(
        default=None, alias="fieldsV1", json_schema_extra={"x-kubernetes-preserve-unknown-fields": True}
    )
    """The fields, as a tree of `f:`, `k:` and `v:` keys."""
    subresource: str | None = None
    """The subresource through which they were set."""


class ObjectMeta(Model):
    """The metadata of an object (meta/v1 ObjectMeta). uid, resourceVersion, generation and the times are the server's."""

    name: str = ""
    """Unique among the objects of the kind in the namespace; cannot be changed."""
    generate_name: str | None = None
    """Beginning of a name that the server completes when `name` is empty."""
    namespace: str | None = None
    """The room the name is unique in; cannot be changed."""
    uid: str | None = None
    """Identity in time and space, set by the server."""
    resource_version: str | None = None
    """Revision of the last change, to be compared for equality only; set by the server."""
    generation: int | None = Field(default=None, json_schema_extra={"format": "int64"})
    """Number of the desired state, raised by the server with every change of it."""
    creation_timestamp: Time | None = None
    """When it was created, set by the server."""
    deletion_timestamp: Time | None = None
    """When it will be or was to be gone; set by the server when it is deleted gracefully."""
    deletion_grace_period_seconds: int | None = Field(default=None, json_schema_extra={"format": "int64"})
    """Seconds it has to go gracefully, set by the server."""
    labels: dict[str, str] = Field(default_factory=dict)
    """What it can be selected by."""
    annotations: dict[str, str] = Field(default_factory=dict)
    """What tools and controllers remember with it."""
    owner_references: list[OwnerReference] = Field(default_factory=list, json_schema_extra=list_map("uid"))
    """The objects it belongs to."""
    finalizers: list[str] = Field(default_factory=list, json_schema_extra=LIST_SET_MERGED)
    """Who still has to clean up before it may go."""
    managed_fields: list[ManagedFieldsEntry] = Field(default_factory=list, json_schema_extra=LIST_ATOMIC)
    """Which program set which field."""


class KubeObject(Model):
    """An object with an identity. Each subclass names how it is served in `RESOURCE`."""

    RESOURCE: ClassVar[ResourceDef]

    metadata: ObjectMeta = Field(default_factory=ObjectMeta)
    """Name, labels and what the server keeps about the object."""

    @property
    def key(self) -> str:
        """`namespace/name`, or `name` for a cluster-scoped object: what work queues carry."""
        meta = self.metadata
        return f"{meta.namespace}/{meta.name}" if meta.namespace else meta.name

    @property
    def uid(self) -> str:
        """The identity that a later object of the same name does not share; set on every stored object."""
        assert self.metadata.uid is not None, self.key
        return self.metadata.uid

    def owner_reference(self, *, controller: bool = True) -> OwnerReference:
        """The reference by which another object says that it belongs to this one."""
        return OwnerReference(
            api_version=self.RESOURCE.api_version,
            kind=self.RESOURCE.kind,
            name=self.metadata.name,
            uid=self.uid,
            controller=controller,
            block_owner_deletion=controller,
        )


def controller_of(obj: KubeObject) -> OwnerReference | None:
    """The owner that controls the object, if it has one."""
    return next((owner for owner in obj.metadata.owner_references if owner.controller), None)


K = TypeVar("K", bound=KubeObject)


class Undecodable(ValueError):
    """The bytes or the mapping are not an object of the expected kind; the message names the path and the reason."""


def decode(data: bytes | str | dict[str, Any], kind: type[K]) -> K:
    """Parse one object of `kind`. Raises Undecodable with a field path when it does not fit."""
    try:
        return kind.model_validate(data) if isinstance(data, dict) else kind.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        path = ".".join(str(part) for part in first["loc"])
        raise Undecodable(f"{kind.RESOURCE.kind} {path}: {first['msg']}") from error


def to_wire(obj: KubeObject) -> dict[str, Any]:
    """The object as a JSON-ready mapping, with apiVersion and kind first and only the fields that were set."""
    body = obj.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return {"apiVersion": obj.RESOURCE.api_version, "kind": obj.RESOURCE.kind, **body}


def encode(obj: KubeObject) -> bytes:
    """The bytes of `to_wire(obj)`, written by pydantic's serializer without building the mapping in between."""
    head = f'{{"apiVersion":"{obj.RESOURCE.api_version}","kind":"{obj.RESOURCE.kind}"'
    body = obj.model_dump_json(by_alias=True, exclude_unset=True)
    return (head + ("}" if body == "{}" else "," + body[1:])).encode()
