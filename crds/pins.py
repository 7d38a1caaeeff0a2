"""Pins of an authority: `sha256:<hex>` of its certificate's public key, as kubeadm prints and takes them.

The public key, and not the certificate: an authority whose certificate is renewed keeps its pin. Standard library only.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import ssl

PIN = re.compile(r"sha256:[0-9a-f]{64}")
CERTIFICATES_MAX = 16
"""Certificates of one bundle that are looked at: an authority, its successor, and room."""
_BLOCK = re.compile(r"-----BEGIN CERTIFICATE-----\s.+?-----END CERTIFICATE-----", re.DOTALL)


class BadCertificate(ValueError):
    """The text has no X.509 certificate where one was expected."""


def split_bundle(pem: str) -> list[str]:
    """The certificates of a PEM file, each for itself. Raises BadCertificate."""
    blocks = [match.group(0) + "\n" for match in _BLOCK.finditer(pem)]
    if not 0 < len(blocks) <= CERTIFICATES_MAX:
        raise BadCertificate(f"expected 1 to {CERTIFICATES_MAX} certificates in PEM, found {len(blocks)}")
    return blocks


def pin_of(pem: str) -> str:
    """The pin of one certificate. Raises BadCertificate."""
    try:
        return "sha256:" + hashlib.sha256(_public_key(ssl.PEM_cert_to_DER_cert(pem.strip() + "\n"))).hexdigest()
    except (ValueError, IndexError) as error:
        raise BadCertificate("not a certificate") from error


def is_pinned(pem: str, pins: list[str]) -> bool:
    """Whether one of the pins is this certificate's."""
    own = pin_of(pem).encode()
    return any(hmac.compare_digest(own, pin.lower().encode()) for pin in pins)


def _public_key(der: bytes) -> bytes:
    """SubjectPublicKeyInfo: field seven of TBSCertificate (RFC 5280, section 4.1), or six without a version."""
    certificate, _, _ = _element(der, 0)
    inner, _, _ = _element(der, certificate)
    at = inner
    if der[at] == 0xA0:  # the version
        at = _element(der, at)[1]
    for _ in range(5):  # serial number, signature, issuer, validity, subject
        at = _element(der, at)[1]
    _, end, _ = _element(der, at)
    return der[at:end]


def _element(der: bytes, at: int) -> tuple[int, int, int]:
    """Where the content of the element at `at` begins, where it ends, and its tag (X.690)."""
    tag, length = der[at], der[at + 1]
    begin = at + 2
    if length & 0x80:
        size = length & 0x7F
        if not 1 <= size <= 4:
            raise ValueError("a length that no certificate has")
        length = int.from_bytes(der[begin : begin + size], "big")
        begin += size
    if begin + length > len(der):
        raise ValueError("cut off")
    return begin, begin + length, tag
