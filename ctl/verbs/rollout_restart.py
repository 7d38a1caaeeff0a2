"""Replace every pod by a new one of the same template, as a rollout.

Examples:
  starkctl rollout restart deployment/web
  starkctl rollout restart daemonset/logs
"""

from __future__ import annotations

import argparse
from datetime import UTC, datetime

from stark.crds.annotations import RESTARTED_AT

from ..errors import EXIT_OK, CommandError
from ..options import Session
from ..rollouts import STRATEGIC, workloads


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("what", nargs="+", metavar="TYPE/NAME", help="what to restart, e.g. deployment/web")


def run(args: argparse.Namespace, session: Session) -> int:
    """Note the time on each template: that is what makes it a new one."""
    for workload in workloads(args.what, session):
        if session.api.get(workload.path)["spec"].get("paused"):
            text = "can't restart paused deployment (run rollout resume first)"
            raise CommandError(f'{workload.kind.full_name} "{workload.name}" {text}')
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        body = {"spec": {"template": {"metadata": {"annotations": {RESTARTED_AT: now}}}}}
        session.api.request("PATCH", workload.path, body=body, content_type=STRATEGIC)
        print(f"{workload.label} restarted")
    return EXIT_OK
