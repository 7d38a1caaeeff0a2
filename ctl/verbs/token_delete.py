"""Delete bootstrap tokens: nobody joins by them from this moment on. Nodes that have joined stay.

Examples:
  starkctl token delete abcdef
"""

from __future__ import annotations

import argparse
import re

from stark.crds.bootstrap_tokens import NAME_PREFIX, NAMESPACE

from ..errors import EXIT_OK, UsageError
from ..options import Session

NAMESPACED = False
_ID = re.compile(r"([a-z0-9]{6})(\.[a-z0-9]{16})?")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("ids", nargs="+", metavar="ID", help="the part before the dot (a whole token does as well)")


def run(args: argparse.Namespace, session: Session) -> int:
    """Delete the Secrets."""
    for given in args.ids:
        match = _ID.fullmatch(given)
        if match is None:
            raise UsageError(f"{given!r} is neither a token nor the id of one")
        session.api.request("DELETE", f"/api/v1/namespaces/{NAMESPACE}/secrets/{NAME_PREFIX}{match.group(1)}")
        print(f"token {match.group(1)} deleted")
    return EXIT_OK
