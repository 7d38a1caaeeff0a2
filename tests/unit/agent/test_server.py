"""The agent's HTTPS endpoint: who may ask, and what kubectl's parameters give."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from stark.agent.logs import LogShelf
from stark.agent.server import AgentServer, tls_context
from stark.agent.supervisor.logfile import LogFile
from stark.client.config import ClientConfig

PEM = serialization.Encoding.PEM


class Authority:
    """A certificate authority for a test."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        self.certificate = self._sign(self._name, self._key, x509.BasicConstraints(ca=True, path_length=None))
        self.pem = self.certificate.public_bytes(PEM)

    def issue(self, name: str, organization: str = "") -> tuple[bytes, bytes]:
        """Certificate and key of an identity."""
        key = ec.generate_private_key(ec.SECP256R1())
        parts = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
        if organization:
            parts.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
        certificate = self._sign(x509.Name(parts), key, x509.BasicConstraints(ca=False, path_length=None))
        private = key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return certificate.public_bytes(PEM), private

    def _sign(
        self, name: x509.Name, key: ec.EllipticCurvePrivateKey, constraints: x509.BasicConstraints
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        names: list[x509.GeneralName] = [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=1))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(constraints, critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )


class Endpoint:
    """A running endpoint and ways to ask it."""

    def __init__(self, authority: Authority, shelf: LogShelf, folder: Path) -> None:
        self.authority = authority
        self.shelf = shelf
        self.running = False
        self.healthy = True
        self._folder = folder
        self.server = AgentServer(shelf, lambda _uid, _name, _attempt: self.running, lambda: self.healthy)

    async def get(self, path: str, name: str = "", organization: str = "") -> tuple[int, str]:
        context = ssl.create_default_context(cadata=self.authority.pem.decode())
        if name:
            certificate, key = self.authority.issue(name, organization)
            (self._folder / "client.crt").write_bytes(certificate + key)
            context.load_cert_chain(self._folder / "client.crt")
        connector = aiohttp.TCPConnector(ssl=context)
        async with aiohttp.ClientSession(connector=connector) as session:
            async with session.get(f"https://127.0.0.1:{self.server.port}{path}") as answer:
                return answer.status, await answer.text()

    async def logs(self, query: str = "", container: str = "main") -> tuple[int, str]:
        return await self.get(f"/containerLogs/ns/pod/{container}{query}", "system:apiserver", "system:masters")


@pytest.fixture
async def endpoint(tmp_path: Path) -> AsyncIterator[Endpoint]:
    authority = Authority()
    certificate, key = authority.issue("system:node:n", "system:nodes")
    config = ClientConfig("https://x", ca_data=authority.pem, client_cert_data=certificate, client_key_data=key)
    context = tls_context(config, tmp_path / "pki")
    assert context is not None
    made = Endpoint(authority, LogShelf(tmp_path / "logs"), tmp_path)
    folder = made.shelf.folder("ns", "pod", "uid", "main")
    folder.mkdir(parents=True)
    for attempt, text in enumerate((b"first run\n", b"one\ntwo\nthree\n")):
        log = LogFile(str(folder / f"{attempt}.log"), 1 << 20, 5)
        log.feed("stdout", text)
        log.close()
    await made.server.start("127.0.0.1", 0, context)
    try:
        yield made
    finally:
        await made.server.close()


@pytest.mark.parametrize(
    ("path", "name", "organization", "status"),
    [
        pytest.param("/healthz", "", "", 200, id="anybody may ask for health"),
        pytest.param("/metrics", "", "", 401, id="nobody without a certificate sees metrics"),
        pytest.param("/stats/summary", "", "", 401, id="nor what is used"),
        pytest.param("/stats/summary", "system:node:n", "system:nodes", 403, id="another node does not either"),
        pytest.param("/stats/summary", "system:apiserver", "", 200, id="but the API server does"),
        pytest.param("/containerLogs/ns/pod/main", "", "", 401, id="nor logs"),
        pytest.param("/containerLogs/ns/pod/main", "system:node:n", "system:nodes", 403, id="nor does another node"),
        pytest.param("/containerLogs/ns/pod/main", "system:apiserver", "", 200, id="the API server does"),
        pytest.param("/metrics", "admin", "system:masters", 200, id="and so does an administrator"),
    ],
)
async def test_who_may_ask(endpoint: Endpoint, path: str, name: str, organization: str, status: int) -> None:
    assert (await endpoint.get(path, name, organization))[0] == status


async def test_a_stranger_with_a_certificate_of_another_authority_is_turned_away(endpoint: Endpoint) -> None:
    trusted = endpoint.authority.pem
    endpoint.authority = Authority()
    endpoint.authority.pem = trusted
    with pytest.raises(aiohttp.ClientError):
        await endpoint.get("/metrics", "system:apiserver", "system:masters")


@pytest.mark.parametrize(
    ("query", "status", "text"),
    [
        pytest.param("", 200, "one\ntwo\nthree\n", id="the current run"),
        pytest.param("?previous=true", 200, "first run\n", id="the previous run"),
        pytest.param("?tailLines=1", 200, "three\n", id="the last line"),
        pytest.param("?limitBytes=5", 200, "one\nt", id="five bytes"),
        pytest.param("?sinceSeconds=3600&tailLines=2", 200, "two\nthree\n", id="of the last hour"),
        pytest.param("?sinceTime=2999-01-01T00:00:00Z", 200, "", id="since the far future"),
        pytest.param("?follow=true", 200, "one\ntwo\nthree\n", id="following what has ended ends"),
        pytest.param("?tailLines=many", 400, "tailLines: expected a number", id="a wrong number"),
        pytest.param("?follow=perhaps", 400, "follow: expected true or false", id="a wrong flag"),
    ],
)
async def test_parameters_mean_what_kubectl_means(endpoint: Endpoint, query: str, status: int, text: str) -> None:
    seen = await endpoint.logs(query)
    assert seen[0] == status
    assert seen[1] == text if status == 200 else text in seen[1]


async def test_an_absent_container_or_pod_is_told(endpoint: Endpoint) -> None:
    assert (await endpoint.logs(container="other"))[0] == 400
    assert (await endpoint.get("/containerLogs/ns/none/main", "system:apiserver"))[0] == 404
    assert (await endpoint.get("/containerLogs/ns/..%2F..%2Fpki/main", "system:apiserver"))[0] == 404


async def test_an_agent_that_is_not_ready_says_so(endpoint: Endpoint) -> None:
    endpoint.healthy = False
    assert (await endpoint.get("/healthz"))[0] == 503


def test_without_a_certificate_there_is_no_endpoint(tmp_path: Path) -> None:
    assert tls_context(ClientConfig("https://x"), tmp_path) is None
