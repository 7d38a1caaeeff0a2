"""Show the table of nodes again and again, until Ctrl-C.

Examples:
  starkctl node watch
  starkctl node watch -i 2 --status offline
"""

from __future__ import annotations

import argparse
import sys
import time

from stark.crds.nodestate import ALIASES, STATES

from ..errors import EXIT_OK, UsageError
from ..options import Session
from .node_list import selected, table

NAMESPACED = False
INTERVAL_S = 5.0
CLEAR = "\x1b[H\x1b[2J"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "-i", "--interval", type=float, default=INTERVAL_S, metavar="SECONDS", help="between two looks (default 5)"
    )
    parser.add_argument("-s", "--status", choices=(*STATES, *ALIASES), metavar="STATUS", help="only nodes that are so")
    parser.add_argument(
        "-l", "--label", "--selector", default="", metavar="LABELS", help="only nodes with these labels"
    )
    parser.add_argument("--count", type=int, metavar="N", help="look so often, then end")


def run(args: argparse.Namespace, session: Session) -> int:
    """On a terminal in place; elsewhere one table after the other."""
    if args.interval <= 0:
        raise UsageError("--interval must be more than 0 seconds")
    looks = 0
    while True:
        nodes = selected(session, args.status, None, args.label)
        text = table(session, nodes, wide=False)
        sys.stdout.write(
            f"{CLEAR if sys.stdout.isatty() else ''}{time.strftime('%H:%M:%S')}  {len(nodes)} nodes\n{text}"
        )
        sys.stdout.flush()
        looks += 1
        if looks == args.count:
            return EXIT_OK
        time.sleep(args.interval)
