"""Access and refresh tokens: what is believed of them, and what is not."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from stark.apiserver.auth.pki import PkiError
from stark.apiserver.auth.sessions.tokens import ACCESS_MAX_S, AUDIENCE, ISSUER, KEY_FILE, TYPE, Refresh, SigningKeys

UID, SID, EMAIL = "6e1c9d4e-0000-4000-8000-000000000001", "0" * 32, "ada@example.com"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pki")
    SigningKeys.open(path)
    return path


def our_key(folder: Path) -> Any:
    return serialization.load_pem_private_key((folder / KEY_FILE).read_bytes(), None)


def good_token(folder: Path) -> str:
    now_s = time.time()
    return SigningKeys.open(folder).access_token(UID, SID, EMAIL, now_s=now_s, expires_s=now_s + 60)


def forged(
    folder: Path, *, key: Any = None, algorithm: str = "EdDSA", head: Mapping[str, str] = {}, **claims: Any
) -> str:
    good = good_token(folder)
    known: dict[str, Any] = jwt.decode(good, options={"verify_signature": False})
    changed = {name: value for name, value in {**known, **claims}.items() if value is not None}
    headers = {"kid": jwt.get_unverified_header(good)["kid"], "typ": TYPE, **head}
    return jwt.encode(changed, key or our_key(folder), algorithm=algorithm, headers=headers)


def test_a_good_token_says_who_and_for_how_long(folder: Path) -> None:
    access = SigningKeys.open(folder).read_access(good_token(folder))
    assert access is not None
    assert (access.uid, access.sid, access.email) == (UID, SID, EMAIL)
    assert SigningKeys.open(folder).read_access(forged(folder)) is not None, "the forger's tools work"


@pytest.mark.parametrize(
    "claims",
    [
        pytest.param({"exp": 1}, id="expired"),
        pytest.param({"nbf": int(time.time()) + 3600}, id="not valid yet"),
        pytest.param({"aud": "https://elsewhere"}, id="for another audience"),
        pytest.param({"aud": [AUDIENCE, "https://elsewhere"]}, id="for another audience too"),
        pytest.param({"aud": None}, id="for no audience"),
        pytest.param({"iss": ISSUER + "/"}, id="of another issuer"),
        pytest.param({"sub": None}, id="of nobody"),
        pytest.param({"sid": None}, id="of no session"),
        pytest.param({"exp": None}, id="for ever"),
        pytest.param({"exp": int(time.time()) + 2 * ACCESS_MAX_S}, id="for longer than any of ours"),
        pytest.param({"head": {"kid": "another"}}, id="of an unknown key"),
        pytest.param({"head": {"typ": "JWT"}}, id="of another type"),
        pytest.param({"key": Ed25519PrivateKey.generate()}, id="signed by another key"),
        pytest.param({"key": b"x" * 64, "algorithm": "HS256"}, id="signed by a shared secret"),
    ],
)
def test_a_token_is_not_believed(folder: Path, claims: dict[str, Any]) -> None:
    assert SigningKeys.open(folder).read_access(forged(folder, **claims)) is None


def test_a_token_without_a_signature_is_not_believed(folder: Path) -> None:
    _, claims, signature = good_token(folder).split(".")
    kid = jwt.get_unverified_header(good_token(folder))["kid"]
    keys = SigningKeys.open(folder)
    for algorithm in ("none", "None", "EdDSA"):
        head = base64.urlsafe_b64encode(json.dumps({"alg": algorithm, "kid": kid, "typ": TYPE}).encode())
        assert keys.read_access(f"{head.rstrip(b'=').decode()}.{claims}.") is None
    # The public key as the secret of an HMAC: the classic confusion of algorithms.
    public = our_key(folder).public_key().public_bytes_raw()
    assert keys.read_access(forged(folder, key=public, algorithm="HS256")) is None
    assert keys.read_access(f"{good_token(folder)[: -len(signature)]}{'A' * len(signature)}") is None
    for odd in ("", ".", "..", "a.b.c", "x" * 10_000, "\ud800.a.b", good_token(folder) + ".x"):
        assert keys.read_access(odd) is None


def test_a_refresh_token_is_known_by_its_mac_alone(folder: Path) -> None:
    keys = SigningKeys.open(folder)
    token = keys.refresh_token(UID, SID, 7)
    assert keys.read_refresh(token) == Refresh(UID, SID, 7)
    prefix, uid, sid, generation, mac = token.split(".")
    for changed in (
        f"{prefix}.{uid}.{sid}.8.{mac}",
        f"{prefix}.{uid}.{'1' * 32}.{generation}.{mac}",
        f"{prefix}.{uid[:-1]}2.{sid}.{generation}.{mac}",
        f"{prefix}.{uid}.{sid}.{generation}.{mac[:-1]}",
        f"{prefix}.{uid}.{sid}.0{generation}.{mac}",
        f" {token}",
        token + "\n",
        "",
    ):
        assert keys.read_refresh(changed) is None
    assert SigningKeys([Ed25519PrivateKey.generate()]).read_refresh(token) is None


def test_the_first_key_of_the_file_signs_and_all_of_them_are_believed(tmp_path: Path) -> None:
    old = SigningKeys.open(tmp_path)
    now_s = time.time()
    access = old.access_token(UID, SID, EMAIL, now_s=now_s, expires_s=now_s + 60)
    refresh = old.refresh_token(UID, SID, 1)
    path = tmp_path / KEY_FILE
    assert path.stat().st_mode & 0o777 == 0o600
    new = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(new + path.read_bytes())
    both = SigningKeys.open(tmp_path)
    assert both.read_access(access) is not None
    assert both.read_refresh(refresh) is not None
    assert old.read_access(both.access_token(UID, SID, EMAIL, now_s=now_s, expires_s=now_s + 60)) is None
    for broken in (b"", b"-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----\n"):
        path.write_bytes(broken)
        with pytest.raises(PkiError, match=KEY_FILE):
            SigningKeys.open(tmp_path)
