"""Resume a deployment that a person paused or that was stopped because it crashed in a loop.

Examples:
  starkctl deployment resume web
"""

from __future__ import annotations

import argparse

from ..deployments import read, workload
from ..errors import EXIT_OK
from ..options import Session
from .rollout_resume import resume


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("name", nargs="+", metavar="NAME", help="the deployment")


def run(args: argparse.Namespace, session: Session) -> int:
    """Resume each one."""
    for name in args.name:
        found = workload(session, name)
        read(session, found)
        resume(session, found)
    return EXIT_OK
