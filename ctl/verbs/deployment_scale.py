"""Set how many pods a deployment keeps; 0 means one on every matching node, another number ends that.

To keep none at all, `starkctl scale deployment/NAME --replicas 0`.

Examples:
  starkctl deployment scale web --replicas 5
  starkctl deployment scale web -r 0          one on every node
"""

from __future__ import annotations

import argparse

from stark.crds.annotations import MODE, MODE_DAEMON_SET
from stark.crds.deploymentview import is_daemon

from ..deployments import read, workload
from ..errors import EXIT_OK
from ..options import Session
from ..rollouts import MERGE
from ..running import count


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("name", metavar="NAME", help="the deployment")
    parser.add_argument(
        "-r", "--replicas", type=count, required=True, metavar="N", help="how many; 0: one on every node"
    )


def run(args: argparse.Namespace, session: Session) -> int:
    """Write mode and number in one change."""
    found = workload(session, args.name)
    live = read(session, found)
    mode = MODE_DAEMON_SET if args.replicas == 0 else None
    body: dict[str, object] = {"spec": {"replicas": args.replicas}}
    if is_daemon(live) != (mode is not None):
        body["metadata"] = {"annotations": {MODE: mode}}
    session.api.request("PATCH", found.path, body=body, content_type=MERGE)
    where = "one pod on every matching node" if mode else f"{args.replicas} replicas"
    print(f"{found.label} scaled to {where}")
    return EXIT_OK
