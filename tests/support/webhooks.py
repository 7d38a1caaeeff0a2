"""Real webhook servers: HTTPS on a free loopback port, with a certificate of an authority made for the test."""

from __future__ import annotations

import asyncio
import base64
import datetime
import ipaddress
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Object = dict[str, Any]
Handler = Callable[[web.Request, Object], Awaitable[web.StreamResponse | Object]]


@dataclass(frozen=True)
class Certificates:
    """An authority, and a server's certificate and key in a file."""

    ca_pem: bytes
    server_file: Path

    @property
    def ca_bundle(self) -> str:
        """As configurations carry it."""
        return base64.b64encode(self.ca_pem).decode()


def make_certificates(folder: Path, names: Sequence[str] = ()) -> Certificates:
    """A certificate for 127.0.0.1 and `names`."""
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "webhook test ca")])
    now = datetime.datetime.now(datetime.UTC)

    def base(subject: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(ca_name).public_key(public)
        builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1))
        return builder.not_valid_after(now + datetime.timedelta(days=1))

    ca = (
        base(ca_name, ca_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    alternatives = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), *(x509.DNSName(name) for name in names)]
    server = (
        base(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "webhook")]), key.public_key())
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = folder / "webhook.pem"
    path.write_bytes(server.public_bytes(pem) + private)
    return Certificates(ca.public_bytes(pem), path)


@dataclass
class WebhookServer:
    """One server with any number of webhooks, each at its own path. `reviews` are the requests it has got, in order."""

    certificates: Certificates
    port: int = 0
    handlers: dict[str, Handler] = field(default_factory=dict)
    reviews: list[tuple[str, Object]] = field(default_factory=list)
    timeouts: list[str] = field(default_factory=list)
    connections: set[Any] = field(default_factory=set)

    def on(self, path: str, handler: Handler) -> None:
        """Answer at a path. The handler gets the request of the review and gives the response of one, or any answer."""
        self.handlers[path] = handler

    def answer(self, path: str, **response: Any) -> None:
        """Always give this response."""

        async def handler(request: web.Request, review: Object) -> Object:
            return response

        self.on(path, handler)

    def asked(self, path: str) -> list[Object]:
        """The requests that came to a path."""
        return [review["request"] for at, review in self.reviews if at == path]

    def client_config(self, path: str) -> Object:
        """How a configuration names it."""
        return {"url": f"https://127.0.0.1:{self.port}{path}", "caBundle": self.certificates.ca_bundle}

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """What the server does with a request."""
        review = await request.json()
        self.reviews.append((request.path, review))
        self.timeouts.append(request.query.get("timeout", ""))
        self.connections.add(request.transport)
        answer = await self.handlers[request.path](request, review)
        if isinstance(answer, web.StreamResponse):
            return answer
        response = {"uid": review["request"]["uid"], **answer}
        return web.json_response({"apiVersion": review["apiVersion"], "kind": review["kind"], "response": response})


@asynccontextmanager
async def webhook_server(folder: Path, names: Sequence[str] = ()) -> AsyncIterator[WebhookServer]:
    """A server that listens until the block ends."""
    server = WebhookServer(make_certificates(folder, names))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server.certificates.server_file)
    app = web.Application(client_max_size=64 << 20)
    app.router.add_post("/{path:.*}", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    server.port = runner.addresses[0][1]
    try:
        yield server
    finally:
        await runner.cleanup()
        await asyncio.sleep(0)  # the transports' last callbacks


def patch(*operations: Object) -> Object:
    """The response that allows with a JSON patch."""
    encoded = base64.b64encode(json.dumps(list(operations)).encode()).decode()
    return {"allowed": True, "patchType": "JSONPatch", "patch": encoded}


def webhook(server: WebhookServer, path: str, **fields: Any) -> Object:
    """A webhook about creations of config maps, unless `fields` say something else."""
    return {
        "name": f"{path.strip('/')}.example.com",
        "clientConfig": server.client_config(path),
        "rules": [rule()],
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        **fields,
    }


def rule(resources: Sequence[str] = ("configmaps",), operations: Sequence[str] = ("CREATE",), **fields: Any) -> Object:
    """A rule about resources of the core group."""
    return {
        "operations": list(operations),
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "resources": list(resources),
        **fields,
    }


def configuration(kind: str, name: str, *webhooks: Object) -> Object:
    """A MutatingWebhookConfiguration or ValidatingWebhookConfiguration; `kind` is `Mutating` or `Validating`."""
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": f"{kind}WebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": list(webhooks),
    }


def path_of(kind: str) -> str:
    """Where such configurations are."""
    return f"/apis/admissionregistration.k8s.io/v1/{kind.lower()}webhookconfigurations"
