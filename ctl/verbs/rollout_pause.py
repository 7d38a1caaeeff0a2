"""Let changes of a deployment's template wait until it is resumed. Pods stay, and scaling goes on.

Examples:
  starkctl rollout pause deployment/web
"""

from __future__ import annotations

import argparse

from ..errors import EXIT_OK, CommandError
from ..options import Session
from ..rollouts import MERGE, Workload, workloads


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("what", nargs="+", metavar="deployment/NAME", help="what to pause")


def run(args: argparse.Namespace, session: Session) -> int:
    """Pause each one."""
    for workload in workloads(args.what, session):
        pause(session, workload)
    return EXIT_OK


def pause(session: Session, workload: Workload) -> None:
    """Pause one and say so. Raises CommandError when it is paused already, or cannot be."""
    if workload.kind.kind != "Deployment":
        raise CommandError(f"a {workload.kind.kind} cannot be paused: only deployments can")
    if session.api.get(workload.path)["spec"].get("paused"):
        raise CommandError(f'{workload.kind.full_name} "{workload.name}" is already paused')
    session.api.request("PATCH", workload.path, body={"spec": {"paused": True}}, content_type=MERGE)
    print(f"{workload.label} paused")
