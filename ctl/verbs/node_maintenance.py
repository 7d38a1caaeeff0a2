"""Take nodes out of service for maintenance, or put them back.

The cluster itself drains a node in maintenance: no new pods, and those that are there are evicted
as their disruption budgets allow, however long that takes; it is `draining` until they are gone,
then in `maintenance`. Pods of DaemonSets stay. Pods that no controller makes again hold it up,
until somebody deletes them.

Examples:
  starkctl node maintenance worker-7 --reason "new disks" --wait
  starkctl node maintenance worker-7 --end
"""

from __future__ import annotations

import argparse
import time

from stark.crds.nodestate import MAINTENANCE, MAINTENANCE_CONDITION, condition, node_state

from ..errors import EXIT_OK, CommandError, UsageError
from ..nodes import NODES, Object, change, find
from ..options import Session
from .drain import add_timeout

NAMESPACED = False
LOOK_S = 0.5
REASON_MAX = 512


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("nodes", nargs="+", metavar="NODE", help="the nodes, by name or uid")
    parser.add_argument("--reason", default="by hand", metavar="TEXT", help="why, for whoever looks")
    parser.add_argument("--end", action="store_true", help="put them back into service")
    parser.add_argument("--wait", action="store_true", help="wait until their pods are gone")
    add_timeout(parser)


def run(args: argparse.Namespace, session: Session) -> int:
    """Mark each node; the controller does the rest."""
    reason = args.reason.strip()
    if args.timeout and not args.wait:
        raise UsageError("--timeout is for --wait: the cluster itself goes on for as long as it takes")
    if not args.end and not 0 < len(reason) <= REASON_MAX:
        raise UsageError(f"--reason must have between 1 and {REASON_MAX} characters")
    nodes = [find(session, name) for name in dict.fromkeys(args.nodes)]
    value = None if args.end else reason

    def patch(seen: Object) -> Object | None:
        is_so = (seen["metadata"].get("annotations") or {}).get(MAINTENANCE) == value
        return None if is_so else {"metadata": {"annotations": {MAINTENANCE: value}}}

    for node in nodes:
        done = change(session, node, patch)
        word = "back in service" if args.end else "goes into maintenance"
        print(f"node/{node['metadata']['name']} {word}{'' if done else ' (it was so already)'}")
    if args.wait and not args.end:
        deadline = time.monotonic() + args.timeout if args.timeout else None
        for node in nodes:
            _wait(session, node["metadata"]["name"], deadline)
    return EXIT_OK


def _wait(session: Session, name: str, deadline: float | None) -> None:
    told = ""
    while True:
        node = session.api.get(f"{NODES}/{name}")
        message = str(condition(node, MAINTENANCE_CONDITION).get("message") or "")
        if node_state(node) != "draining":
            print(f"node/{name} is {node_state(node)}")
            return
        if message and message != told:
            print(f"node/{name}: {message}", flush=True)
            told = message
        if deadline is not None and time.monotonic() >= deadline:
            raise CommandError(f"node {name} is still draining: {message or 'it has not begun'}")
        time.sleep(LOOK_S)
