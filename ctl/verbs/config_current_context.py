"""Print the name of the context in use.

Examples:
  starkctl config current-context
"""

from __future__ import annotations

import argparse

from ..errors import EXIT_OK, CommandError
from ..kubeconfigs import Kubeconfigs, add_kubeconfig_option
from ..options import Session

CONNECTS = False


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_kubeconfig_option(parser)


def run(args: argparse.Namespace, session: Session) -> int:
    """Print it."""
    known = Kubeconfigs(args.kubeconfig).current
    if not known:
        raise CommandError("current-context is not set: `starkctl config use-context NAME`")
    print(known)
    return EXIT_OK
