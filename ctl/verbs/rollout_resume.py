"""Resume a deployment that was paused, by a person or because it crashed in a loop.

What crashed is tried again; when it crashes again, it is stopped again.

Examples:
  starkctl rollout resume deployment/web
"""

from __future__ import annotations

import argparse

from ..errors import EXIT_OK, CommandError
from ..options import Session
from ..rollouts import Workload, workloads
from ..rollouts import resume as resume_rollout


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("what", nargs="+", metavar="deployment/NAME", help="what to resume")


def run(args: argparse.Namespace, session: Session) -> int:
    """Resume each one."""
    for workload in workloads(args.what, session):
        resume(session, workload)
    return EXIT_OK


def resume(session: Session, workload: Workload) -> None:
    """Resume one and say so. Raises CommandError when it is not paused."""
    if workload.kind.kind != "Deployment":
        raise CommandError(f"a {workload.kind.kind} is never paused: only deployments are")
    if not resume_rollout(session, workload, session.api.get(workload.path)):
        raise CommandError(f'{workload.kind.full_name} "{workload.name}" is not paused')
    print(f"{workload.label} resumed")
