"""PackTrustPolicy (stark.dev/v1): which packs may run where, by the keys that have signed them. The rules: `signing`."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from .fields import DEFAULT_EMPTY, LIST_SET, Int32, list_map, written
from .labels import SELECTOR_MARKS, LabelSelector
from .meta import Column, KubeObject, Model, ResourceDef

TRUSTED_KEYS_MAX = 16
PACK_PATTERNS_MAX = 100
PACK_PATTERN_PATTERN = r"^[a-zA-Z0-9_*-]{1,128}$"
PUBLIC_KEY_LENGTH_MAX = 4096


class TrustedKey(Model):
    """A key whose signature counts."""

    name: str = Field(min_length=1, max_length=63)
    """What messages call it: a person, a pipeline."""
    public_key: str = Field(max_length=PUBLIC_KEY_LENGTH_MAX)
    """An Ed25519 public key in PEM, as `starkctl pack keygen` writes it."""


class PackTrustPolicySpec(Model):
    """In which namespaces, about which packs, and who must have signed them."""

    namespace_selector: LabelSelector = Field(
        default_factory=LabelSelector, json_schema_extra={**DEFAULT_EMPTY, **SELECTOR_MARKS}
    )
    """Namespaces in which it holds, by their labels; empty means all."""
    packs: list[str] = Field(default_factory=list, max_length=PACK_PATTERNS_MAX, json_schema_extra=LIST_SET)
    """Names of packs it is about; `*` stands for any characters. Empty means all."""
    keys: list[TrustedKey] = Field(min_length=1, max_length=TRUSTED_KEYS_MAX, json_schema_extra=list_map("name"))
    """The keys that count."""
    threshold: Int32 = written(1)
    """How many of the keys must have signed."""
    action: Literal["Enforce", "Warn"] = written("Enforce")
    """What becomes of other packs: they are refused and not run, or a warning is given."""


class PackTrustPolicy(KubeObject):
    """Packs that may run in some namespaces: those that enough of its keys have signed. Every policy must be met."""

    RESOURCE: ClassVar[ResourceDef] = ResourceDef(
        group="stark.dev",
        version="v1",
        kind="PackTrustPolicy",
        plural="packtrustpolicies",
        namespaced=False,
        columns=(
            Column("Packs", "string", ".spec.packs", "Packs it is about; all when empty."),
            Column("Threshold", "integer", ".spec.threshold", "How many of the keys must have signed."),
            Column("Action", "string", ".spec.action", "What becomes of other packs."),
            Column("Age", "date", ".metadata.creationTimestamp", "Time since it was made."),
        ),
    )

    spec: PackTrustPolicySpec
    """In which namespaces, about which packs, and who must have signed them."""
