"""Let changes of a deployment's template wait. Its pods run on, are replaced when they end, and can be scaled.

Examples:
  starkctl deployment pause web
"""

from __future__ import annotations

import argparse

from ..deployments import read, workload
from ..errors import EXIT_OK
from ..options import Session
from .rollout_pause import pause


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("name", nargs="+", metavar="NAME", help="the deployment")


def run(args: argparse.Namespace, session: Session) -> int:
    """Pause each one."""
    for name in args.name:
        found = workload(session, name)
        read(session, found)
        pause(session, found)
    return EXIT_OK
