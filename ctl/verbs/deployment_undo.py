"""Go back to an earlier template of a deployment: the same as `starkctl rollout undo deployment/NAME`.

Examples:
  starkctl deployment undo web
  starkctl deployment undo web --to-revision 3
"""

from __future__ import annotations

import argparse

from ..deployments import read, workload
from ..errors import EXIT_OK
from ..options import Session
from .rollout_undo import add_options, undo


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("name", metavar="NAME", help="the deployment")
    add_options(parser)


def run(args: argparse.Namespace, session: Session) -> int:
    """Bring it back."""
    found = workload(session, args.name)
    read(session, found)
    undo(session, found, args.to_revision, dry_run=args.dry_run == "server")
    return EXIT_OK
