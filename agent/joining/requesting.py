"""Ask the cluster for a certificate and wait for the answer."""

from __future__ import annotations

import asyncio
from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import TYPE_CHECKING

from stark.client.api import Client
from stark.client.backoff import Backoff
from stark.client.errors import NotFound
from stark.crds.certificates import (
    DENIED,
    FAILED,
    NODE_CLIENT_SIGNER,
    NODE_GROUP,
    NODE_SERVING_SIGNER,
    NODE_USER_PREFIX,
    CertificateSigningRequest,
    CertificateSigningRequestSpec,
)
from stark.crds.conditions import find_condition
from stark.crds.meta import ObjectMeta

from .shelf import Credential, Use, key_pem

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

ANSWER_TIMEOUT_S = 900.0
"""How long one request is waited for: a person may have to decide. Then another is made, in case it was taken away."""
LOOK_FIRST_S, LOOK_MAX_S = 0.05, 5.0
SIGNERS = {"client": NODE_CLIENT_SIGNER, "serving": NODE_SERVING_SIGNER}
USAGES = {"client": ["digital signature", "client auth"], "serving": ["digital signature", "server auth"]}


class Refused(Exception):
    """The request was denied, or failed; the message is the cluster's."""


class Unanswered(Exception):
    """Nobody has decided yet."""


def request_pem(node: str, key: ec.EllipticCurvePrivateKey, hosts: Sequence[str]) -> bytes:
    """A PKCS#10 request for a node's identity, with the names it serves by."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.x509.oid import NameOID

    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, NODE_GROUP),
                x509.NameAttribute(NameOID.COMMON_NAME, NODE_USER_PREFIX + node),
            ]
        )
    )
    if hosts:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts]), False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


async def obtain(
    client: Client, node: str, use: Use, key: ec.EllipticCurvePrivateKey, expiration_s: int | None = None
) -> Credential:
    """A certificate for our key. Raises Refused, Unanswered, ApiError."""
    hosts = (node,) if use == "serving" else ()
    request = CertificateSigningRequest(
        metadata=ObjectMeta.model_validate({"generateName": f"node-{use}-"}),
        spec=CertificateSigningRequestSpec(
            request=b64encode(request_pem(node, key, hosts)).decode(),
            signer_name=SIGNERS[use],
            usages=USAGES[use],
            expiration_seconds=expiration_s,
        ),
    )
    made = await client.create(request)
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            pem = await _answer(client, made.metadata.name)
    except TimeoutError:
        raise Unanswered(f"nobody has decided about the certificate request {made.metadata.name} yet") from None
    return Credential(pem, key_pem(key))


async def _answer(client: Client, name: str) -> bytes:
    # Whoever joins may read a request by its name and watch none: it is looked at again and again.
    backoff = Backoff(initial_s=LOOK_FIRST_S, max_s=LOOK_MAX_S)
    while True:
        try:
            seen = await client.get(CertificateSigningRequest, name)
        except NotFound:
            raise Unanswered(f"the certificate request {name} was taken away") from None
        for kind in (DENIED, FAILED):
            condition = find_condition(seen.status.conditions, kind)
            if condition is not None:
                raise Refused(condition.message or f"the certificate request {name} is {kind.lower()}")
        if seen.status.certificate:
            return b64decode(seen.status.certificate)
        await asyncio.sleep(backoff.next_s())
