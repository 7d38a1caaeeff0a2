"""Keys and certificate requests as a program makes them that wants an identity."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from .apiserver import Api

CSRS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
CLIENT_USAGES = ("digital signature", "client auth")
SERVING_USAGES = ("digital signature", "server auth")
CLIENT, NODE_CLIENT, NODE_SERVING = (
    f"kubernetes.io/{name}" for name in ("kube-apiserver-client", "kube-apiserver-client-kubelet", "kubelet-serving")
)


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def request_pem(
    name: str, groups: Sequence[str] = (), hosts: Sequence[str] = (), *, key: ec.EllipticCurvePrivateKey | None = None
) -> bytes:
    """A PKCS#10 request."""
    subject = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([*subject, *([x509.NameAttribute(NameOID.COMMON_NAME, name)] if name else [])])
    )
    names: list[x509.GeneralName] = []
    for host in hosts:
        if "://" in host:
            names.append(x509.UniformResourceIdentifier(host))
        elif host[0].isdigit():
            names.append(x509.IPAddress(ip_address(host)))
        else:
            names.append(x509.DNSName(host))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(key or new_key(), hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def odd_request_pem(common_name: str, organization: str) -> bytes:
    """A request whose subject no sound program would write."""
    subject = [
        x509.NameAttribute(oid, text, _validate=False)
        for oid, text in ((NameOID.ORGANIZATION_NAME, organization), (NameOID.COMMON_NAME, common_name))
    ]
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(subject))
    return builder.sign(new_key(), hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def csr(
    name: str,
    pem: bytes,
    signer: str = CLIENT,
    usages: Sequence[str] = CLIENT_USAGES,
    **spec: Any,
) -> dict[str, Any]:
    """A CertificateSigningRequest."""
    return {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"name": name},
        "spec": {"request": b64encode(pem).decode(), "signerName": signer, "usages": list(usages), **spec},
    }


def node_csr(name: str, node: str, *, key: ec.EllipticCurvePrivateKey | None = None, **spec: Any) -> dict[str, Any]:
    """A request for a node's client certificate."""
    return csr(name, request_pem(f"system:node:{node}", ["system:nodes"], key=key), NODE_CLIENT, **spec)


async def approve(api: Api, name: str, kind: str = "Approved") -> dict[str, Any]:
    """As `kubectl certificate approve` does it."""
    body = (await api.get(f"{CSRS}/{name}")).ok()
    condition = {"type": kind, "status": "True", "reason": "Test", "message": "by hand"}
    body["status"].setdefault("conditions", []).append(condition)
    answer: dict[str, Any] = (await api.put(f"{CSRS}/{name}/approval", body)).ok()
    return answer


async def settled(api: Api, name: str) -> dict[str, Any]:
    """The request once it is signed, failed or denied."""
    async with api.watch(f"{CSRS}?fieldSelector=metadata.name%3D{name}") as watch:
        while True:
            _, found = await watch.next()
            types = {item["type"] for item in found["status"].get("conditions", ())}
            if found["status"].get("certificate") or types & {"Denied", "Failed"}:
                return found


def certificate_of(found: dict[str, Any]) -> x509.Certificate:
    return x509.load_pem_x509_certificate(b64decode(found["status"]["certificate"]))
