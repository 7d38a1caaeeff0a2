"""Keep new pods off nodes; those that run there stay.

Examples:
  starkctl cordon worker-7
  starkctl cordon -l topology.kubernetes.io/zone=b
"""

from __future__ import annotations

import argparse

from ..errors import EXIT_OK
from ..nodes import add_choice, add_dry_run, chosen, cordon
from ..options import Session

NAMESPACED = False


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_choice(parser)
    add_dry_run(parser)


def run(args: argparse.Namespace, session: Session) -> int:
    """Mark each node."""
    for node in chosen(args, session):
        print(cordon(session, node, on=True, dry_run=args.dry_run))
    return EXIT_OK
