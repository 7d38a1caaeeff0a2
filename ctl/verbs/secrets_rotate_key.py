"""Encrypt the store's Secrets with a new key, and rewrite those that are under an older one; for administrators.

The server goes on serving meanwhile. A server that is stopped in between goes on with it at its next start. The old key
stays in the file, for backups that are under it, until it is taken out with `starkctl secrets retire-key`.

Examples:
  starkctl secrets rotate-key
  starkctl secrets rotate-key --no-wait
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from typing import Any, Final

from ..errors import EXIT_ERROR, EXIT_OK
from ..options import Session
from .secrets_status import ENCRYPTION, show_keys

NAMESPACED = False
LOOK_INTERVAL_S: Final = 0.2
"""How often the server is asked how far it is."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_wait_options(parser)


def add_wait_options(parser: argparse.ArgumentParser) -> None:
    """Whether to wait for the re-encryption, and how long."""
    parser.add_argument("--no-wait", action="store_true", help="do not wait until everything is rewritten")
    parser.add_argument(
        "--timeout", type=float, default=600.0, metavar="SECONDS", help="how long to wait (default %(default)g)"
    )


def run(args: argparse.Namespace, session: Session) -> int:
    """Rotate, wait, and print the keys."""
    return begin(args, session, "rotate")


def begin(args: argparse.Namespace, session: Session, what: str) -> int:
    """Ask for it, wait for its end, and print the keys."""
    status = session.api.request("POST", f"{ENCRYPTION}/{what}", body={})["data"]["encryption"]
    if not args.no_wait:
        status = _when_done(session, status, time.monotonic() + args.timeout)
    show_keys(status, "table")
    is_done = args.no_wait or status["reencryption"]["state"] == "done"
    if not is_done:
        print("still going on: see `starkctl secrets status`", file=sys.stderr)
    return EXIT_OK if is_done else EXIT_ERROR


def _when_done(session: Session, status: Mapping[str, Any], until: float) -> Mapping[str, Any]:
    while status["reencryption"]["state"] != "done" and time.monotonic() < until:
        time.sleep(LOOK_INTERVAL_S)
        status = session.api.get(ENCRYPTION)["data"]["encryption"]
    return status
