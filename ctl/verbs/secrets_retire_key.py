"""Take a key that opens nothing any more out of the server's file; for administrators.

Refused while the key encrypts, or values are still under it. Backups of the store from its time cannot be read without
it: keep a copy of the file beside them.

Examples:
  starkctl secrets retire-key key-20260401-5f2c19
"""

from __future__ import annotations

import argparse
from urllib.parse import quote

from ..errors import EXIT_OK
from ..options import Session
from .secrets_status import ENCRYPTION, show_keys

NAMESPACED = False


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("name", metavar="KEY", help="its name, as `starkctl secrets status` prints it")


def run(args: argparse.Namespace, session: Session) -> int:
    """Take it out and print the keys that are left."""
    path = f"{ENCRYPTION}/keys/{quote(args.name, safe='')}"
    show_keys(session.api.request("DELETE", path)["data"]["encryption"], "table")
    return EXIT_OK
