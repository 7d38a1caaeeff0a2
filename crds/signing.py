"""Signatures on packs: what is signed, by whom, and what a PackTrustPolicy makes of them.

An Ed25519 signature (RFC 8032) is over a statement of everything that decides what runs: name, version, runtime, digests
of the bundles, and how the program is called. The statement is wrapped as DSSE wraps a payload (its "pre-authentication
encoding"), so that a signature for a pack can never be one for something else. A key is known by the sha256 of its
SubjectPublicKeyInfo. Works on plain mappings; `cryptography` is imported when a key is really used.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from .selectors import from_label_selector

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

PAYLOAD_TYPE = "application/vnd.stark.pack.v1+json"
KEYS_CACHED = 256
VERIFICATIONS_CACHED = 1024
"""A verification costs some 100 us, and the same pack is judged for each pod."""
ENFORCE, WARN = "Enforce", "Warn"


class KeyUnusable(ValueError):
    """The text is no Ed25519 public key in PEM."""


@dataclass(frozen=True, slots=True)
class Distrust:
    """A policy that the pack does not meet."""

    policy: str
    action: str
    """Enforce or Warn."""
    message: str


def statement(pack: Mapping[str, Any]) -> bytes:
    """What is signed of a pack's spec. What its description or its visibility says is not."""
    metadata = {key: value for key, value in (pack.get("metadata") or {}).items() if value is not None}
    metadata.setdefault("entrypoint", "default")
    if not metadata.get("env"):
        metadata.pop("env", None)
    bundles = [
        {"architecture": one.get("architecture") or "any", "sha256": one["sha256"], "size": one["size"]}
        for one in pack["bundles"]
    ]
    said = {
        "name": pack["name"],
        "version": pack["version"],
        "runtime": pack["runtime"],
        "metadata": metadata,
        "bundles": sorted(bundles, key=lambda one: str(one["architecture"])),
    }
    payload = json.dumps(said, sort_keys=True, separators=(",", ":")).encode()
    return b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)


@lru_cache(KEYS_CACHED)
def public_key(pem: str) -> tuple[str, Ed25519PublicKey]:
    """The key's id and the key. Raises KeyUnusable."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyUnusable("must be a public key in PEM") from error
    if not isinstance(key, Ed25519PublicKey):
        raise KeyUnusable("must be an Ed25519 key")
    return key_id(key), key


def key_id(key: Ed25519PublicKey) -> str:
    """The sha256 of the key's SubjectPublicKeyInfo in DER, in hex."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def sign(key: Ed25519PrivateKey, pack: Mapping[str, Any]) -> dict[str, str]:
    """The entry of spec.signatures for this pack."""
    signature = base64.b64encode(key.sign(statement(pack))).decode()
    return {"keyID": key_id(key.public_key()), "signature": signature}


def signers(pack: Mapping[str, Any], keys: Iterable[str]) -> set[str]:
    """The ids of those of the keys (PEM) that have signed the pack. Keys that cannot be read have signed nothing."""
    entries = {str(one.get("keyID")): str(one.get("signature")) for one in pack.get("signatures") or ()}
    if not entries:
        return set()
    said, found = statement(pack), set()
    for pem in keys:
        try:
            known, _ = public_key(pem)
        except KeyUnusable:
            continue
        if known in entries and _verifies(pem, entries[known], said):
            found.add(known)
    return found


@lru_cache(VERIFICATIONS_CACHED)
def _verifies(pem: str, signature: str, said: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        public_key(pem)[1].verify(base64.b64decode(signature, validate=True), said)
    except (InvalidSignature, binascii.Error):
        return False
    return True


def distrusts(
    policies: Iterable[Mapping[str, Any]], namespace_labels: Mapping[str, str], pack: Mapping[str, Any]
) -> list[Distrust]:
    """Every policy (as an object) that holds in the namespace, is about the pack (a spec), and is not met."""
    found = []
    for policy in policies:
        spec = policy["spec"]
        if is_about(spec, namespace_labels, pack["name"]) and (message := _unmet(spec, pack)):
            found.append(Distrust(policy["metadata"]["name"], spec.get("action") or ENFORCE, message))
    return found


def is_about(spec: Mapping[str, Any], namespace_labels: Mapping[str, str], pack_name: str) -> bool:
    """Whether a policy's spec holds in the namespace for packs of that name."""
    patterns = spec.get("packs") or ("*",)
    return any(fnmatchcase(pack_name, pattern) for pattern in patterns) and from_label_selector(
        spec.get("namespaceSelector") or {}
    ).matches(namespace_labels)


def _unmet(spec: Mapping[str, Any], pack: Mapping[str, Any]) -> str:
    keys, wanted = spec.get("keys") or (), spec.get("threshold") or 1
    got = len(signers(pack, [one["publicKey"] for one in keys]))
    if got >= wanted:
        return ""
    known = ", ".join(one["name"] for one in keys)
    there = len(pack.get("signatures") or ())
    return f"{got} of {wanted} needed signatures by {known} ({there} signatures there are)"
