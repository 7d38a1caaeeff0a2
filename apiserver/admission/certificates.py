"""Who may ask for, approve and sign certificates, beyond what the verbs of the API say.

The creator's identity is stamped into a request. Approving and signing are judged by the signer that a request names: the
verbs `approve` and `sign` on `signers`, by full name or `<domain>/*`, as Kubernetes' plugins of the same purpose do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stark.crds.certificates import CLIENT_SIGNER, FAILED, GROUP
from stark.crds.pkcs10 import BadRequestFile, read_request

from ..auth.authorization import AuthorizationAttributes, Authorizer
from ..auth.identities import MASTERS
from .attributes import Attributes, Lookup
from .complaints import refused

REQUESTER = ("username", "uid", "groups", "extra")
"""Fields of the spec that only the server writes."""


async def stamp_requester(attributes: Attributes, lookup: Lookup) -> None:
    """Say in a new request who created it, whatever it says itself."""
    if attributes.object is None or attributes.operation != "CREATE" or attributes.subresource:
        return
    spec = {key: value for key, value in attributes.object["spec"].items() if key not in REQUESTER}
    attributes.object["spec"] = {**spec, **attributes.user.info()}


class CertificateRights:
    """The plugin that asks the authorizer."""

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    async def __call__(self, attributes: Attributes, lookup: Lookup) -> None:
        """Refuse an approval or a certificate by somebody whom the signer does not trust with it."""
        if attributes.operation == "CREATE":
            _refuse_masters(attributes)
        elif attributes.subresource == "approval":
            await self._demand(attributes, "approve")
        elif attributes.subresource == "status" and _signs(attributes.old or {}, attributes.object or {}):
            await self._demand(attributes, "sign")

    async def _demand(self, attributes: Attributes, verb: str) -> None:
        signer = str((attributes.old or {})["spec"]["signerName"])
        for name in (signer, f"{signer.partition('/')[0]}/*"):
            asked = AuthorizationAttributes(attributes.user, verb, GROUP, "*", "signers", name=name)
            if (await self._authorizer.authorize(asked)).allowed:
                return
        raise refused(attributes, f'user not permitted to {verb} requests with signerName "{signer}"')


def _signs(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    before, after = old.get("status") or {}, new.get("status") or {}
    return before.get("certificate") != after.get("certificate") or _has_failed(before) != _has_failed(after)


def _has_failed(status: Mapping[str, Any]) -> bool:
    return any(condition["type"] == FAILED for condition in status.get("conditions") or ())


def _refuse_masters(attributes: Attributes) -> None:
    spec = (attributes.object or {})["spec"]
    if spec.get("signerName") != CLIENT_SIGNER:
        return
    try:
        wanted = read_request(spec["request"])
    except BadRequestFile:
        return  # told with its place in the object by the kind's own rules
    if MASTERS in wanted.organizations:
        raise refused(attributes, f"use of {CLIENT_SIGNER} signer with {MASTERS} group is not allowed")
