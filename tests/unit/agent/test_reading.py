"""An agent reads its certificates as the cryptographic library does, and has TLS judge them."""

from __future__ import annotations

import ssl
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from stark.agent.joining.reading import is_signed_by, read_certificate
from stark.agent.joining.shelf import Credential, key_pem
from stark.apiserver.auth.identities import parse_identity
from stark.apiserver.auth.pki import Authority

KEY = ec.generate_private_key(ec.SECP256R1())
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def certificate(
    name: str = "system:node:n1", end: datetime = BEGIN + timedelta(days=1), organization: str = "x"
) -> bytes:
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization)]
    subject = x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(KEY.public_key())
    dated = builder.not_valid_before(BEGIN).not_valid_after(end).serial_number(x509.random_serial_number())
    return dated.sign(KEY, hashes.SHA256()).public_bytes(Encoding.PEM)


@pytest.mark.parametrize(
    "pem",
    [
        pytest.param(certificate(), id="short"),
        pytest.param(certificate("ä" * 30, organization="y" * 60), id="with long elements"),
        pytest.param(certificate(end=datetime(2051, 5, 6, 7, 8, 9, tzinfo=UTC)), id="beyond 2050"),
        pytest.param(certificate() + certificate("another"), id="the first of several"),
    ],
)
def test_it_reads_what_the_library_reads(pem: bytes) -> None:
    known, read = x509.load_pem_x509_certificate(pem), read_certificate(pem)
    assert read.common_names == tuple(n.value for n in known.subject.get_attributes_for_oid(NameOID.COMMON_NAME))
    assert read.not_valid_before_utc == known.not_valid_before_utc
    assert read.not_valid_after_utc == known.not_valid_after_utc


DER = ssl.PEM_cert_to_DER_cert(certificate().decode())


@given(at=st.integers(0, len(DER) - 1), byte=st.integers(0, 255), cut=st.booleans())
def test_a_damaged_certificate_is_refused_or_read_and_nothing_else(at: int, byte: int, cut: bool) -> None:
    damaged = DER[:at] if cut else DER[:at] + bytes((byte,)) + DER[at + 1 :]
    try:
        read_certificate(ssl.DER_cert_to_PEM_cert(damaged).encode())
    except ValueError:
        return
    assert not cut


@pytest.mark.parametrize("pem", [b"", b"x", b"\xff", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_what_is_no_certificate_is_refused(pem: bytes) -> None:
    with pytest.raises(ValueError):
        read_certificate(pem)


def test_a_credential_is_good_for_its_user_in_its_time_with_its_key() -> None:
    good, other = Credential(certificate(), key_pem(KEY)), ec.generate_private_key(ec.SECP256R1())
    assert good.is_good("system:node:n1", BEGIN)
    assert not good.is_good("system:node:n2", BEGIN)
    assert not good.is_good("system:node:n1", BEGIN - timedelta(seconds=1))
    assert not good.is_good("system:node:n1", BEGIN + timedelta(days=1))
    assert not Credential(certificate(), key_pem(other)).is_good("system:node:n1", BEGIN)


def test_another_authority_is_told_from_our_own(tmp_path: Path) -> None:
    ours, others = Authority.open(tmp_path / "ours"), Authority.open(tmp_path / "others")
    for identity, serves in (("node:n1", False), ("node:n1", True), ("admin", False)):
        issued = ours.issue(parse_identity(identity))
        told = [
            is_signed_by(each.certificate_pem.decode(), issued.certificate_pem, issued.key_pem, serves=serves)
            for each in (ours, others)
        ]
        assert told == [True, False], (identity, serves)


def test_an_agent_starts_without_the_cryptographic_library() -> None:
    code = "import sys, stark.agent.__main__; sys.exit('cryptography' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0, "eight MiB that it need not hold"
