"""Take a cluster out of the kubeconfig. Contexts that name it stay, and are of no use without it.

Examples:
  starkctl config delete-cluster old
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
    parser.add_argument("name", metavar="NAME", help="the cluster")


def run(args: argparse.Namespace, session: Session) -> int:
    """Write the file without it."""
    known = Kubeconfigs(args.kubeconfig)
    print(f"deleted cluster {args.name} from {known.delete('cluster', args.name)}")
    return EXIT_OK
