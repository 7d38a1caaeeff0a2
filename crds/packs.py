"""Packs (stark.dev/v1): immutable, versioned programs, each bundle of which is known by its sha256."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import ConfigDict, Field

from .conditions import Condition
from .fields import DEFAULT_EMPTY, LIST_SET, PRESERVE_UNKNOWN, SHA256_PATTERN, Base64, Int64, list_map
from .meta import Column, KubeObject, Model, ResourceDef, wire_name

PackRuntime = Literal["node", "browser", "universal", "isomorphic", "python", "binary"]
PackVisibility = Literal["private", "public"]
BundleArchitecture = Literal["any", "amd64", "arm64", "riscv64"]

PACK_NAME_PATTERN = r"^[a-zA-Z][a-zA-Z0-9_-]{0,63}$"
SEMVER_PATTERN = (
    r"^(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)"
    r"(-(0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)(\.(0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*))*)?"
    r"(\+[0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*)?$"
)
DESCRIPTION_LENGTH_MAX = 1000
BUNDLES_MAX = 4
"""One for each architecture there is."""
METADATA_KEYS_MAX = 50
SIGNATURES_MAX = 16


class PackBundle(Model):
    """One file of the pack, for one architecture."""

    architecture: BundleArchitecture = "any"
    """Go's name of the processor it is for; `any` for a script."""
    sha256: str = Field(pattern=SHA256_PATTERN)
    """Digest of the file, in lower-case hex; the server and the agent both check it."""
    size: Int64 = Field(ge=0)
    """Bytes of the file."""


class PackMetadata(Model):
    """How the program is called. Other keys are kept as they are and mean nothing to Stark."""

    model_config = ConfigDict(
        alias_generator=wire_name,
        populate_by_name=True,
        extra="allow",
        frozen=True,
        json_schema_extra={**PRESERVE_UNKNOWN, "maxProperties": METADATA_KEYS_MAX},
    )

    entrypoint: str = "default"
    """The function that is called."""
    timeout: Int64 | None = Field(default=None, ge=1)
    """Milliseconds after which a run has failed; default never."""
    env: dict[str, str] = Field(default_factory=dict)
    """Environment variables of every pod of the pack; the pod's own overrule them."""


class PackSignature(Model):
    """Somebody's word for the pack: an Ed25519 signature over what decides what runs; see `signing`."""

    key_id: str = Field(alias="keyID", pattern=SHA256_PATTERN)
    """sha256 of the public key's SubjectPublicKeyInfo, in lower-case hex."""
    signature: Base64
    """64 bytes."""


class PackSpec(Model):
    """The program. Name, version, runtime and bundles cannot be changed."""

    name: str = Field(max_length=64, pattern=PACK_NAME_PATTERN)
    """The pack's name; metadata.name is made from it and the version."""
    version: str = Field(max_length=256, pattern=SEMVER_PATTERN)
    """Semantic version."""
    runtime: PackRuntime
    """What runs it; universal (alias isomorphic) runs in node and in browser."""
    visibility: PackVisibility = "private"
    """Who may run it: the owner and administrators, or everybody."""
    description: str | None = Field(default=None, max_length=DESCRIPTION_LENGTH_MAX)
    """For people."""
    deprecated: str | None = Field(default=None, min_length=1, max_length=DESCRIPTION_LENGTH_MAX)
    """Why nobody should run it any more. Who names it is warned; who names no version or follows the latest gets another."""
    metadata: PackMetadata = Field(default_factory=PackMetadata, json_schema_extra=DEFAULT_EMPTY)
    """How it is called."""
    bundles: list[PackBundle] = Field(min_length=1, max_length=BUNDLES_MAX, json_schema_extra=list_map("architecture"))
    """Its files, one for each architecture; uploaded to the `bundles` subresource."""
    signatures: list[PackSignature] = Field(
        default_factory=list, max_length=SIGNATURES_MAX, json_schema_extra=list_map("keyID")
    )
    """Who vouches for it. What they are worth, PackTrustPolicies say."""


class PackStatus(Model):
    """Whether it can run."""

    phase: Literal["Pending", "Available"] | None = None
    """Available once every bundle has been uploaded."""
    uploaded: list[str] = Field(default_factory=list, json_schema_extra=LIST_SET)
    """Digests of the bundles that are there."""
    conditions: list[Condition] = Field(default_factory=list, json_schema_extra=list_map("type"))
    """Conclusions, one of each type."""


class Pack(KubeObject):
    """One version of a program that nodes can run."""

    RESOURCE: ClassVar[ResourceDef] = ResourceDef(
        group="stark.dev",
        version="v1",
        kind="Pack",
        plural="packs",
        namespaced=False,
        categories=("stark",),
        subresources=("status", "bundles"),
        columns=(
            Column("Pack", "string", ".spec.name", "The pack's name."),
            Column("Version", "string", ".spec.version", "Semantic version."),
            Column("Runtime", "string", ".spec.runtime", "What runs it."),
            Column("Visibility", "string", ".spec.visibility", "Who may run it."),
            Column("Phase", "string", ".status.phase", "Available once every bundle has been uploaded."),
            Column("Age", "date", ".metadata.creationTimestamp", "Time since it was registered."),
            Column("Description", "string", ".spec.description", "For people.", priority=1),
        ),
        selectable_fields=(
            "spec.name",
            "spec.version",
            "spec.runtime",
            "spec.visibility",
            "status.phase",
        ),
    )

    spec: PackSpec
    """The program."""
    status: PackStatus = Field(default_factory=PackStatus)
    """Whether it can run."""
