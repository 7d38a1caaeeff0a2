"""The part of the agent's command line that is about joining; what it leaves out is taken from the environment."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path

from stark.client.config import ConfigError

from .join import JoinSettings


def add_joining(words: argparse.ArgumentParser) -> None:
    """Declare the options."""
    group = words.add_argument_group("joining", "how this machine becomes a node; once it is one, only --server counts")
    group.add_argument(
        "-u",
        "--server",
        "--url",
        metavar="URL",
        help="API server to join; or STARK_ORCHESTRATOR_URL in the environment",
    )
    group.add_argument(
        "-t",
        "--token",
        default="",
        metavar="TOKEN",
        help="bootstrap token (starkctl token create); or STARK_AUTH_TOKEN",
    )
    group.add_argument("--token-file", type=Path, metavar="FILE", help="read the token from a file")
    group.add_argument(
        "-e", "--email", default="", metavar="ADDRESS", help="join as a person who may have nodes; or STARK_EMAIL"
    )
    group.add_argument("--password-file", type=Path, metavar="FILE", help="their password; or STARK_PASSWORD")
    group.add_argument("--ca-file", type=Path, metavar="FILE", help="trust these authorities (PEM)")
    group.add_argument(
        "--ca-hash", action="append", default=[], metavar="sha256:HEX", help="trust the authority with this fingerprint"
    )
    group.add_argument(
        "-k", "--insecure", action="store_true", help="trust the authority that the server shows at first (last resort)"
    )


def join_settings(args: argparse.Namespace, environ: Mapping[str, str] = os.environ) -> JoinSettings | None:
    """How to join, from the command line and then from the environment; None: by a kubeconfig. Raises ConfigError."""
    server = args.server or (environ.get("STARK_ORCHESTRATOR_URL", "") if args.kubeconfig is None else "")
    if not server:
        return None
    if args.kubeconfig is not None:
        raise ConfigError("--kubeconfig and --server exclude each other: the one has an identity, the other makes one")
    if not server.startswith("https://"):
        raise ConfigError(f"--server must be https://host[:port], not {server!r}")
    return JoinSettings(
        server=server,
        token=args.token or _first_line(args.token_file) or environ.get("STARK_AUTH_TOKEN", ""),
        email=args.email or environ.get("STARK_EMAIL", ""),
        password=_first_line(args.password_file) or environ.get("STARK_PASSWORD", ""),
        ca_file=args.ca_file,
        ca_pins=tuple(args.ca_hash),
        insecure=args.insecure,
    )


def _first_line(path: Path | None) -> str:
    """The first line of a file; empty without one. Raises ConfigError."""
    if path is None:
        return ""
    try:
        return path.read_text("utf-8").splitlines()[0].strip()
    except (OSError, UnicodeDecodeError, IndexError) as error:
        raise ConfigError(f"{path}: {error}") from error
