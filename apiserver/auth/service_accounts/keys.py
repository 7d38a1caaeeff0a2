"""The keys that sign and verify service accounts' tokens, and the form in which others get them (RFC 7517).

The signing key is made on the first start and never leaves the data directory. Further files hold keys of which tokens
are still about, or, before a rotation, the next one. A key's id is the digest of its public half, so it is the same
wherever the file lies.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from ..files import locked, private_directory, write_whole
from ..pki import PkiError

KEY_FILE: Final = "sa.key"
CURVE_ALGORITHMS: Final = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
RSA_BITS_MIN: Final = 2_048
KEY_FILE_BYTES_MAX: Final = 64 * 1024
"""Of a file with keys: any PEM is far smaller."""

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class NotVerified(Exception):
    """No key of ours has signed this."""


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """One public key."""

    key_id: str
    algorithm: str
    key: PublicKey

    def to_wire(self) -> dict[str, Any]:
        """As one of a JWKS."""
        if isinstance(self.key, rsa.RSAPublicKey):
            numbers = RSAAlgorithm.to_jwk(self.key, as_dict=True)
        else:
            numbers = ECAlgorithm.to_jwk(self.key, as_dict=True)
        kept = {name: value for name, value in numbers.items() if name != "key_ops"}
        return {"use": "sig", **kept, "kid": self.key_id, "alg": self.algorithm}


def verification_key(key: PublicKey) -> VerificationKey:
    """Raises PkiError for a key that is too weak, or of a curve nobody verifies with."""
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size < RSA_BITS_MIN:
            raise PkiError(f"an RSA key for service accounts needs {RSA_BITS_MIN} bits, this one has {key.key_size}")
        algorithm = "RS256"
    else:
        algorithm = CURVE_ALGORITHMS.get(key.curve.name, "")
        if not algorithm:
            raise PkiError(f"a key for service accounts cannot be of the curve {key.curve.name}")
    encoded = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    digest = base64.urlsafe_b64encode(hashlib.sha256(encoded).digest()).rstrip(b"=").decode()
    return VerificationKey(digest, algorithm, key)


class TokenKeys:
    """Signs with one key, verifies with several."""

    def __init__(self, signing: PrivateKey, further: Sequence[PublicKey] = ()) -> None:
        self._signing = signing
        self._own = verification_key(signing.public_key())
        keys = (self._own, *(verification_key(key) for key in further))
        self._keys = {key.key_id: key for key in keys}

    @classmethod
    def open(cls, directory: Path, further: Sequence[Path] = ()) -> TokenKeys:
        """The keys of a data directory's `pki`, made on the first start. Raises PkiError, OSError."""
        private_directory(directory)
        path = directory / KEY_FILE
        with locked(directory):
            if not path.exists():
                write_whole(path, _private_pem(ec.generate_private_key(ec.SECP256R1())))
        signing = _read(path)
        if not isinstance(signing, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
            raise PkiError(f"{path} holds no private key: tokens of service accounts cannot be signed")
        return cls(signing, [_public(_read(file)) for file in further])

    @property
    def algorithms(self) -> list[str]:
        """What tokens may be signed with."""
        return sorted({key.algorithm for key in self._keys.values()})

    def sign(self, claims: Mapping[str, Any]) -> str:
        """The claims as a JWT (RFC 7519)."""
        return jwt.encode(dict(claims), self._signing, self._own.algorithm, headers={"kid": self._own.key_id})

    def verify(self, token: str) -> dict[str, Any]:
        """The claims of a token that one of our keys has signed; nothing else about them is checked. Raises NotVerified."""
        for key in self._candidates(token):
            try:
                # The algorithm is the key's own: what the token's header says is never believed (RFC 8725 section 3.1).
                payload = jwt.PyJWS().decode(token, key.key, [key.algorithm])
                claims = json.loads(payload)
            except (jwt.InvalidTokenError, ValueError):
                continue
            if isinstance(claims, dict):
                return claims
        raise NotVerified("invalid signature")

    def _candidates(self, token: str) -> Sequence[VerificationKey]:
        try:
            key_id = jwt.get_unverified_header(token).get("kid")
        except jwt.InvalidTokenError:
            return ()
        known = self._keys.get(key_id) if isinstance(key_id, str) else None
        return (known,) if known is not None else tuple(self._keys.values())

    def published(self) -> bytes:
        """The public keys as a JWK Set."""
        return json.dumps({"keys": [key.to_wire() for key in self._keys.values()]}, separators=(",", ":")).encode()


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _read(path: Path) -> PrivateKey | PublicKey:
    """A private or public key in PEM. Raises PkiError."""
    try:
        if path.stat().st_size > KEY_FILE_BYTES_MAX:
            raise PkiError(f"{path} is larger than {KEY_FILE_BYTES_MAX} bytes: it is no key")
        data = path.read_bytes()
    except OSError as error:
        raise PkiError(f"{path} cannot be read: {error.strerror}") from error
    try:
        if b"PRIVATE KEY" in data:
            key: Any = serialization.load_pem_private_key(data, None)
        else:
            key = serialization.load_pem_public_key(data)
    except (ValueError, TypeError) as error:
        raise PkiError(f"{path} holds no key in PEM: {error}") from error
    kinds = (ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey, ec.EllipticCurvePublicKey, rsa.RSAPublicKey)
    if not isinstance(key, kinds):
        raise PkiError(f"{path}: a key for service accounts is of RSA or an elliptic curve, not {type(key).__name__}")
    return key


def _public(key: PrivateKey | PublicKey) -> PublicKey:
    return key.public_key() if isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) else key
