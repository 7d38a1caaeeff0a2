"""Which certificate a client is shown: by the name it asks for, from files that may change."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509

from stark.apiserver.auth.given_certificates import BadCertificate, covers
from stark.apiserver.auth.pki import Authority, ServerTls


def written(folder: Path, *names: str) -> tuple[Path, Path]:
    """A certificate of another authority for these names."""
    folder.mkdir(exist_ok=True)
    credential = Authority.open(folder / "pki").issue_server(names, now=datetime.now(UTC))
    (folder / "c.pem").write_bytes(credential.certificate_pem)
    (folder / "k.pem").write_bytes(credential.key_pem)
    return folder / "c.pem", folder / "k.pem"


async def shown(tls: ServerTls, name: str | None) -> set[str]:
    """The DNS names of the certificate that a client is shown that asks for `name`."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=tls.context)
    async with server:
        port = server.sockets[0].getsockname()[1]
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name or "127.0.0.1")
        der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
    found = x509.load_der_x509_certificate(der).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return set(found.value.get_values_for_type(x509.DNSName))


def tls_with(tmp_path: Path, pairs: Sequence[tuple[Path, Path]]) -> ServerTls:
    return ServerTls(Authority.open(tmp_path / "own"), ["internal"], given=pairs)


async def test_who_asks_for_its_name_is_shown_it_and_everybody_else_the_clusters_own(tmp_path: Path) -> None:
    pairs = [
        written(tmp_path / "a", "stark.example.com", "*.apps.example.com"),
        written(tmp_path / "b", "other.example"),
    ]
    tls = tls_with(tmp_path, pairs)
    assert "stark.example.com" in await shown(tls, "Stark.Example.com")
    assert "stark.example.com" in await shown(tls, "x.apps.example.com")
    assert await shown(tls, "other.example") == {"other.example"}
    for others in ("internal", "x.y.apps.example.com", None):
        assert await shown(tls, others) == {"internal"}


async def test_a_renewed_certificate_is_taken_and_a_broken_one_is_not(tmp_path: Path) -> None:
    pair = written(tmp_path / "a", "one.example")
    tls = tls_with(tmp_path, [pair])
    pair[0].write_text("broken")
    tls.refresh()
    assert await shown(tls, "one.example") == {"one.example"}
    written(tmp_path / "a", "one.example", "two.example")
    os.utime(pair[0], ns=(1, 1))
    tls.refresh()
    assert await shown(tls, "two.example") == {"one.example", "two.example"}


@pytest.mark.parametrize("what", ["missing", "no certificate", "another's key"])
def test_files_that_will_not_do_are_named(what: str, tmp_path: Path) -> None:
    certificate, key = written(tmp_path / "a", "one.example")
    if what == "missing":
        key.unlink()
    elif what == "no certificate":
        certificate.write_text("hello")
    else:
        key.write_bytes(written(tmp_path / "b", "two.example")[1].read_bytes())
    with pytest.raises(BadCertificate, match=r"c\.pem"):
        tls_with(tmp_path, [(certificate, key)])


@pytest.mark.parametrize(
    ("pattern", "name", "is_for"),
    [
        ("a.example", "A.Example.", True),
        ("*.example", "a.example", True),
        ("*.example", "example", False),
        ("*.example", ".example", False),
        ("*.example", "a.b.example", False),
        ("a.example", "b.example", False),
    ],
)
def test_a_star_stands_for_one_label(pattern: str, name: str, is_for: bool) -> None:
    assert covers(pattern, name) is is_for
