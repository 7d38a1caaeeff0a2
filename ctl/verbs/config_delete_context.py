"""Take a context out of the kubeconfig. Its cluster and its user stay.

Examples:
  starkctl config delete-context old
"""

from __future__ import annotations

import argparse
import sys

from ..errors import EXIT_OK
from ..kubeconfigs import Kubeconfigs, add_kubeconfig_option
from ..options import Session

CONNECTS = False


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_kubeconfig_option(parser)
    parser.add_argument("name", metavar="NAME", help="the context")


def run(args: argparse.Namespace, session: Session) -> int:
    """Write the file without it."""
    known = Kubeconfigs(args.kubeconfig)
    if args.name == known.current:
        sys.stderr.write("warning: this was the context in use: `starkctl config use-context NAME` chooses another\n")
    print(f"deleted context {args.name} from {known.delete('context', args.name)}")
    return EXIT_OK
