"""The two tokens of a session, and the key that both are made with.

The access token is a JWT (RFC 9068) signed with Ed25519: whoever has the public key can check it. The refresh token names
its session and its number in it, with a MAC over both: one that was made up is known without asking the store, and the
store holds nothing that could be used as one. The MAC's key follows from the signing key.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ..files import locked, private_directory, write_whole
from ..pki import PkiError

KEY_FILE: Final = "session-signing.key"
ALGORITHM: Final = "EdDSA"
TYPE: Final = "at+jwt"
ISSUER: Final = "https://stark.dev/sessions"
AUDIENCE: Final = "https://stark.dev/api"
ACCESS_MAX_S: Final = 3_600
"""Longest life of an access token. One that claims more was not made by us, whatever its signature."""
CLOCK_SKEW_S: Final = 60
"""How far the clock of another server, whose tokens we believe, may be ahead."""
REQUIRED: Final = ("iss", "aud", "sub", "exp", "iat", "nbf", "jti", "sid", "email")
REFRESH_PREFIX: Final = "stark-refresh"
REFRESH: Final = re.compile(
    re.escape(REFRESH_PREFIX) + r"\.(?P<uid>[0-9a-f-]{36})\.(?P<sid>[0-9a-f]{32})"
    r"\.(?P<generation>[1-9][0-9]{0,9})\.(?P<mac>[A-Za-z0-9_-]{43})"
)
PEM_END: Final = b"-----END PRIVATE KEY-----"


@dataclass(frozen=True, slots=True)
class Access:
    """What a good access token says."""

    uid: str
    sid: str
    email: str
    expires_s: float


@dataclass(frozen=True, slots=True)
class Refresh:
    """What a genuine refresh token says."""

    uid: str
    sid: str
    generation: int


class SigningKeys:
    """The keys of the file: the first one signs, all of them are believed."""

    def __init__(self, keys: Sequence[Ed25519PrivateKey]) -> None:
        assert keys, KEY_FILE
        self._signing = keys[0]
        self._public: Mapping[str, Ed25519PublicKey] = {_key_id(key): key.public_key() for key in keys}
        self._signing_id = _key_id(keys[0])
        self._mac_keys = tuple(_mac_key(key) for key in keys)

    @classmethod
    def open(cls, directory: Path) -> SigningKeys:
        """The keys in `directory`, made when there are none. Raises PkiError."""
        path = directory / KEY_FILE
        private_directory(directory)
        with locked(directory):
            if not path.exists():
                write_whole(path, _pem(Ed25519PrivateKey.generate()))
            return cls(_read(path))

    def access_token(self, uid: str, sid: str, email: str, *, now_s: float, expires_s: float) -> str:
        """A signed access token."""
        assert expires_s - now_s <= ACCESS_MAX_S, (now_s, expires_s)
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": uid,
            "email": email,
            "sid": sid,
            "jti": uuid4().hex,
            "iat": int(now_s),
            "nbf": int(now_s) - CLOCK_SKEW_S,
            "exp": int(expires_s),
        }
        return jwt.encode(claims, self._signing, algorithm=ALGORITHM, headers={"kid": self._signing_id, "typ": TYPE})

    def read_access(self, token: str) -> Access | None:
        """What the token says; None unless it is one of ours, signed, for us, and in its time."""
        try:
            head = jwt.get_unverified_header(token)
            key = self._public.get(head.get("kid", ""))
            if key is None or head.get("alg") != ALGORITHM or head.get("typ") != TYPE:
                return None
            claims: Mapping[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                issuer=ISSUER,
                audience=AUDIENCE,
                options={"require": list(REQUIRED), "strict_aud": True, "verify_iat": False},
            )
        except (jwt.InvalidTokenError, TypeError, ValueError):
            return None
        if claims["exp"] - claims["iat"] > ACCESS_MAX_S:
            return None
        return Access(str(claims["sub"]), str(claims["sid"]), str(claims["email"]), float(claims["exp"]))

    def sign(self, claims: Mapping[str, Any], kind: str) -> str:
        """A signed token of another kind than those of sessions: `kind` is its type, by which none is taken for another."""
        assert kind != TYPE, kind
        return jwt.encode(
            dict(claims), self._signing, algorithm=ALGORITHM, headers={"kid": self._signing_id, "typ": kind}
        )

    def verified(self, token: str, kind: str, required: Sequence[str]) -> Mapping[str, Any] | None:
        """What a token of that kind says; None unless it is one of ours, signed, for us, and in its time."""
        try:
            head = jwt.get_unverified_header(token)
            key = self._public.get(head.get("kid", ""))
            if key is None or head.get("alg") != ALGORITHM or head.get("typ") != kind:
                return None
            claims: Mapping[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                issuer=ISSUER,
                audience=AUDIENCE,
                options={"require": ["iss", "aud", "exp", "iat", *required], "strict_aud": True, "verify_iat": False},
            )
        except (jwt.InvalidTokenError, TypeError, ValueError):
            return None
        return claims

    def refresh_token(self, uid: str, sid: str, generation: int) -> str:
        """The session's refresh token of that number: always the same one."""
        return f"{REFRESH_PREFIX}.{uid}.{sid}.{generation}.{_mac(self._mac_keys[0], uid, sid, generation)}"

    def read_refresh(self, token: str) -> Refresh | None:
        """What the token says; None unless we made it."""
        found = REFRESH.fullmatch(token)
        if found is None:
            return None
        uid, sid, generation = found["uid"], found["sid"], int(found["generation"])
        macs = [_mac(key, uid, sid, generation) for key in self._mac_keys]
        genuine = [hmac.compare_digest(mac, found["mac"]) for mac in macs]
        return Refresh(uid, sid, generation) if any(genuine) else None


def _mac(key: bytes, uid: str, sid: str, generation: int) -> str:
    digest = hmac.new(key, f"{uid}.{sid}.{generation}".encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _mac_key(key: Ed25519PrivateKey) -> bytes:
    return HKDF(hashes.SHA256(), 32, salt=None, info=b"stark refresh tokens").derive(key.private_bytes_raw())


def _key_id(key: Ed25519PrivateKey) -> str:
    return hashlib.sha256(key.public_key().public_bytes_raw()).hexdigest()[:16]


def _pem(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _read(path: Path) -> list[Ed25519PrivateKey]:
    blocks = [block + PEM_END for block in path.read_bytes().split(PEM_END)[:-1]]
    try:
        keys = [serialization.load_pem_private_key(block.strip(), None) for block in blocks]
    except (ValueError, TypeError) as error:
        raise PkiError(f"{path} is not readable as private keys ({error}): put back the file, or remove it") from error
    wrong = [key for key in keys if not isinstance(key, Ed25519PrivateKey)]
    if wrong or not keys:
        raise PkiError(f"{path} must hold Ed25519 keys and nothing else: put back the file, or remove it")
    return [key for key in keys if isinstance(key, Ed25519PrivateKey)]
