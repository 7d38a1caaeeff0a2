"""Every setting of the API server, with its unit, its default and why. The reference page is made from here."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from .audit.settings import AuditSettings

WORKERS_MAX: Final = 64
"""Processes of one server. The one that keeps the store is busy long before."""


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """What one connection may cost us."""

    body_bytes_max: int = 3 * 1024 * 1024
    """Largest request body, Kubernetes' limit. Objects are bounded lower, by what the store takes."""
    header_bytes_max: int = 32 * 1024
    """Request line and header fields together. A token with many groups is about 4 KiB, a long selector as much."""
    headers_max: int = 128
    """Header fields of one request."""
    header_timeout_s: float = 20.0
    """From a request's first byte, or the connection's, to the end of its headers. Slower is an attack or a broken link."""
    body_timeout_s: float = 60.0
    """From the headers to the end of a body that is read whole; for one that is streamed, the longest silence."""
    request_timeout_s: float = 60.0
    """For everything but watches, logs and transfers. Kubernetes' default."""
    write_timeout_s: float = 30.0
    """For one piece of an answer to be taken by the client; then the connection is given up."""
    keepalive_timeout_s: float = 180.0
    """How long an idle connection is kept. Longer than Go's 90 s, so that the client is the one who closes."""
    handshake_timeout_s: float = 10.0
    """For the TLS handshake."""
    connections_max: int = 20_000
    """Open connections; further ones are closed at once."""


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """What all clients together may have going on."""

    seats_max: int = 100
    """Seats of all priority levels together; a request takes one, a list one for every 100 objects. Kubernetes has 600, for
    a process with many cores. Here one core does all the work, and what has a seat is worked on before who comes later is
    seen: with 600, a flood of lists of 1,500 objects made another user's reads wait 400 ms, with 100 it made them wait
    6 ms, and as many lists were served. It is still far more than keeps a disk or an etcd busy."""
    watches_max: int = 10_000
    """Watches, logs and transfers at the same time. A fifth of them is kept for nodes, controllers and masters."""


@dataclass(frozen=True, slots=True)
class RateSettings:
    """How much one identity or address may do as time goes by. A burst is what may come at once."""

    person_per_s: float = 50.0
    """Requests of one user: a program that watches and lists makes a few, one that loops makes thousands."""
    person_burst: float = 500.0
    """A script that applies a few hundred objects is not held up."""
    system_per_s: float = 500.0
    """Requests of a node or a service account. Masters and controllers are not counted."""
    system_burst: float = 5_000.0
    """A node that comes back with all its pods has a lot to say."""
    anonymous_per_s: float = 20.0
    """Requests from one address that do not say who asks: probes, and people who log in."""
    anonymous_burst: float = 200.0
    """An office that comes to work at nine is behind one address."""
    uploads_per_h: float = 120.0
    """Bundles that one user uploads: two a minute, on and on; a release of a hundred packs at once."""
    connections_per_min: float = 60.0
    """Times one user may connect to a pod (exec, attach, port-forward)."""
    refused_tokens: float = 100.0
    """Requests from one address in 15 minutes whose token is not good; then the answer is 429 instead of 401."""
    login_failures: float = 10.0
    """Wrong passwords for one account in 15 minutes, from wherever they come."""
    login_failures_address: float = 50.0
    """Wrong passwords from one address in 15 minutes, for whatever accounts."""
    registrations: float = 10.0
    """New accounts from one address in 15 minutes."""


@dataclass(frozen=True, slots=True)
class PasswordSettings:
    """What the hash of a password costs (Argon2id). Hashes that were made with other figures are replaced at a login."""

    memory_kib: int = 64 * 1024
    """Memory of one hash: RFC 9106's figure for machines that have other things to do; OWASP asks for 19 MiB."""
    passes: int = 3
    """Over that memory: RFC 9106's figure."""
    lanes: int = 1
    """Threads of one hash. More would let one login take several cores from everybody else."""
    hashes_at_once: int = 2
    """Together they take 128 MiB. Each is on a thread of its own: the event loop does not notice."""
    waiting_max: int = 32
    """Logins that wait for that. Past it clients are told to come back."""


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """How long what a login gives out is good."""

    access_token_s: float = 3_600.0
    """An access token. Never more than an hour; it ends with its session in any case."""
    idle_max_s: float = 7 * 24 * 3_600.0
    """A refresh token that nobody uses: a week, so that a holiday ends a login and a weekend does not."""
    session_max_s: float = 30 * 24 * 3_600.0
    """A session, whatever happens; then the password is asked for again (NIST SP 800-63B 4.1.3)."""


@dataclass(frozen=True, slots=True)
class EtcdAccess:
    """How to reach an etcd that asks who we are. The password comes from the environment or the URL."""

    cafile: Path | None = None
    """PEM certificates that sign etcd's; without it the system's are trusted."""
    certfile: Path | None = None
    """Our client certificate in PEM."""
    keyfile: Path | None = None
    """Its private key in PEM."""
    username: str = ""
    """Whom to authenticate as, if etcd has authentication enabled."""


@dataclass(frozen=True, slots=True)
class BlobPlace:
    """Where bundles are kept. Keys for a bucket come from the environment or from the files of `aws configure`."""

    where: str = ""
    """A folder, `s3://BUCKET/PREFIX`, or nothing for `blobs` in the data directory. Several servers may have one bucket, or
    one folder that all of them mount."""
    endpoint: str = ""
    """The object storage as the server reaches it. Without it: AWS_ENDPOINT_URL, the profile's, or Amazon's."""
    region: str = ""
    """Its region. Without it: AWS_REGION, the profile's, or `us-east-1`, which most other storages take for theirs."""
    ca_file: Path | None = None
    """PEM certificates that sign the storage's, beside the system's."""
    download_endpoint: str = ""
    """The storage as nodes and people reach it, if that is another address than ours."""
    direct_downloads: bool = True
    """Whether clients that ask for it are sent to the storage for a bundle, with an address that is good for minutes."""


@dataclass(frozen=True, slots=True)
class ServiceAccountSettings:
    """How tokens of service accounts are issued and believed. They are signed with `pki/sa.key`."""

    issuers: tuple[str, ...] = ("https://kubernetes.default.svc.cluster.local",)
    """Who issues tokens. The first is written into new ones, the others are believed too, so that it can be changed without
    ending everybody's token. Whoever verifies tokens without asking us finds our keys below it: then it is our own URL."""
    audiences: tuple[str, ...] = ()
    """Names by which the API server knows itself in a token's audiences. Without any: the issuers."""
    key_files: tuple[Path, ...] = ()
    """Further public or private keys in PEM whose tokens are believed: former ones, or the next one before it signs."""
    keys_url: str = ""
    """Where the public keys are said to be. Without it: our own address and `/openid/v1/jwks`."""
    expiration_max_s: int = 0
    """Longest time a token is given for, at least an hour; 0 for any. Kubernetes has no bound by default either."""
    extends_pod_tokens: bool = True
    """Whether a pod's own token holds for a year, while it is renewed every hour and an older one's use is put into the
    audit log: clients that read their token once go on. Kubernetes' default."""


@dataclass(frozen=True, slots=True)
class OidcSettings:
    """An identity provider outside, whose ID tokens are believed (OpenID Connect). Without an issuer nobody's are."""

    issuer_url: str = ""
    """The provider, by HTTPS; exactly what its tokens say in `iss`."""
    client_id: str = ""
    """What the provider knows the cluster's clients by; must be among a token's audiences."""
    username_claim: str = "sub"
    """The claim that is the user's name. `email` counts only when the provider says that it has been verified."""
    username_prefix: str = ""
    """Put before the name, so that nobody is taken for somebody of ours; `-` for nothing. Without it: the issuer and `#`,
    but nothing before an email."""
    groups_claim: str = ""
    """The claim with the user's groups: a text or a list. Without it nobody has groups."""
    groups_prefix: str = ""
    """Put before every group."""
    required_claims: tuple[tuple[str, str], ...] = ()
    """Claims and the values they must have."""
    ca_file: Path | None = None
    """PEM certificates that sign the provider's; without it the system's are trusted."""
    signing_algorithms: tuple[str, ...] = ("RS256",)
    """With what its tokens may be signed: RS256 RS384 RS512 ES256 ES384 ES512 PS256 PS384 PS512. Kubernetes' default."""


@dataclass(frozen=True, slots=True)
class Settings:
    """All of them."""

    data_dir: Path
    """Where certificates, the SQLite store, bundles and kubeconfigs are. Private to this process."""
    host: str = "127.0.0.1"
    """Address to listen on. Loopback, so that nothing is open that nobody opened."""
    port: int = 6443
    """Port to listen on; 0 takes a free one."""
    names: tuple[str, ...] = ()
    """Further names and addresses by which clients reach us: they go into the certificate."""
    store: str = "sqlite"
    """`sqlite`, `memory` (nothing survives; for tests), or `etcd=URL[,URL...]`."""
    workers: int = 1
    """Processes that serve. One: everything in one process. More: one process keeps the store and the audit log, and so many
    others, each with its own copy of the watch cache, share the port; worth it from three cores on, when one is always
    busy. See docs/operations.md for how to choose."""
    node_kubeconfigs: tuple[tuple[str, Path], ...] = ()
    """Names of nodes and the files in which they get a new identity at every start: the agents of this machine, which
    `starkctl up` starts. Other machines' are issued once, by the command `kubeconfig`."""
    certificate_lifetime_s: float = 365 * 24 * 3600.0
    """How long the certificates are good at most that are issued on request; Kubernetes' default, a year."""
    history_s: float = 300.0
    """How long the store keeps past revisions, for lists that are read page by page. Kubernetes' default."""
    cors_origins: tuple[str, ...] = ()
    """Web pages of which origins may read answers, e.g. `https://ui.example.org` or `https://localhost:*`. None by default,
    as in Kubernetes: any page that a person opens could otherwise try what it may do here."""
    tls_min_version: str = "VersionTLS12"
    """`VersionTLS12` or `VersionTLS13`: the oldest TLS that is spoken with clients."""
    certificates: tuple[tuple[Path, Path], ...] = ()
    """Files of certificates that somebody else has signed, each with that of its key: shown to whoever asks for one of their
    names. They are read again when they change."""
    log_level: str = "info"
    """`debug`, `info`, `warn` or `error`: what is logged at least."""
    access_log: str = "changes"
    """`all` requests, `changes` (writes, failures and slow requests), or `none`."""
    shutdown_timeout_s: float = 4.0
    """How long requests that are under way get when we are told to stop. A service manager waits longer."""
    encryption_config: Path | None = None
    """The file with the keys of Secrets in the store, a Kubernetes EncryptionConfiguration. Without one, the server makes
    DATA_DIR/pki/encryption.yaml with a key of its own: nobody has to think of it for Secrets not to be on disk in clear."""
    blobs: BlobPlace = field(default_factory=BlobPlace)
    """Where bundles are kept."""
    etcd: EtcdAccess = field(default_factory=EtcdAccess)
    """How an etcd that `store` names is reached."""
    audit: AuditSettings = field(default_factory=AuditSettings)
    """What is recorded of requests, and how surely."""
    service_accounts: ServiceAccountSettings = field(default_factory=ServiceAccountSettings)
    """How tokens of service accounts are issued and believed."""
    oidc: OidcSettings = field(default_factory=OidcSettings)
    """An identity provider outside."""
    http: HttpSettings = field(default_factory=HttpSettings)
    """What one connection may cost us."""
    limits: LimitSettings = field(default_factory=LimitSettings)
    """What all clients together may have going on."""
    passwords: PasswordSettings = field(default_factory=PasswordSettings)
    """What the hash of a password costs."""
    sessions: SessionSettings = field(default_factory=SessionSettings)
    """How long what a login gives out is good."""
    rates: RateSettings = field(default_factory=RateSettings)
    """How much one identity or address may do as time goes by."""
