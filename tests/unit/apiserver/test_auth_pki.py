"""The authority and TLS, over real sockets: who gets in and who does not."""

from __future__ import annotations

import argparse
import asyncio
import base64
import re
import ssl
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from cryptography import x509

from stark.apiserver.another_authority import is_another
from stark.apiserver.auth.authentication import certificate_user
from stark.apiserver.auth.files import write_whole
from stark.apiserver.auth.identities import ADMIN, CONTROLLER_PROGRAM, UnknownIdentity, node_identity, parse_identity
from stark.apiserver.auth.kubeconfig import add_kubeconfig_command
from stark.apiserver.auth.pki import (
    Authority,
    Credential,
    PkiError,
    ServerTls,
    agent_client_context,
    listen_hosts,
)

HOSTS = listen_hosts("127.0.0.1")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.open(tmp_path / "pki")


def client_context(authority: Authority, tmp_path: Path, credential: Credential | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=authority.certificate_pem.decode())
    if credential is not None:
        certificate, key = tmp_path / "client.crt", tmp_path / "client.key"
        write_whole(certificate, credential.certificate_pem)
        write_whole(key, credential.key_pem)
        context.load_cert_chain(certificate, key)
    return context


@asynccontextmanager
async def serving(context: ssl.SSLContext) -> AsyncIterator[int]:
    """A server that tells its client who the client is."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        user = certificate_user(writer.get_extra_info("peercert"))
        writer.write(f"{user.name} {','.join(user.groups)}".encode() if user else b"nobody")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def ask(port: int, context: ssl.SSLContext, name: str = "127.0.0.1") -> str:
    """What the server says; raises ssl.SSLError or ConnectionError when it hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)
    try:
        return (await reader.read()).decode()
    finally:
        writer.close()


async def test_a_client_certificate_of_the_authority_names_user_and_groups(
    authority: Authority, tmp_path: Path
) -> None:
    tls = ServerTls(authority, HOSTS)
    async with serving(tls.context) as port:
        assert await ask(port, client_context(authority, tmp_path, authority.issue(ADMIN))) == "admin system:masters"
        node = client_context(authority, tmp_path, authority.issue(node_identity("n1")))
        assert await ask(port, node) == "system:node:n1 system:nodes"


async def test_a_client_without_certificate_gets_in_as_nobody(authority: Authority, tmp_path: Path) -> None:
    async with serving(ServerTls(authority, HOSTS).context) as port:
        assert await ask(port, client_context(authority, tmp_path)) == "nobody"


def refusal(server: ssl.SSLContext, client: ssl.SSLContext) -> str:
    """Why the server ends the handshake, in OpenSSL's words; empty when it does not."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    theirs = client.wrap_bio(to_client, to_server, server_hostname="localhost")
    ours = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        try:
            theirs.do_handshake()
        except ssl.SSLWantReadError:
            pass
        try:
            ours.do_handshake()
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLCertVerificationError as error:
            return error.verify_message
        return ""
    raise AssertionError("the handshake did not end")


@pytest.mark.parametrize(
    ("flaw", "reason"),
    [
        ("foreign authority", "unable to get local issuer certificate|signature failure"),
        ("expired", "certificate has expired"),
        ("not yet valid", "certificate is not yet valid"),
        ("server certificate", "unsuitable certificate purpose|unsupported certificate purpose"),
    ],
)
async def test_a_flawed_client_certificate_is_refused(
    authority: Authority, tmp_path: Path, flaw: str, reason: str
) -> None:
    now = datetime.now(UTC)
    credentials = {
        "foreign authority": lambda: Authority.open(tmp_path / "other").issue(ADMIN),
        "expired": lambda: authority.issue(ADMIN, now=now - timedelta(days=2), lifetime=timedelta(days=1)),
        "not yet valid": lambda: authority.issue(ADMIN, now=now + timedelta(days=1)),
        "server certificate": lambda: authority.issue_server(["localhost"]),
    }
    context = client_context(authority, tmp_path, credentials[flaw]())
    tls = ServerTls(authority, HOSTS)
    assert re.search(reason, refusal(tls.context, context))
    async with serving(tls.context) as port:
        # The server says at least "nobody" to whomever it lets in. With TLS 1.3 the client's handshake is through
        # before the server judges the certificate, so the refusal is seen at the first read.
        try:
            said = await ask(port, context)
        except (ssl.SSLError, ConnectionError):
            said = ""
        assert said == ""


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "kubernetes.default.svc", "stark.example"])
async def test_the_server_is_trusted_under_each_of_its_names(authority: Authority, tmp_path: Path, name: str) -> None:
    tls = ServerTls(authority, listen_hosts("0.0.0.0", ["stark.example"]))
    async with serving(tls.context) as port:
        assert await ask(port, client_context(authority, tmp_path), name) == "nobody"
        with pytest.raises(ssl.SSLCertVerificationError):
            await ask(port, client_context(authority, tmp_path), "elsewhere.example")


async def test_the_server_refuses_tls_older_than_1_2(authority: Authority, tmp_path: Path) -> None:
    tls = ServerTls(authority, HOSTS)
    assert tls.context.minimum_version == ssl.TLSVersion.TLSv1_2
    context = client_context(authority, tmp_path)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with serving(tls.context) as port:
        assert await ask(port, context) == "nobody"


async def test_an_agent_knows_the_api_server_and_the_api_server_knows_the_node(
    authority: Authority, tmp_path: Path
) -> None:
    agent = authority.issue(node_identity("n1"), hosts=["10.0.0.7"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=authority.certificate_pem.decode())
    write_whole(tmp_path / "a.crt", agent.certificate_pem)
    write_whole(tmp_path / "a.key", agent.key_pem)
    context.load_cert_chain(tmp_path / "a.crt", tmp_path / "a.key")
    async with serving(context) as port:
        assert await ask(port, agent_client_context(authority), "n1") == "system:apiserver system:masters"
        assert await ask(port, agent_client_context(authority), "10.0.0.7") == "system:apiserver system:masters"
        with pytest.raises(ssl.SSLCertVerificationError):
            await ask(port, agent_client_context(authority), "n2")


def test_the_authority_and_a_fresh_leaf_outlive_a_restart(tmp_path: Path) -> None:
    first = Authority.open(tmp_path)
    ServerTls(first, HOSTS)
    leaf = (tmp_path / "apiserver.crt").read_bytes()
    second = Authority.open(tmp_path)
    ServerTls(second, list(reversed(HOSTS)))
    assert second.certificate_pem == first.certificate_pem
    assert (tmp_path / "apiserver.crt").read_bytes() == leaf


@pytest.mark.parametrize("change", ["other hosts", "close to expiry", "damaged", "foreign", "key lost", "key swapped"])
def test_a_leaf_that_no_longer_serves_is_issued_anew(tmp_path: Path, change: str) -> None:
    authority = Authority.open(tmp_path)
    tls = ServerTls(authority, HOSTS)
    before = (tmp_path / "apiserver.crt").read_bytes()
    hosts, now = HOSTS, datetime.now(UTC)
    if change == "other hosts":
        hosts = listen_hosts("10.1.2.3")
    elif change == "close to expiry":
        now = tls.expires_at - timedelta(days=29)
    elif change == "damaged":
        (tmp_path / "apiserver.crt").write_bytes(before[:200])
    elif change == "foreign":
        other = Authority.open(tmp_path / "other").issue_server(HOSTS)
        (tmp_path / "apiserver.crt").write_bytes(other.certificate_pem)
        (tmp_path / "apiserver.key").write_bytes(other.key_pem)
    elif change == "key lost":
        (tmp_path / "apiserver.key").unlink()
    else:
        (tmp_path / "apiserver.key").write_bytes(authority.issue(ADMIN).key_pem)
    ServerTls(authority, hosts, now=now)
    renewed = x509.load_pem_x509_certificate((tmp_path / "apiserver.crt").read_bytes())
    assert (tmp_path / "apiserver.crt").read_bytes() != before
    assert authority.signed(renewed)
    assert renewed.not_valid_after_utc - now > timedelta(days=300)


async def test_a_running_server_takes_up_its_renewed_certificate(tmp_path: Path) -> None:
    authority = Authority.open(tmp_path / "pki")
    almost_over = datetime.now(UTC) - timedelta(days=340)
    tls = ServerTls(authority, HOSTS, now=almost_over)
    async with serving(tls.context) as port:
        assert tls.refresh() is True
        assert tls.refresh() is False
        context = client_context(authority, tmp_path)
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")
        shown = writer.get_extra_info("peercert")["notAfter"]
        writer.close()
    assert ssl.cert_time_to_seconds(shown) == int(tls.expires_at.timestamp())


def test_private_files_are_private(tmp_path: Path) -> None:
    ServerTls(Authority.open(tmp_path / "pki"), HOSTS)

    def mode(path: Path) -> int:
        return stat.S_IMODE(path.stat().st_mode)

    assert mode(tmp_path / "pki") == 0o700
    assert {mode(path) for path in (tmp_path / "pki").glob("*.key")} == {0o600}


def test_an_authority_without_its_key_is_an_error_and_not_replaced(tmp_path: Path) -> None:
    Authority.open(tmp_path)
    certificate = (tmp_path / "ca.crt").read_bytes()
    (tmp_path / "ca.key").unlink()
    with pytest.raises(PkiError, match=r"ca\.key is not"):
        Authority.open(tmp_path)
    assert (tmp_path / "ca.crt").read_bytes() == certificate


def test_a_key_that_a_crash_left_alone_is_replaced(tmp_path: Path) -> None:
    write_whole(tmp_path / "ca.key", b"half a start")
    assert Authority.open(tmp_path).issue(ADMIN).key_pem


@pytest.mark.parametrize(
    "text", ["root", "node:", "node:UPPER", "node:localhost", "node:kubernetes", "node:" + "a" * 60]
)
def test_what_is_no_identity_gets_no_certificate(text: str) -> None:
    with pytest.raises(UnknownIdentity):
        parse_identity(text)


def run_command(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    add_kubeconfig_command(parser.add_subparsers())
    parsed = parser.parse_args(["kubeconfig", *arguments])
    return int(parsed.run(parsed))


def test_the_kubeconfig_command_writes_a_private_file_that_embeds_everything(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "n1.kubeconfig"
    options = ["--data-dir", str(tmp_path), "--server", "https://127.0.0.1:6443", "--out", str(out)]
    assert run_command(*options, "--identity", "node:n1", "--address", "10.0.0.9") == 0
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    config = yaml.safe_load(out.read_text())
    user = config["users"][0]["user"]
    certificate = x509.load_pem_x509_certificate(base64.b64decode(user["client-certificate-data"]))
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["n1", "localhost"]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "10.0.0.9"]
    assert config["current-context"] == config["contexts"][0]["name"]
    assert base64.b64decode(config["clusters"][0]["cluster"]["certificate-authority-data"]).startswith(b"-----BEGIN")


def test_the_kubeconfig_command_tells_wrong_use_from_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--data-dir", str(tmp_path), "--out", str(tmp_path / "out")]
    assert run_command(*options, "--server", "http://x", "--identity", "admin") == 2
    assert run_command(*options, "--server", "https://x", "--identity", "emperor") == 2
    Authority.open(tmp_path / "pki")
    (tmp_path / "pki" / "ca.key").unlink()
    assert run_command(*options, "--server", "https://x", "--identity", "admin") == 1
    assert "ca.key" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_controllers_have_their_own_group() -> None:
    assert parse_identity("controllers") == CONTROLLER_PROGRAM
    assert "system:masters" not in CONTROLLER_PROGRAM.groups


def test_an_authority_is_another_when_nothing_that_is_published_is_trusted(tmp_path: Path) -> None:
    ours, other = Authority.open(tmp_path / "a"), Authority.open(tmp_path / "b")
    published = (other.certificate_pem + ours.certificate_pem).decode()
    assert not is_another(published, ours), "one of two, while the authority is being replaced"
    assert is_another(other.certificate_pem.decode(), ours)
    assert not is_another("", ours)
