"""Requests for certificates (certificates.k8s.io/v1) and their revocation: how a program comes to an identity of its own.

A request says whose key it is and what for; somebody approves or denies it, and the signer it names, a part of the API
server, answers with a certificate. What was issued in error, or stolen, is taken back by a CertificateRevocation.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from .conditions import Condition
from .fields import LIST_ATOMIC, Base64, Int32, list_map
from .meta import KubeObject, Model, ResourceDef, Time

GROUP = "certificates.k8s.io"

CLIENT_SIGNER = "kubernetes.io/kube-apiserver-client"
NODE_CLIENT_SIGNER = "kubernetes.io/kube-apiserver-client-kubelet"
NODE_SERVING_SIGNER = "kubernetes.io/kubelet-serving"
LEGACY_SIGNER = "kubernetes.io/legacy-unknown"

NODE_GROUP = "system:nodes"
NODE_USER_PREFIX = "system:node:"
"""An agent's identity: its user is this and the name of its node, its only group the one above."""

APPROVED, DENIED, FAILED = "Approved", "Denied", "Failed"
FINAL = (APPROVED, DENIED, FAILED)
"""Conditions that are True when they are there, and never go again."""

EXPIRATION_MIN_S = 600
"""Shortest lifetime that may be asked for; Kubernetes' figure."""

USAGES = (
    "signing",
    "digital signature",
    "content commitment",
    "key encipherment",
    "key agreement",
    "data encipherment",
    "cert sign",
    "crl sign",
    "encipher only",
    "decipher only",
    "any",
    "server auth",
    "client auth",
    "code signing",
    "email protection",
    "s/mime",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "timestamping",
    "ocsp signing",
    "microsoft sgc",
    "netscape sgc",
)


class CertificateSigningRequestSpec(Model):
    """Who asks for what. Nothing of it ever changes."""

    request: Base64
    """The PKCS#10 request in PEM (block CERTIFICATE REQUEST), in base64."""
    signer_name: str = Field(max_length=571)
    """Who is to sign: a domain and a path, e.g. `kubernetes.io/kubelet-serving`."""
    expiration_seconds: Int32 | None = None
    """Lifetime that is wished for, 600 or more; the signer may give a shorter one."""
    usages: list[str] = Field(default_factory=list, json_schema_extra=LIST_ATOMIC)
    """What the key is for, e.g. `digital signature`, `client auth`."""
    username: str | None = None
    """Who created the request; written by the server."""
    uid: str | None = None
    """The creator's uid; written by the server."""
    groups: list[str] = Field(default_factory=list, json_schema_extra=LIST_ATOMIC)
    """The creator's groups; written by the server."""
    extra: dict[str, list[str]] = Field(default_factory=dict)
    """What else is known of the creator; written by the server."""


class CertificateSigningRequestCondition(Condition):
    """Approved, Denied or Failed, with the reason."""

    last_update_time: Time | None = None
    """When it was last written."""


class CertificateSigningRequestStatus(Model):
    """What became of the request."""

    conditions: list[CertificateSigningRequestCondition] = Field(
        default_factory=list, json_schema_extra=list_map("type")
    )
    """Approved, Denied, Failed. Only the approval subresource writes the first two."""
    certificate: Base64 | None = None
    """What was issued, in PEM, in base64. Never changes once it is there."""


class CertificateSigningRequest(KubeObject):
    """A request for a certificate."""

    RESOURCE: ClassVar[ResourceDef] = ResourceDef(
        group=GROUP,
        version="v1",
        kind="CertificateSigningRequest",
        plural="certificatesigningrequests",
        namespaced=False,
        short_names=("csr",),
        subresources=("approval", "status"),
        selectable_fields=("spec.signerName",),
    )

    spec: CertificateSigningRequestSpec
    """Who asks for what."""
    status: CertificateSigningRequestStatus = Field(default_factory=CertificateSigningRequestStatus)
    """What became of it."""


class CertificateRevocationSpec(Model):
    """Which certificates are good no longer: one by its serial number, or those of a user. Nothing of it ever changes."""

    serial_number: str | None = Field(default=None, pattern=r"^[0-9a-fA-F]{1,40}$")
    """Hexadecimal, without a prefix, as `openssl x509 -serial` prints it."""
    username: str | None = Field(default=None, min_length=1, max_length=253)
    """The common name in the certificates, e.g. `system:node:n1`."""
    issued_before: Time | None = None
    """With `username`: only certificates issued at this moment or earlier; the object's creation when nothing is said."""
    reason: Literal["Unspecified", "KeyCompromise", "Superseded", "CessationOfOperation"] = "Unspecified"
    """Why, in the words of RFC 5280."""


class CertificateRevocation(KubeObject):
    """Takes certificates back: the API server refuses them from the next request on, and ends their open connections."""

    RESOURCE: ClassVar[ResourceDef] = ResourceDef(
        group="stark.dev",
        version="v1",
        kind="CertificateRevocation",
        plural="certificaterevocations",
        namespaced=False,
    )

    spec: CertificateRevocationSpec
    """Which certificates."""
