"""stark-apiserver: serve the API, issue a kubeconfig (`stark-apiserver kubeconfig`), or change the store (`... migrate`).

Prints one line `ready <url>` on standard output once /readyz says so; logs are JSON lines on standard error. A start that
fails says why, and what to do, in one sentence. SIGTERM and SIGINT stop it cleanly, a second one at once.
"""

from __future__ import annotations

import argparse
import logging
import os
import resource
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import structlog

from stark.crds.version import VERSION

from .audit.flags import add_audit_flags, audit_settings
from .auth.authority_rotation import add_ca_command
from .auth.flags import add_identity_flags, oidc_settings, service_account_settings
from .auth.identities import node_identity
from .auth.kubeconfig import add_kubeconfig_command
from .cors import Cors
from .migration import add_migrate_command
from .packs.flags import add_blob_flags, blob_place
from .running import in_a_loop, serve_alone
from .settings import WORKERS_MAX, Settings
from .stores import add_etcd_flags, etcd_access
from .variables import LEVELS, ORIGINS, Defaults, defaults, idle
from .workers.supervisor import supervise

EXIT_USAGE: Final = 2
LOG_LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}

log = structlog.get_logger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """The program. Returns its exit code."""
    try:
        usual = defaults(os.environ)
    except ValueError as error:
        sys.stderr.write(f"stark-apiserver: {error}\n")
        return EXIT_USAGE
    parser = _parser(usual)
    parsed = parser.parse_args(arguments)
    if getattr(parsed, "run", None) is not None:
        return int(parsed.run(parsed))
    if parsed.data_dir is None:
        parser.error("--data-dir is required")
    try:
        settings = _settings(parsed, usual)
    except ValueError as error:
        parser.error(str(error))
    _log_as_json(settings.log_level)
    for told in idle(os.environ):
        log.warning(told)
    # A core dump would be a copy of every Secret and key in a file that nobody guards.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if settings.workers > 1:
        return supervise(settings)
    return in_a_loop(serve_alone(settings))


def _parser(usual: Defaults) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="stark-apiserver", description="The API server of a Stark cluster.")
    parser.add_argument("--version", action="version", version=f"stark-apiserver {VERSION}")
    parser.add_argument("--data-dir", type=Path, help="certificates, store and bundles; made when missing")
    parser.add_argument("--name", action="append", default=[], metavar="HOST", help="another name or address of ours")
    parser.add_argument("--store", default="sqlite", metavar="sqlite|memory|etcd=URL[,URL]", help="default %(default)s")
    parser.add_argument(
        "--access-log", default="changes", choices=("all", "changes", "none"), help="default %(default)s"
    )
    parser.add_argument(
        "--cluster-signing-duration",
        type=_hours,
        metavar="HOURSh",
        help="longest life of a certificate that is issued on request (default 8760h)",
    )
    parser.add_argument(
        "--node-kubeconfig",
        action="append",
        default=[],
        metavar="NODE=FILE",
        help="give an agent of this machine an identity",
    )
    _add_listening_flags(parser, usual)
    parser.add_argument(
        "--encryption-provider-config",
        type=Path,
        metavar="FILE",
        help="keys of Secrets in the store; default DATA_DIR/pki/encryption.yaml, made when missing",
    )
    parser.add_argument(
        "--workers",
        type=_workers,
        default=1,
        metavar="N",
        help="processes that serve, besides one that keeps the store; default 1: everything in one process",
    )
    add_blob_flags(parser)
    add_etcd_flags(parser)
    add_audit_flags(parser)
    add_identity_flags(parser)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    add_kubeconfig_command(commands)
    add_ca_command(commands)
    add_migrate_command(commands)
    return parser


def _add_listening_flags(parser: argparse.ArgumentParser, usual: Defaults) -> None:
    """Flags about the port, what is spoken there, and what is told of it; the environment may know better defaults."""
    parser.add_argument(
        "--listen", default=usual.listen, metavar="HOST:PORT", help="default $HOST and $PORT, or 127.0.0.1:6443"
    )
    parser.add_argument(
        "--cors-origins",
        default=usual.origins,
        metavar="ORIGIN[,ORIGIN]",
        help=f"web pages that may read answers, with * as a port or in a label; default ${ORIGINS}, or none",
    )
    parser.add_argument(
        "--log-level",
        default=usual.level,
        choices=LEVELS,
        help="what is logged at least; default $LOG_LEVEL, or info",
    )
    parser.add_argument(
        "--tls-sni-cert-key",
        action="append",
        type=_certificate,
        default=[],
        metavar="CERT,KEY",
        help="a certificate for other names of ours, shown to who asks for one of them; default $SSL_CERT and $SSL_KEY",
    )
    parser.add_argument(
        "--tls-min-version",
        default="VersionTLS12",
        choices=("VersionTLS12", "VersionTLS13"),
        help="the oldest TLS that is spoken; default %(default)s",
    )


def _settings(parsed: argparse.Namespace, usual: Defaults) -> Settings:
    """Raises ValueError."""
    host, colon, port = parsed.listen.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"--listen must be HOST:PORT, not {parsed.listen!r}")
    origins = tuple(filter(None, map(str.strip, parsed.cors_origins.split(","))))
    Cors(origins)
    settings = Settings(
        parsed.data_dir,
        host.strip("[]"),
        int(port),
        tuple(parsed.name),
        parsed.store,
        node_kubeconfigs=tuple(_node_and_file(text) for text in parsed.node_kubeconfig),
        access_log=parsed.access_log,
        certificates=tuple(parsed.tls_sni_cert_key) or ((usual.certificate,) if usual.certificate else ()),
        log_level=parsed.log_level,
        cors_origins=origins,
        tls_min_version=parsed.tls_min_version,
        encryption_config=parsed.encryption_provider_config,
        workers=parsed.workers,
        blobs=blob_place(parsed),
        etcd=etcd_access(parsed),
        audit=audit_settings(parsed),
        service_accounts=service_account_settings(parsed),
        oidc=oidc_settings(parsed),
    )
    lifetime_s = parsed.cluster_signing_duration
    return settings if lifetime_s is None else replace(settings, certificate_lifetime_s=lifetime_s)


def _certificate(text: str) -> tuple[Path, Path]:
    """The files of a certificate and of its key."""
    certificate, comma, key = text.partition(",")
    if not certificate or not comma or not key:
        raise argparse.ArgumentTypeError(f"{text!r} is not CERT,KEY")
    return Path(certificate), Path(key)


def _workers(text: str) -> int:
    """How many processes serve."""
    if not text.isdecimal() or not 1 <= int(text) <= WORKERS_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {WORKERS_MAX}")
    return int(text)


def _hours(text: str) -> float:
    """A duration in whole hours, as seconds."""
    number = text.removesuffix("h")
    if not text.endswith("h") or not number.isdecimal() or int(number) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of hours like 8760h")
    return float(number) * 3_600


def _node_and_file(text: str) -> tuple[str, Path]:
    """Raises ValueError."""
    node, equals, path = text.partition("=")
    if not equals or not path:
        raise ValueError(f"--node-kubeconfig must be NODE=FILE, not {text!r}")
    return node_identity(node).node_name, Path(path)


def _log_as_json(level: str) -> None:
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(message)s")
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.EventRenamer("message"),
            _with_service,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LOG_LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def _with_service(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    return {**event, "service": "apiserver"}


if __name__ == "__main__":
    sys.exit(main())
