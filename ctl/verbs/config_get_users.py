"""List the names of the kubeconfig's users: as whom one can ask.

Examples:
  starkctl config get-users
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


def run(args: argparse.Namespace, session: Session) -> int:
    """Print a line each."""
    print("NAME")
    for name in sorted(Kubeconfigs(args.kubeconfig).every("user")):
        print(name)
    return EXIT_OK
