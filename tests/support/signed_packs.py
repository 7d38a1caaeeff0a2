"""Packs with signatures, the keys that made them, and policies about those keys."""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from stark.crds.signing import sign

OPS, CI, STRANGER = (Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in (1, 2, 3))
DIGEST = "ab" * 32


def pem(key: Ed25519PrivateKey | ec.EllipticCurvePrivateKey) -> str:
    """The public key, as policies have it."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def pack(*by: Ed25519PrivateKey, **changes: Any) -> dict[str, Any]:
    """The spec of a pack, signed; `changes` come after the signing."""
    spec: dict[str, Any] = {
        "name": "hello",
        "version": "1.0.0",
        "runtime": "node",
        "metadata": {"entrypoint": "default", "env": {"A": "b"}},
        "bundles": [{"architecture": a, "sha256": DIGEST, "size": 3} for a in ("amd64", "arm64")],
    }
    spec["signatures"] = [sign(key, spec) for key in by]
    return {**spec, **changes}


def policy(*keys: Ed25519PrivateKey, **spec: Any) -> dict[str, Any]:
    """A PackTrustPolicy `release` about the keys."""
    named = [{"name": f"key{n}", "publicKey": pem(key)} for n, key in enumerate(keys)]
    return {"metadata": {"name": "release"}, "spec": {"keys": named, "threshold": 1, "action": "Enforce", **spec}}
