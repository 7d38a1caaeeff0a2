"""What is wrong with a PackTrustPolicy, and with the signatures on a Pack."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from stark.crds.fields import SHA256_PATTERN
from stark.crds.pack_trust import PACK_PATTERN_PATTERN, PACK_PATTERNS_MAX, TRUSTED_KEYS_MAX
from stark.crds.packs import SIGNATURES_MAX
from stark.crds.selectors import SelectorError, from_label_selector
from stark.crds.signing import KeyUnusable, public_key

from ..errors import Cause
from .complaints import bad_value, duplicate

SIGNATURE_BYTES = 64  # RFC 8032

Mapped = Mapping[str, Any]


def pack_trust_causes(obj: Mapped) -> Iterator[Cause]:
    """Every complaint about a PackTrustPolicy."""
    spec = obj.get("spec") or {}
    try:
        from_label_selector(spec.get("namespaceSelector") or {})
    except SelectorError as error:
        yield bad_value("spec.namespaceSelector", spec["namespaceSelector"], str(error))
    patterns = spec.get("packs") or []
    if len(patterns) > PACK_PATTERNS_MAX:
        yield bad_value("spec.packs", len(patterns), f"must have at most {PACK_PATTERNS_MAX} items")
    for index, pattern in enumerate(patterns):
        if not re.fullmatch(PACK_PATTERN_PATTERN, pattern):
            message = "must consist of letters, digits, '-', '_' and '*', and have at most 128 of them"
            yield bad_value(f"spec.packs[{index}]", pattern, message)
    keys = spec.get("keys") or []
    yield from _key_causes(keys)
    threshold = spec.get("threshold", 1)
    if not 1 <= threshold <= max(1, len(keys)):
        yield bad_value("spec.threshold", threshold, "must be between 1 and the number of keys, inclusive")


def _key_causes(keys: Sequence[Mapped]) -> Iterator[Cause]:
    if len(keys) > TRUSTED_KEYS_MAX:
        yield bad_value("spec.keys", len(keys), f"must have at most {TRUSTED_KEYS_MAX} items")
    seen: set[str] = set()
    for index, key in enumerate(keys):
        path = f"spec.keys[{index}].publicKey"
        try:
            known, _ = public_key(key.get("publicKey") or "")
        except KeyUnusable as error:
            yield bad_value(path, key.get("publicKey") or "", str(error))
            continue
        if known in seen:
            # One key under two names would count once and look like two.
            yield duplicate(path, key["publicKey"])
        seen.add(known)


def signature_causes(signatures: Sequence[Mapped]) -> Iterator[Cause]:
    """Every complaint about spec.signatures of a Pack. Whether they verify is for those who know the keys."""
    if len(signatures) > SIGNATURES_MAX:
        yield bad_value("spec.signatures", len(signatures), f"must have at most {SIGNATURES_MAX} items")
    for index, one in enumerate(signatures):
        path = f"spec.signatures[{index}]"
        if not re.fullmatch(SHA256_PATTERN, one.get("keyID") or ""):
            yield bad_value(f"{path}.keyID", one.get("keyID"), "must be a sha256 in lower-case hex (64 digits)")
        try:
            good = len(base64.b64decode(one.get("signature") or "", validate=True)) == SIGNATURE_BYTES
        except binascii.Error:
            good = False
        if not good:
            yield bad_value(f"{path}.signature", one.get("signature"), f"must be {SIGNATURE_BYTES} bytes in base64")
