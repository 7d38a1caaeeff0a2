"""Certificates that somebody else has signed, for the names by which people and browsers know the server.

Chosen by the name that a client asks for (RFC 6066 section 3), as kube-apiserver's `--tls-sni-cert-key` does; whoever
asks for none of these names gets the cluster's own certificate, which is what agents and kubeconfigs trust.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog
from cryptography import x509
from cryptography.x509.oid import NameOID

log = structlog.get_logger(__name__)

Pair = tuple[Path, Path]
NewContext = Callable[[], ssl.SSLContext]
Stamp = tuple[int, ...]


class BadCertificate(ValueError):
    """The files are no certificate with its key; the message says which and why."""


@dataclass(slots=True)
class _Given:
    pair: Pair
    stamp: Stamp
    names: tuple[str, ...]
    context: ssl.SSLContext


class GivenCertificates:
    """Reads them, and again when the files have changed, as those do that an ACME client renews."""

    def __init__(self, pairs: Sequence[Pair], new_context: NewContext) -> None:
        """Raises BadCertificate."""
        self._new_context = new_context
        self._given = [self._read(pair) for pair in pairs]

    def attach(self, context: ssl.SSLContext) -> None:
        """From now on clients of `context` get the certificate of the name they ask for."""
        if self._given:
            context.sni_callback = self._choose

    def _choose(self, connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        for given in self._given:
            if name is not None and any(covers(pattern, name) for pattern in given.names):
                connection.context = given.context
                return

    def refresh(self) -> None:
        """Take what is new in the files. What cannot be read is told, and the old one goes on."""
        for at, given in enumerate(self._given):
            try:
                if _stamp(given.pair) != given.stamp:
                    self._given[at] = self._read(given.pair)
                    log.info("certificate read again", file=str(given.pair[0]))
            except (BadCertificate, OSError) as error:
                log.error("a new certificate cannot be used, the old one goes on", error=str(error))

    def _read(self, pair: Pair) -> _Given:
        certificate_path, key_path = pair
        try:
            stamp = _stamp(pair)
            certificate = x509.load_pem_x509_certificates(certificate_path.read_bytes())[0]
            context = self._new_context()
            context.load_cert_chain(certificate_path, key_path)
        except OSError as error:  # among them ssl.SSLError: a key that is another certificate's
            why = error.strerror or str(error)
            raise BadCertificate(f"{certificate_path} with the key {key_path}: {why}") from error
        except ValueError as error:
            raise BadCertificate(f"{certificate_path} is no certificate in PEM: {error}") from error
        names = names_of(certificate)
        if not names:
            raise BadCertificate(f"{certificate_path} is for no DNS name: nobody would ever be shown it")
        if certificate.not_valid_after_utc < datetime.now(UTC):
            log.warning("a certificate has expired", file=str(certificate_path), names=names)
        return _Given(pair, stamp, names, context)


def names_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """The DNS names it is for, in small letters; the common name where it has no others (RFC 6125 section 6.4.4)."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = found.get_values_for_type(x509.DNSName)
    except x509.ExtensionNotFound:
        common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        names = [str(each.value) for each in common]
    return tuple(name.lower() for name in names)


def covers(pattern: str, name: str) -> bool:
    """Whether a certificate's name is for this host: a `*` stands for one label, the first (RFC 6125 section 6.4.3)."""
    host = name.lower().rstrip(".")
    if not pattern.startswith("*."):
        return pattern == host
    label, dot, rest = host.partition(".")
    return bool(label) and bool(dot) and rest == pattern[2:]


def _stamp(pair: Pair) -> Stamp:
    """What changes when a file does. Raises OSError."""
    found = [path.stat() for path in pair]
    return tuple(part for each in found for part in (each.st_mtime_ns, each.st_size, each.st_ino))
