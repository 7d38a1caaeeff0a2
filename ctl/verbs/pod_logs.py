"""Print what a pod wrote, or follow it; `starkctl logs` has more ways to choose pods.

Examples:
  starkctl pod logs hello-x7k2p
  starkctl pod logs hello-x7k2p -f -t 50
"""

from __future__ import annotations

import argparse

from ..options import Session
from ..pods import find_pod
from . import logs


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("pod", metavar="POD", help="name or uid of the pod")
    parser.add_argument("-f", "--follow", action="store_true", help="go on as new lines are written")
    parser.add_argument("-t", "--tail", type=int, metavar="LINES", help="only this many of the last lines")
    parser.add_argument("-p", "--previous", action="store_true", help="of the run before the last restart")
    parser.add_argument("-c", "--container", default="", metavar="NAME", help="which container of the pod")
    parser.add_argument("--since", metavar="DURATION", help="only what is newer than this, e.g. 5s, 10m, 1h30m")
    parser.add_argument("--timestamps", action="store_true", help="begin each line with the time it was written")


def run(args: argparse.Namespace, session: Session) -> int:
    """Let `logs` do it."""
    metadata = find_pod(session, args.pod)["metadata"]
    session.args.namespace = metadata["namespace"]
    parser = argparse.ArgumentParser(add_help=False)
    logs.configure(parser)
    asked = parser.parse_args([metadata["name"]])
    for option in ("follow", "tail", "previous", "container", "since", "timestamps"):
        setattr(asked, option, getattr(args, option))
    return logs.run(asked, session)
