"""Make a context the one in use: every command without --context goes to its server from now on.

Examples:
  starkctl config use-context production
"""

from __future__ import annotations

import argparse

from ..errors import EXIT_OK
from ..kubeconfigs import Kubeconfigs, add_kubeconfig_option
from ..options import Session

CONNECTS = False


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_kubeconfig_option(parser)
    parser.add_argument("name", metavar="NAME", help="the context")


def run(args: argparse.Namespace, session: Session) -> int:
    """Write it into the file."""
    known = Kubeconfigs(args.kubeconfig)
    known.find("context", args.name)
    known.use(args.name)
    print(f'Switched to context "{args.name}".')
    return EXIT_OK
