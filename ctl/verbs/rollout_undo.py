"""Go back to an earlier template: the one before the present, or the one of a revision.

The way back is a rollout of its own, with a new revision number. Settings in the annotations stay as they are.

Examples:
  starkctl rollout undo deployment/web
  starkctl rollout undo deployment/web --to-revision 3
  starkctl rollout undo daemonset/logs --dry-run server
"""

from __future__ import annotations

import argparse
import sys

from stark.crds.annotations import FOLLOW_LATEST, flag

from ..errors import EXIT_OK
from ..options import Session
from ..rollouts import Workload, chosen, go_back, revisions, workloads


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("what", nargs="+", metavar="TYPE/NAME", help="what to bring back, e.g. deployment/web")
    add_options(parser)


def add_options(parser: argparse.ArgumentParser) -> None:
    """What `deployment undo` has, too."""
    parser.add_argument("--to-revision", type=int, default=0, metavar="N", help="to this one (default: the one before)")
    parser.add_argument("--dry-run", choices=("none", "server"), default="none", help="only ask whether it would work")


def run(args: argparse.Namespace, session: Session) -> int:
    """Bring each one back."""
    for workload in workloads(args.what, session):
        undo(session, workload, args.to_revision, dry_run=args.dry_run == "server")
    return EXIT_OK


def undo(session: Session, workload: Workload, number: int, *, dry_run: bool) -> None:
    """Bring one back and say so."""
    live = session.api.get(workload.path)
    to = chosen(revisions(session, workload, live), number)
    if not go_back(session, workload, live, to, dry_run=dry_run):
        print(f"{workload.label} skipped rollback (current template already matches revision {to.number})")
        return
    print(f"{workload.label} rolled back to revision {to.number}{' (server dry run)' if dry_run else ''}")
    if flag(live["metadata"].get("annotations"), FOLLOW_LATEST):
        print(
            f"It follows the latest release and will move on again: `starkctl deployment rollback {workload.name}` "
            "goes back and stops that",
            file=sys.stderr,
        )
