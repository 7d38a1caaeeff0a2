"""Configuration that programs are given (ConfigMap, Secret) and the identity under which they act (ServiceAccount)."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from .fields import LIST_ATOMIC, Base64, list_map, written
from .meta import KubeObject, Model, ResourceDef

CONFIG_SIZE_MAX = 1024 * 1024
"""Bytes of all values together in one ConfigMap or Secret."""


class ConfigMap(KubeObject):
    """Named pieces of text or bytes that are no secret."""

    RESOURCE: ClassVar[ResourceDef] = ResourceDef(
        group="", version="v1", kind="ConfigMap", plural="configmaps", namespaced=True, short_names=("cm",)
    )

    immutable: bool | None = None
    """Once true, the data cannot change and neither can this."""
    data: dict[str, str] = Field(default_factory=dict)
    """Text by key; keys of letters, digits, `-`, `_` and `.`."""
    binary_data: dict[str, Base64] = Field(default_factory=dict)
    """Bytes by key, in base64; no key may be in `data` too."""


class Secret(KubeObject):
    """Named pieces of bytes that are a secret."""

    RESOURCE: ClassVar[ResourceDef] = ResourceDef(
        group="",
        version="v1",
        kind="Secret",
        plural="secrets",
        namespaced=True,
        selectable_fields=("type",),
    )

    immutable: bool | None = None
    """Once true, the data cannot change and neither can this."""
    data: dict[str, Base64] = Field(default_factory=dict)
    """Bytes by key, in base64."""
    string_data: dict[str, str] = Field(default_factory=dict)
    """Text by key, for writing only: the server moves it into `data`, where it overrules."""
    type: str = "Opaque"
    """What it is for, e.g. `kubernetes.io/tls`; cannot be changed."""


class LocalObjectReference(Model):
    """An object of the same namespace, whose kind goes without saying."""

    name: str = written("")
    """Its name."""


class ServiceAccount(KubeObject):
    """An identity for programs in pods."""

    RESOURCE: ClassVar[ResourceDef] = ResourceDef(
        group="",
        version="v1",
        kind="ServiceAccount",
        plural="serviceaccounts",
        namespaced=True,
        short_names=("sa",),
        subresources=("token",),
    )

    secrets: list[LocalObjectReference] = Field(default_factory=list, json_schema_extra=list_map("name"))
    """The Secrets that its pods may use, when the annotation `kubernetes.io/enforce-mountable-secrets` is `true`."""
    image_pull_secrets: list[LocalObjectReference] = Field(default_factory=list, json_schema_extra=LIST_ATOMIC)
    """Given to its pods that name none themselves."""
    automount_service_account_token: bool | None = None
    """Whether its pods are given a token, when they do not say themselves. Default: true."""
