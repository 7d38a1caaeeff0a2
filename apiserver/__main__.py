"""stark-apiserver: serve the API, issue a kubeconfig (`stark-apiserver kubeconfig`), or change the store (`... migrate`).

Prints one line `ready <url>` on standard output once /readyz says so; logs are JSON lines on standard error. A start that
fails says why, and what to do, in one sentence. SIGTERM and SIGINT stop it cleanly, a second one at once.
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import gc
import logging
import math
import os
import resource
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import structlog
import uvloop

from stark.crds.version import VERSION

from .app import serving
from .audit.errors import AuditError
from .audit.flags import add_audit_flags, audit_settings
from .auth.authority_rotation import add_ca_command
from .auth.flags import add_identity_flags, oidc_settings, service_account_settings
from .auth.identities import node_identity
from .auth.kubeconfig import add_kubeconfig_command
from .auth.pki import PkiError
from .cors import Cors
from .encryption.configuration import BadConfiguration
from .migration import add_migrate_command
from .settings import Settings
from .store.protocol import StoreError
from .store.sqlite import DataDirLocked
from .stores import UnknownStore, add_etcd_flags, etcd_access, open_store

EXIT_OK: Final = 0
EXIT_ERROR: Final = 1
EXIT_USAGE: Final = 2
YOUNG_OBJECTS_MAX: Final = 20_000
"""New objects between two looks of the garbage collector. A request makes some hundred, which nearly all end with it anyway;
at Python's own 700 the collector looks at the same waiting requests again and again."""
ORIGINS_VARIABLE: Final = "CORS_ORIGINS"
ONE_SIGNAL_S: Final = 1.0
"""Signals that come closer together count as one."""


class CannotServe(Exception):
    """Why, and the next step, in one sentence."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The program. Returns its exit code."""
    parser = _parser()
    parsed = parser.parse_args(arguments)
    if getattr(parsed, "run", None) is not None:
        return int(parsed.run(parsed))
    if parsed.data_dir is None:
        parser.error("--data-dir is required")
    try:
        settings = _settings(parsed)
    except ValueError as error:
        parser.error(str(error))
    _log_as_json()
    # A core dump would be a copy of every Secret and key in a file that nobody guards.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(settings))
    except CannotServe as error:
        sys.stderr.write(f"stark-apiserver: {error}\n")
        return EXIT_ERROR
    return EXIT_OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="stark-apiserver", description="The API server of a Stark cluster.")
    parser.add_argument("--version", action="version", version=f"stark-apiserver {VERSION}")
    parser.add_argument("--data-dir", type=Path, help="certificates, store and bundles; made when missing")
    parser.add_argument("--listen", default="127.0.0.1:6443", metavar="HOST:PORT", help="default %(default)s")
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
    parser.add_argument(
        "--cors-origins",
        default=os.environ.get(ORIGINS_VARIABLE, ""),
        metavar="ORIGIN[,ORIGIN]",
        help=f"web pages that may read answers, with * as a port or in a label; default ${ORIGINS_VARIABLE}, or none",
    )
    parser.add_argument(
        "--tls-min-version",
        default="VersionTLS12",
        choices=("VersionTLS12", "VersionTLS13"),
        help="the oldest TLS that is spoken; default %(default)s",
    )
    parser.add_argument(
        "--encryption-provider-config",
        type=Path,
        metavar="FILE",
        help="keys of Secrets in the store; default DATA_DIR/pki/encryption.yaml, made when missing",
    )
    add_etcd_flags(parser)
    add_audit_flags(parser)
    add_identity_flags(parser)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    add_kubeconfig_command(commands)
    add_ca_command(commands)
    add_migrate_command(commands)
    return parser


def _settings(parsed: argparse.Namespace) -> Settings:
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
        cors_origins=origins,
        tls_min_version=parsed.tls_min_version,
        encryption_config=parsed.encryption_provider_config,
        etcd=etcd_access(parsed),
        audit=audit_settings(parsed),
        service_accounts=service_account_settings(parsed),
        oidc=oidc_settings(parsed),
    )
    lifetime_s = parsed.cluster_signing_duration
    return settings if lifetime_s is None else replace(settings, certificate_lifetime_s=lifetime_s)


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


def _log_as_json() -> None:
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
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def _with_service(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    return {**event, "service": "apiserver"}


async def _serve(settings: Settings) -> None:
    """Serve until a signal. Raises CannotServe."""
    stop = _signals()
    broken: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
    _own(settings.data_dir)
    try:
        store = await open_store(settings, fatal=broken.set_result)
    except DataDirLocked as error:
        raise CannotServe(f"{error}: stop that process or choose another --data-dir") from error
    except (UnknownStore, BadConfiguration, StoreError) as error:
        raise CannotServe(str(error)) from error
    try:
        async with serving(settings, store) as running:
            await _announce(running.ready(), running.url, stop)
            stopping = asyncio.ensure_future(stop.wait())
            await asyncio.wait((stopping, running.background, broken), return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            if broken.done():
                raise CannotServe(
                    f"the disk of {settings.data_dir} failed: {broken.result()}; check it, then start again"
                )
            if running.background.done():
                running.background.result()
    except OSError as error:
        raise CannotServe(_listen_trouble(settings, error)) from error
    except (PkiError, AuditError) as error:
        raise CannotServe(str(error)) from error
    finally:
        await store.close()


async def _announce(ready: object, url: str, stop: asyncio.Event) -> None:
    """Say `ready` as soon as it is true, unless we are told to stop first."""
    becoming = asyncio.ensure_future(ready)  # type: ignore[call-overload]
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait((becoming, stopping), return_when=asyncio.FIRST_COMPLETED)
    if becoming.done():
        # Everything loaded so far stays: the collector need not look at it again and again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(YOUNG_OBJECTS_MAX)
        sys.stdout.write(f"ready {url}\n")
        sys.stdout.flush()
    becoming.cancel()
    stopping.cancel()


def _signals() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    told_at = -math.inf

    def on_signal() -> None:
        nonlocal told_at
        # A parent that dies with several threads lets the kernel send its last signal more than once.
        if stop.is_set() and loop.time() - told_at > ONE_SIGNAL_S:
            os._exit(EXIT_ERROR)
        if not stop.is_set():
            told_at = loop.time()
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    return stop


def _own(data_dir: Path) -> None:
    """The data directory must be there and writable before anything else is tried. Raises CannotServe."""
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise CannotServe(
            f"{data_dir} cannot be used as a data directory ({error.strerror}): choose another --data-dir"
        ) from error
    if not os.access(data_dir, os.W_OK | os.X_OK):
        raise CannotServe(f"{data_dir} is not writable: make it so, or choose another --data-dir")


def _listen_trouble(settings: Settings, error: OSError) -> str:
    where = f"{settings.host}:{settings.port}"
    if error.errno == errno.EADDRINUSE:
        return f"{where} is in use by another program: stop it, or choose another address with --listen"
    if error.errno in (errno.EADDRNOTAVAIL, errno.EACCES):
        return f"{where} cannot be listened on ({error.strerror}): choose another address with --listen"
    return f"{error.strerror or error}: check {settings.data_dir} and {where}"


if __name__ == "__main__":
    sys.exit(main())
