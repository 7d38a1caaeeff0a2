"""Take the pods off nodes: cordon, then evict as their disruption budgets allow, and wait.

A pod that its budget holds is tried again every 5 seconds. Pods of DaemonSets would come back at
once: say --ignore-daemonsets to leave them. Pods that no controller makes again are lost: say
--force to take them. `starkctl uncordon` ends it.

Examples:
  starkctl drain worker-7 --ignore-daemonsets
  starkctl drain worker-7 --ignore-daemonsets --force --grace-period 60 --timeout 10m
  starkctl drain -l topology.kubernetes.io/zone=b --ignore-daemonsets --dry-run
"""

from __future__ import annotations

import argparse
import sys

from stark.crds.draining import DrainRules

from ..draining import Drain, drain, duration_s
from ..errors import EXIT_ERROR, EXIT_OK, CommandError
from ..nodes import Object, add_choice, add_dry_run, chosen, cordon, dry_run_mark
from ..options import Session

NAMESPACED = False


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_choice(parser)
    parser.add_argument("--ignore-daemonsets", action="store_true", help="leave pods of DaemonSets where they are")
    parser.add_argument("--force", action="store_true", help="take pods that have no controller, too")
    parser.add_argument(
        "--delete-emptydir-data", action="store_true", help="take pods with emptyDir volumes, whose content is lost"
    )
    parser.add_argument(
        "--disable-eviction", action="store_true", help="delete instead of evicting: no disruption budget is asked"
    )
    parser.add_argument("--pod-selector", default="", metavar="LABELS", help="only pods with these labels")
    parser.add_argument(
        "--skip-wait-for-delete-timeout",
        type=float,
        default=0,
        metavar="SECONDS",
        help="do not wait for pods that have been on their way out for longer (default 0: wait)",
    )
    add_drain_options(parser)
    add_dry_run(parser)


def add_drain_options(parser: argparse.ArgumentParser) -> None:
    """How long it may take: the same wherever commands take pods off nodes."""
    parser.add_argument(
        "--grace-period", type=int, default=-1, metavar="SECONDS", help="time pods get to stop (default: their own)"
    )
    add_timeout(parser)


def add_timeout(parser: argparse.ArgumentParser) -> None:
    """How long it is waited for."""
    parser.add_argument(
        "--timeout",
        type=_timeout,
        default=0.0,
        metavar="TIME",
        help="longest wait, e.g. 30s or 10m (default: no limit)",
    )


def _timeout(text: str) -> float:
    try:
        seconds = duration_s(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time like 30s or 10m") from error
    if seconds < 0:
        raise argparse.ArgumentTypeError("must not be negative")
    return seconds


def run(args: argparse.Namespace, session: Session) -> int:
    """All are cordoned first, so that no pod goes from one to the next."""
    rules = DrainRules(
        args.ignore_daemonsets, args.force, args.delete_emptydir_data, max(0.0, args.skip_wait_for_delete_timeout)
    )
    how = Drain(
        rules,
        args.grace_period if args.grace_period >= 0 else None,
        args.timeout,
        args.pod_selector,
        args.disable_eviction,
        args.dry_run,
    )
    nodes = chosen(args, session)
    for node in nodes:
        print(cordon(session, node, on=True, dry_run=args.dry_run))
    return drain_all(session, nodes, how)


def drain_all(session: Session, nodes: list[Object], how: Drain) -> int:
    """One after the other; a node that cannot be drained does not keep the others from it."""
    failed = False
    for node in nodes:
        name = node["metadata"]["name"]
        try:
            drain(session, name, how)
        except CommandError as error:
            print(f"error: {error}", file=sys.stderr)
            failed = True
        else:
            print(f"node/{name} drained{dry_run_mark(how.dry_run)}")
    return EXIT_ERROR if failed else EXIT_OK
