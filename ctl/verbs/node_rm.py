"""Remove nodes from the cluster: cordon and drain them, then delete their objects.

Asks first, unless --force. Pods are evicted as their disruption budgets allow; those of a node
whose agent is not heard of any more end without its word. An agent that is still alive would
register its node again: stop it first, or take its certificate back with `starkctl certificate
revoke --node NAME`.

Examples:
  starkctl node rm worker-7
  starkctl node delete worker-7 worker-8 --force --timeout 5m
  starkctl node rm worker-7 --no-drain            delete the object alone; its pods are given up
"""

from __future__ import annotations

import argparse
import sys

from stark.crds.draining import DrainRules
from stark.crds.nodestate import node_state

from ..draining import Drain, drain
from ..errors import EXIT_ERROR, EXIT_OK, CommandError, ServerError
from ..nodes import NODES, Object, cordon, find
from ..options import Session
from .drain import add_drain_options

NAMESPACED = False


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("nodes", nargs="+", metavar="NODE", help="the nodes, by name or uid")
    parser.add_argument(
        "-f", "--force", action="store_true", help="do not ask, and take pods that have no controller, too"
    )
    parser.add_argument("--no-drain", action="store_true", help="leave its pods alone: they are given up with the node")
    add_drain_options(parser)


def run(args: argparse.Namespace, session: Session) -> int:
    """One after the other; nothing is deleted that could not be drained."""
    nodes = [find(session, name) for name in dict.fromkeys(args.nodes)]
    names = [node["metadata"]["name"] for node in nodes]
    if not args.force and not _agreed(names):
        print("nothing was done", file=sys.stderr)
        return EXIT_ERROR
    rules = DrainRules(ignore_daemon_sets=True, force=args.force, delete_empty_dir=True)
    how = Drain(rules, args.grace_period if args.grace_period >= 0 else None, args.timeout)
    failed = False
    for node in nodes:
        try:
            _remove(session, node, None if args.no_drain else how)
        except CommandError as error:
            print(f"error: {error}", file=sys.stderr)
            failed = True
    return EXIT_ERROR if failed else EXIT_OK


def _agreed(names: list[str]) -> bool:
    """Raises CommandError when nobody can answer."""
    if not sys.stdin.isatty():
        raise CommandError(f"this removes {', '.join(names)}: say --force when nobody can be asked")
    answer = input(f"Remove {', '.join(names)} from the cluster, with all pods there? [y/N] ")
    return answer.strip().lower() in ("y", "yes")


def _remove(session: Session, node: Object, how: Drain | None) -> None:
    name, state = node["metadata"]["name"], node_state(node)
    if how is not None:
        print(cordon(session, node, on=True))
        if state == "offline":
            print(f"node/{name} is offline: its pods end when it is gone", file=sys.stderr)
        else:
            drain(session, name, how)
            print(f"node/{name} drained")
    options = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": node["metadata"]["uid"]}}
    try:
        session.api.request("DELETE", f"{NODES}/{name}", body=options)
    except ServerError as error:
        if error.reason != "NotFound":
            raise
    print(f'node "{name}" deleted')
    if state != "offline":
        print(f"Note: while the agent of {name} lives it registers the node again: stop it.", file=sys.stderr)
