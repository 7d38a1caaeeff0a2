"""Certificate signing requests: what is asked never changes, approval and issue are written apart, and once is for ever.
Beside them revocations, which are what they are from the first.

Who may approve or sign is admission's business (`admission/certificates`).
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from collections.abc import Iterator, Sequence

from cryptography import x509

from stark.crds.certificates import APPROVED, DENIED, EXPIRATION_MIN_S, FINAL, LEGACY_SIGNER, USAGES
from stark.crds.names import dns_subdomain_problems
from stark.crds.pkcs10 import BadRequestFile, read_request

from ...errors import Cause
from ...times import timestamp
from .. import metadata
from .base import Known, Object, Strategy, forbidden, immutable, shown

SIGNER_PATH = re.compile(r"[-a-z0-9.:_/]*[a-z0-9]", re.IGNORECASE)
CERTIFICATES_BYTES_MAX = 256 * 1024
"""Of an issued certificate with its chain."""


class CertificateRequestStrategy(Strategy):
    """See the module."""

    def prepare_update(self, new: Object, old: Known) -> None:
        """Nothing of the spec changes, whoever asks."""
        new["spec"] = old["spec"]

    def prepare_status_update(self, new: Object, old: Known) -> None:
        """Times of conditions are the server's."""
        _date_conditions(new, old)

    def prepare_approval(self, new: Object, old: Known) -> None:
        """Of the status only the conditions can be written this way."""
        _date_conditions(new, old)
        conditions = (new.get("status") or {}).get("conditions")
        new["status"] = {key: value for key, value in (old.get("status") or {}).items() if key != "conditions"}
        if conditions:
            new["status"]["conditions"] = conditions

    def create_problems(self, obj: Known) -> Sequence[Cause]:
        """Everything about what is asked."""
        return [*_request_problems(obj["spec"]), *_signer_problems(obj["spec"]), *_usage_problems(obj["spec"])]

    def update_problems(self, new: Known, old: Known) -> Sequence[Cause]:
        """Nothing but metadata can have changed."""
        return ()

    def approval_problems(self, new: Known, old: Known) -> Sequence[Cause]:
        """Approved or Denied may be added; nothing that is final goes."""
        return [*_condition_problems(new), *_final_problems(new, old)]

    def status_problems(self, new: Known, old: Known) -> Sequence[Cause]:
        """The certificate may be set once, and approval is not a matter of the status subresource."""
        causes = [*_condition_problems(new), *_final_problems(new, old)]
        before = _types(old)
        for index, condition in enumerate(_conditions(new)):
            if condition["type"] in (APPROVED, DENIED) and condition["type"] not in before:
                why = f'updates may not add a condition of type "{condition["type"]}"'
                causes.append(forbidden(f"status.conditions[{index}].type", why))
        return [*causes, *_certificate_problems(new, old)]


class CertificateRevocationStrategy(Strategy):
    """One certificate, or those of a user until a moment. What was revoked is not another thing later."""

    def prepare_create(self, obj: Object) -> None:
        """Of a user's certificates those are meant that there are now."""
        spec = obj["spec"]
        if spec.get("username"):
            spec.setdefault("issuedBefore", timestamp(metadata.now()))

    def create_problems(self, obj: Known) -> Sequence[Cause]:
        """One or the other."""
        spec = obj["spec"]
        if bool(spec.get("serialNumber")) == bool(spec.get("username")):
            return [Cause("spec", "Required value: give one of serialNumber and username", "FieldValueRequired")]
        if spec.get("serialNumber") and spec.get("issuedBefore"):
            return [forbidden("spec.issuedBefore", "goes with username")]
        return ()

    def update_problems(self, new: Known, old: Known) -> Sequence[Cause]:
        """To take it back, delete it."""
        return immutable("spec", new["spec"], old["spec"])


def _conditions(obj: Known) -> Sequence[Object]:
    return (obj.get("status") or {}).get("conditions") or ()


def _types(obj: Known) -> set[str]:
    return {condition["type"] for condition in _conditions(obj)}


def _date_conditions(new: Object, old: Known) -> None:
    now = timestamp(metadata.now())
    before = {condition["type"]: condition for condition in _conditions(old)}
    for condition in _conditions(new):
        condition.setdefault("lastUpdateTime", now)
        if "lastTransitionTime" not in condition:
            known = before.get(condition["type"])
            is_same = known is not None and known.get("status") == condition.get("status")
            condition["lastTransitionTime"] = (known or {}).get("lastTransitionTime", now) if is_same else now


def _request_problems(spec: Known) -> Iterator[Cause]:
    try:
        read_request(spec["request"])
    except BadRequestFile as error:
        yield Cause("spec.request", f"Invalid value: the request cannot be signed: {error}")
    lifetime_s = spec.get("expirationSeconds")
    if lifetime_s is not None and lifetime_s < EXPIRATION_MIN_S:
        why = f"may not specify a duration less than {EXPIRATION_MIN_S} seconds (10 minutes)"
        yield Cause("spec.expirationSeconds", f"Invalid value: {lifetime_s}: {why}")


def _signer_problems(spec: Known) -> Iterator[Cause]:
    name = spec["signerName"]
    where = "spec.signerName"
    if not name:
        yield Cause(where, "Required value", "FieldValueRequired")
        return
    if name == LEGACY_SIGNER:
        yield Cause(where, f"Invalid value: {shown(name)}: the legacy signerName is not allowed via this API version")
        return
    domain, slash, path = name.partition("/")
    if not slash or not path:
        yield Cause(where, f"Invalid value: {shown(name)}: must be a fully qualified domain and path of the form"
                           ' "example.com/signer-name"')  # fmt: skip
        return
    problems = dns_subdomain_problems(domain)
    if "." not in domain:
        problems = [*problems, "should be a domain with at least two segments separated by dots"]
    if not SIGNER_PATH.fullmatch(path) or not path[0].isalnum():
        problems = [*problems, "the path must begin and end with a letter or digit, with . - _ : and / between"]
    for problem in problems:
        yield Cause(where, f"Invalid value: {shown(name)}: {problem}")


def _usage_problems(spec: Known) -> Iterator[Cause]:
    usages = spec.get("usages") or []
    if not usages:
        yield Cause("spec.usages", "Required value: usages must be specified", "FieldValueRequired")
    for index, usage in enumerate(usages):
        where = f"spec.usages[{index}]"
        if usage not in USAGES:
            known = ", ".join(shown(known) for known in sorted(USAGES))
            why = f"Unsupported value: {shown(usage)}: supported values: {known}"
            yield Cause(where, why, "FieldValueNotSupported")
        elif usage in usages[:index]:
            yield Cause(where, f"Duplicate value: {shown(usage)}", "FieldValueDuplicate")


def _condition_problems(new: Known) -> Iterator[Cause]:
    seen: set[str] = set()
    for index, condition in enumerate(_conditions(new)):
        where, kind = f"status.conditions[{index}]", condition["type"]
        if not kind:
            yield Cause(f"{where}.type", "Required value", "FieldValueRequired")
        if kind in seen:
            yield Cause(f"{where}.type", f"Duplicate value: {shown(kind)}", "FieldValueDuplicate")
        seen.add(kind)
        if kind in FINAL and condition["status"] != "True":
            why = f'Unsupported value: {shown(condition["status"])}: supported values: "True"'
            yield Cause(f"{where}.status", why, "FieldValueNotSupported")
    if {APPROVED, DENIED} <= seen:
        yield Cause("status.conditions", "Invalid value: Approved and Denied conditions are mutually exclusive")


def _final_problems(new: Known, old: Known) -> Iterator[Cause]:
    after = _types(new)
    for kind in FINAL:
        if kind in _types(old) and kind not in after:
            yield forbidden("status.conditions", f'updates may not remove a condition of type "{kind}"')


def _certificate_problems(new: Known, old: Known) -> Iterator[Cause]:
    before, after = ((obj.get("status") or {}).get("certificate") for obj in (old, new))
    if before == after:
        return
    if before:
        yield forbidden("status.certificate", "updates may not set certificate content once it was issued")
        return
    try:
        pem = b64decode(after or "", validate=True)
        if len(pem) > CERTIFICATES_BYTES_MAX:
            raise ValueError(f"longer than {CERTIFICATES_BYTES_MAX} bytes")
        x509.load_pem_x509_certificates(pem)
    except (binascii.Error, ValueError) as error:
        yield Cause("status.certificate", f"Invalid value: must be CERTIFICATE blocks in PEM: {error}")
