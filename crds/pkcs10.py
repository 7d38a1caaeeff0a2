"""What a certificate signing request (PKCS#10, RFC 2986) asks for, and what each of our signers gives.

Pure: from bytes to a plain value, and from that to complaints. The rules are those of Kubernetes' signers: a node's client
certificate names the node and nothing else, its serving certificate names hosts, and nobody is given an authority.
"""

from __future__ import annotations

import binascii
import hashlib
from base64 import b64decode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from .certificates import CLIENT_SIGNER, NODE_CLIENT_SIGNER, NODE_GROUP, NODE_SERVING_SIGNER, NODE_USER_PREFIX
from .names import dns_subdomain_problems

REQUEST_BYTES_MAX = 64 * 1024
"""Of a request: the largest keys and a hundred names take less than a tenth."""
PEM_LABEL = "CERTIFICATE REQUEST"
RSA_BITS_MIN = 2048
"""Shorter keys are signed by nobody any more (NIST SP 800-131A)."""
RSA_BITS_MAX = 8192
"""Longer ones only cost everybody's time."""

NAME_SHOWN_MAX = 64
"""Characters of a name that is told in a complaint."""

DIGITAL_SIGNATURE, KEY_ENCIPHERMENT = "digital signature", "key encipherment"
CLIENT_AUTH, SERVER_AUTH = "client auth", "server auth"

MASTERS = "system:masters"
API_SERVER = "system:apiserver"
"""As whom agents trust the API server, by this name alone."""

PublicKey = CertificateIssuerPublicKeyTypes


class BadRequestFile(ValueError):
    """The bytes are no request that could be signed; the message says why."""


@dataclass(frozen=True, slots=True)
class Names:
    """The subject alternative names of a request, by their type."""

    dns: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    others: int = 0
    """E-mail addresses, URIs and everything else that no signer of ours gives."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a request asks for. Its signature has been verified: who sent it has the private key."""

    common_name: str
    organizations: tuple[str, ...]
    names: Names
    key: PublicKey

    @property
    def fingerprint(self) -> str:
        """Of the key: the same for two requests by the same holder."""
        info = self.key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return hashlib.sha256(info).hexdigest()

    @property
    def node_name(self) -> str:
        """The node whose identity is asked for; empty when it is nobody's of the kind."""
        is_node = self.common_name.startswith(NODE_USER_PREFIX) and self.organizations == (NODE_GROUP,)
        return self.common_name.removeprefix(NODE_USER_PREFIX) if is_node else ""


def read_request(encoded: str) -> Wanted:
    """From a CertificateSigningRequest's `spec.request`. Raises BadRequestFile."""
    if len(encoded) > REQUEST_BYTES_MAX:
        raise BadRequestFile(f"longer than {REQUEST_BYTES_MAX} bytes")
    try:
        pem = b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadRequestFile("not base64") from error
    if f"-----BEGIN {PEM_LABEL}-----".encode() not in pem:
        raise BadRequestFile(f"PEM block type must be {PEM_LABEL}")
    try:
        request = x509.load_pem_x509_csr(pem)
        if not request.is_signature_valid:
            raise BadRequestFile("the signature is not by the key that is to be certified")
        key = request.public_key()
        names = _names(request)
    except (ValueError, UnsupportedAlgorithm, x509.UnsupportedGeneralNameType, x509.DuplicateExtension) as error:
        raise BadRequestFile(f"not a PKCS#10 request: {error}") from error
    common_names = _texts(request.subject, NameOID.COMMON_NAME)
    return Wanted(
        common_names[-1] if common_names else "",
        _texts(request.subject, NameOID.ORGANIZATION_NAME),
        names,
        _sound(key),
    )


def _sound(key: object) -> PublicKey:
    if isinstance(key, rsa.RSAPublicKey):
        if not RSA_BITS_MIN <= key.key_size <= RSA_BITS_MAX:
            raise BadRequestFile(f"an RSA key has {RSA_BITS_MIN} to {RSA_BITS_MAX} bits here, this one {key.key_size}")
        return key
    if isinstance(key, ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey):
        return key
    raise BadRequestFile("the key must be RSA, ECDSA or Ed25519")


def _texts(name: x509.Name, oid: x509.ObjectIdentifier) -> tuple[str, ...]:
    return tuple(str(attribute.value) for attribute in name.get_attributes_for_oid(oid))


def _names(request: x509.CertificateSigningRequest) -> Names:
    try:
        found = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return Names()
    dns = tuple(name.value for name in found if isinstance(name, x509.DNSName))
    addresses = tuple(str(name.value) for name in found if isinstance(name, x509.IPAddress))
    return Names(dns, addresses, len(found) - len(dns) - len(addresses))


@dataclass(frozen=True, slots=True)
class Signer:
    """What one signer gives."""

    purpose: str
    """The usage without which the request makes no sense."""
    usages: frozenset[str]
    """All that may be asked for."""
    is_node: bool
    """Whether the subject must be a node's."""


SIGNERS: Mapping[str, Signer] = {
    CLIENT_SIGNER: Signer(CLIENT_AUTH, frozenset({DIGITAL_SIGNATURE, KEY_ENCIPHERMENT, CLIENT_AUTH}), is_node=False),
    NODE_CLIENT_SIGNER: Signer(
        CLIENT_AUTH, frozenset({DIGITAL_SIGNATURE, KEY_ENCIPHERMENT, CLIENT_AUTH}), is_node=True
    ),
    NODE_SERVING_SIGNER: Signer(
        SERVER_AUTH, frozenset({DIGITAL_SIGNATURE, KEY_ENCIPHERMENT, SERVER_AUTH}), is_node=True
    ),
}


def signer_complaints(signer_name: str, wanted: Wanted, usages: Sequence[str]) -> Iterable[str]:
    """Why this signer would not give what is wanted, approved or not."""
    signer = SIGNERS[signer_name]
    if not wanted.common_name:
        yield "the subject has no common name"
    if MASTERS in wanted.organizations or wanted.common_name == API_SERVER:
        yield f"no signer gives certificates for the group {MASTERS} or the user {API_SERVER}"
    too_much = sorted(set(usages) - signer.usages)
    if too_much:
        yield f"this signer does not give the usages {', '.join(too_much)}"
    if signer.purpose not in usages:
        yield f"this signer is for the usage {signer.purpose}"
    if signer.is_node:
        yield from _node_complaints(signer_name, wanted)


def _node_complaints(signer_name: str, wanted: Wanted) -> Iterable[str]:
    if not wanted.node_name:
        yield f"the subject must be O={NODE_GROUP}, CN={NODE_USER_PREFIX}<name>"
    elif dns_subdomain_problems(wanted.node_name):
        yield f"no node has the name {wanted.node_name[:NAME_SHOWN_MAX]!r}"
    if wanted.names.others:
        yield "e-mail addresses and URIs are not given as names"
    has_names = bool(wanted.names.dns or wanted.names.addresses)
    if signer_name == NODE_CLIENT_SIGNER and has_names:
        yield "a client certificate has no subject alternative names"
    if signer_name == NODE_SERVING_SIGNER and not has_names:
        yield "a serving certificate needs a DNS name or an address"
