"""Let new pods on nodes again that were cordoned or drained.

Examples:
  starkctl uncordon worker-7
  starkctl uncordon -l topology.kubernetes.io/zone=b
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
    """Take the mark off each node."""
    for node in chosen(args, session):
        print(cordon(session, node, on=False, dry_run=args.dry_run))
    return EXIT_OK
