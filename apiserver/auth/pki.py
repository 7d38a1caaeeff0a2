"""The cluster's own certificate authority, and the certificates it signs.

Lives in DATA_DIR/pki: `ca.crt`, `ca.key`, `apiserver.crt`, `apiserver.key`. The authority outlives everything it
signed and is never replaced unasked: losing `ca.key` beside a `ca.crt` is an error that a person resolves, since a new
authority would silently lock out every agent. While it is being replaced (`authority_rotation`), `ca.crt` holds the
successor or predecessor, too: all of them are trusted, and the one that `ca.key` belongs to signs. Leaves are reused across
starts and issued anew when they are about to expire or name other hosts.
"""

from __future__ import annotations

import ipaddress
import ssl
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from stark.crds.pkcs10 import CLIENT_AUTH, KEY_ENCIPHERMENT, SERVER_AUTH, PublicKey, Wanted
from stark.crds.tenancy import NOBODY, Owner

from .files import PUBLIC_FILE_MODE, locked, private_directory, write_whole
from .given_certificates import GivenCertificates, Pair
from .identities import API_SERVER, CLOCK_SKEW, Identity, owner_uris

AUTHORITY_LIFETIME = timedelta(days=3650)
LEAF_LIFETIME = timedelta(days=365)
RENEW_BEFORE = timedelta(days=30)
"""A leaf with less time left is issued anew: a month of daily attempts before anything stops working."""

PURPOSES = {CLIENT_AUTH: ExtendedKeyUsageOID.CLIENT_AUTH, SERVER_AUTH: ExtendedKeyUsageOID.SERVER_AUTH}
"""Usages that are purposes (extended key usages); the others say how the key is used."""

LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "::1")
SERVER_HOSTS = (
    *LOOPBACK_HOSTS,
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)
"""Names the API server always has beside the ones it listens on; in-cluster clients use the kubernetes ones."""


class PkiError(Exception):
    """The files of the authority are incomplete or unreadable; the message says which and what to do."""


@dataclass(frozen=True, slots=True)
class Credential:
    """A certificate with its private key, both PEM."""

    certificate_pem: bytes
    key_pem: bytes


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _subject(identity: Identity) -> x509.Name:
    organisations = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in identity.groups]
    return x509.Name([*organisations, x509.NameAttribute(NameOID.COMMON_NAME, identity.user)])


def _key_usage(*, authority: bool, key_encipherment: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=key_encipherment,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def new_authority(now: datetime) -> Credential:
    """A new authority, which has signed nothing yet."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "stark-ca")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + AUTHORITY_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(authority=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Credential(certificate.public_bytes(serialization.Encoding.PEM), _key_pem(key))


class Authority:
    """Signs every certificate of one cluster. Safe to open from several processes."""

    def __init__(
        self,
        directory: Path,
        certificate: x509.Certificate,
        key: ec.EllipticCurvePrivateKey,
        others: Sequence[x509.Certificate] = (),
    ) -> None:
        self.directory = directory
        self._certificate = certificate
        self._key = key
        self._others = tuple(others)

    @classmethod
    def open(cls, directory: Path, *, now: datetime | None = None) -> Authority:
        """Load the authority of `directory`, making it on the first start. Raises PkiError, OSError."""
        private_directory(directory)
        certificate_path, key_path = directory / "ca.crt", directory / "ca.key"
        with locked(directory):
            if not certificate_path.exists():
                fresh = new_authority(now or datetime.now(UTC))
                # The key first: a crash in between leaves a key that has signed nothing and is simply replaced.
                write_whole(key_path, fresh.key_pem)
                write_whole(certificate_path, fresh.certificate_pem, PUBLIC_FILE_MODE)
        return cls(directory, *cls._load(certificate_path, key_path))

    @staticmethod
    def _load(
        certificate_path: Path, key_path: Path
    ) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey, Sequence[x509.Certificate]]:
        if not key_path.exists():
            raise PkiError(f"{certificate_path} is there, but {key_path} is not: restore it, or remove both files")
        try:
            certificates = x509.load_pem_x509_certificates(certificate_path.read_bytes())
            key = serialization.load_pem_private_key(key_path.read_bytes(), None)
        except ValueError as error:
            raise PkiError(f"{certificate_path} or {key_path} cannot be read: {error}") from error
        own = [each for each in certificates if each.public_key() == key.public_key()]
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not own:
            raise PkiError(f"{key_path} is not the key of {certificate_path}")
        return own[0], key, [each for each in certificates if each is not own[0]]

    @property
    def certificates(self) -> Sequence[x509.Certificate]:
        """What is trusted; the first one signs."""
        return (self._certificate, *self._others)

    @property
    def certificate_pem(self) -> bytes:
        """What everybody trusts: the certificate that signs, and then those that are coming or going."""
        return b"".join(each.public_bytes(serialization.Encoding.PEM) for each in self.certificates)

    def issue(
        self,
        identity: Identity,
        *,
        hosts: Sequence[str] = (),
        now: datetime | None = None,
        lifetime: timedelta = LEAF_LIFETIME,
    ) -> Credential:
        """A client certificate for `identity`; an agent's also serves its node's name, loopback and `hosts`."""
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
        names: tuple[str, ...] = ()
        if identity.node_name:
            usages.append(ExtendedKeyUsageOID.SERVER_AUTH)
            names = (identity.node_name, "localhost", "127.0.0.1", *hosts)
        uris = tuple(owner_uris(identity.owner, identity.owner_role)) if identity.node_name else ()
        return self._sign(_subject(identity), usages, names, now or datetime.now(UTC), lifetime, uris)

    def issue_server(
        self, hosts: Sequence[str], *, now: datetime | None = None, lifetime: timedelta = LEAF_LIFETIME
    ) -> Credential:
        """A server certificate for exactly `hosts` (names and addresses)."""
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "stark-apiserver")])
        return self._sign(subject, [ExtendedKeyUsageOID.SERVER_AUTH], hosts, now or datetime.now(UTC), lifetime)

    def _sign(
        self,
        subject: x509.Name,
        usages: Sequence[x509.ObjectIdentifier],
        hosts: Sequence[str],
        now: datetime,
        lifetime: timedelta,
        uris: Sequence[str] = (),
    ) -> Credential:
        key = ec.generate_private_key(ec.SECP256R1())
        names = [_general_name(host) for host in dict.fromkeys(hosts)]
        names += [x509.UniformResourceIdentifier(uri) for uri in uris]
        signed = self._certificate_for(
            key.public_key(), subject, usages, names, _key_usage(authority=False), now, lifetime
        )
        return Credential(signed.public_bytes(serialization.Encoding.PEM), _key_pem(key))

    def certify(
        self,
        wanted: Wanted,
        usages: Sequence[str],
        *,
        owner: Owner = NOBODY,
        now: datetime | None = None,
        lifetime: timedelta = LEAF_LIFETIME,
    ) -> bytes:
        """A certificate in PEM for somebody else's key. What is wanted has been judged by the signer's rules.

        `owner` is the person who answers for a node; the certificate says it in a name that no request can ask for.
        """
        identity = Identity(wanted.common_name, wanted.organizations)
        purposes = [oid for usage, oid in PURPOSES.items() if usage in usages]
        # A certificate for clients names nobody else: what hosts a request mentions is a matter of serving.
        hosts = (*wanted.names.dns, *wanted.names.addresses) if SERVER_AUTH in usages else ()
        names: list[x509.GeneralName] = [_general_name(host) for host in dict.fromkeys(hosts)]
        names += [x509.UniformResourceIdentifier(uri) for uri in owner_uris(owner.name, owner.rank)]
        key_usage = _key_usage(authority=False, key_encipherment=KEY_ENCIPHERMENT in usages)
        signed = self._certificate_for(
            wanted.key, _subject(identity), purposes, names, key_usage, now or datetime.now(UTC), lifetime
        )
        return signed.public_bytes(serialization.Encoding.PEM)

    def _certificate_for(
        self,
        key: PublicKey,
        subject: x509.Name,
        usages: Sequence[x509.ObjectIdentifier],
        names: Sequence[x509.GeneralName],
        key_usage: x509.KeyUsage,
        now: datetime,
        lifetime: timedelta,
    ) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._certificate.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - CLOCK_SKEW)
            .not_valid_after(min(now + lifetime, self._certificate.not_valid_after_utc))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(key_usage, critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self._key, hashes.SHA256())

    def signed(self, certificate: x509.Certificate) -> bool:
        """Whether this authority signed `certificate`."""
        try:
            certificate.verify_directly_issued_by(self._certificate)
        except Exception:  # ValueError, TypeError or InvalidSignature: each says "not by me"
            return False
        return True


def listen_hosts(address: str, host_names: Sequence[str] = ()) -> tuple[str, ...]:
    """The names a server certificate needs for a listen address; a wildcard address adds none of its own."""
    wildcard = address in ("", "0.0.0.0", "::")  # the comparison, not a bind
    return tuple(dict.fromkeys([*SERVER_HOSTS, *([] if wildcard else [address]), *host_names]))


def _load_credential(context: ssl.SSLContext, credential: Credential) -> None:
    # OpenSSL reads certificate chains from files only; the directory is ours alone and gone at once.
    with tempfile.TemporaryDirectory(prefix="stark-tls-") as folder:
        certificate_path, key_path = Path(folder, "tls.crt"), Path(folder, "tls.key")
        certificate_path.write_bytes(credential.certificate_pem)
        write_whole(key_path, credential.key_pem)
        context.load_cert_chain(certificate_path, key_path)


class ServerTls:
    """The API server's side of TLS: its certificate, kept fresh, and the demand that client certificates be ours."""

    def __init__(
        self,
        authority: Authority,
        hosts: Sequence[str],
        *,
        now: datetime | None = None,
        min_version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2,
        given: Sequence[Pair] = (),
    ) -> None:
        """`given` are files of certificates for other names. Raises BadCertificate."""
        self._authority = authority
        self._hosts = tuple(dict.fromkeys(hosts))
        self._min_version = min_version
        self.context = self._new_context()
        self._given = GivenCertificates(given, self._new_context)
        self._given.attach(self.context)
        self._expiry = datetime.min.replace(tzinfo=UTC)
        self.refresh(now)

    def _new_context(self) -> ssl.SSLContext:
        # Python's own choice of ciphers: of TLS 1.2 only those with forward secrecy and authenticated encryption come first.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = self._min_version
        # Optional, because bearer tokens are another way in; whoever shows a certificate must show one of ours.
        context.verify_mode = ssl.CERT_OPTIONAL
        context.load_verify_locations(cadata=self._authority.certificate_pem.decode())
        context.set_alpn_protocols(["http/1.1"])
        return context

    @property
    def certificate_path(self) -> Path:
        """Where the certificate in use is kept."""
        return self._authority.directory / "apiserver.crt"

    @property
    def expires_at(self) -> datetime:
        """End of the certificate in use."""
        return self._expiry

    def refresh(self, now: datetime | None = None) -> bool:
        """Issue a new certificate if the one in use needs it; new connections get it. True when it changed."""
        self._given.refresh()
        moment = now or datetime.now(UTC)
        if self._expiry - moment > RENEW_BEFORE:
            return False
        with locked(self._authority.directory):
            credential = self._kept(moment) or self._renewed(moment)
        _load_credential(self.context, credential)
        self._expiry = x509.load_pem_x509_certificate(credential.certificate_pem).not_valid_after_utc
        return True

    def _kept(self, now: datetime) -> Credential | None:
        """The certificate on disk, when it is ours, long enough valid, for these hosts, and has its key."""
        key_path = self.certificate_path.with_suffix(".key")
        try:
            credential = Credential(self.certificate_path.read_bytes(), key_path.read_bytes())
            certificate = x509.load_pem_x509_certificate(credential.certificate_pem)
            key = serialization.load_pem_private_key(credential.key_pem, None)
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except (FileNotFoundError, ValueError, x509.ExtensionNotFound):
            return None  # absent or damaged: a new one costs nothing
        usable = (
            key.public_key() == certificate.public_key()
            and self._authority.signed(certificate)
            and certificate.not_valid_after_utc - now > RENEW_BEFORE
            and certificate.not_valid_before_utc <= now
            and set(names) == {_general_name(host) for host in self._hosts}
        )
        return credential if usable else None

    def _renewed(self, now: datetime) -> Credential:
        credential = self._authority.issue_server(self._hosts, now=now)
        write_whole(self.certificate_path.with_suffix(".key"), credential.key_pem)
        write_whole(self.certificate_path, credential.certificate_pem, PUBLIC_FILE_MODE)
        return credential


class AgentTls:
    """How the API server connects to agents: as `system:apiserver`, trusting only this cluster's authority."""

    def __init__(self, authority: Authority, *, now: datetime | None = None) -> None:
        self._authority = authority
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.load_verify_locations(cadata=authority.certificate_pem.decode())
        self._expiry = datetime.min.replace(tzinfo=UTC)
        self.refresh(now)

    def refresh(self, now: datetime | None = None) -> bool:
        """Take another certificate if the one in use ends soon; new connections show it. True when it changed."""
        moment = now or datetime.now(UTC)
        if self._expiry - moment > RENEW_BEFORE:
            return False
        credential = self._authority.issue(API_SERVER, now=moment)
        _load_credential(self.context, credential)
        self._expiry = x509.load_pem_x509_certificate(credential.certificate_pem).not_valid_after_utc
        return True


def agent_client_context(authority: Authority) -> ssl.SSLContext:
    """The same for a while that is shorter than a certificate's life."""
    return AgentTls(authority).context
