"""Print the version of starkctl and of the server.

Examples:
  starkctl version
  starkctl version --client       without asking a server
"""

from __future__ import annotations

import argparse

from stark.crds.version import GIT_VERSION, VERSION

from ..errors import EXIT_OK
from ..options import Session
from ..output import print_object


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--client", action="store_true", help="only starkctl's own version")
    parser.add_argument("-o", "--output", choices=("yaml", "json"), help="print as YAML or JSON")


def run(args: argparse.Namespace, session: Session) -> int:
    """Print one line each, or an object."""
    known: dict[str, object] = {"clientVersion": {"gitVersion": GIT_VERSION, "stark": VERSION}}
    if not args.client:
        known["serverVersion"] = session.api.get("/version")
    if args.output:
        print_object(known, args.output)
        return EXIT_OK
    print(f"starkctl {VERSION}")
    server = known.get("serverVersion")
    if isinstance(server, dict):
        print(f"server   {server.get('gitVersion', 'unknown')}")
    return EXIT_OK
