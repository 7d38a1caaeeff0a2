"""Connect to the program of a running container: what it says from now on, and with -i its standard input.

Examples:
  starkctl attach web-7d9c-x2x                 what it writes from now on
  starkctl attach -i web-7d9c-x2x              and what is typed goes to it
  starkctl attach -it deployment/shell -c main in one pod of the deployment
"""

from __future__ import annotations

import argparse
import sys

from ..conversing import Ends, converse, exit_code, query_of
from ..entering import container_of, enterable, path_of, pod_of
from ..options import Session
from .exec import STDERR, local_ends


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("what", metavar="POD | TYPE/NAME", help="a pod, or a workload such as deployment/web")
    parser.add_argument("-c", "--container", default="", metavar="NAME", help="which container of the pod")
    parser.add_argument("-i", "--stdin", action="store_true", help="pass standard input on")
    parser.add_argument(
        "-t", "--tty", action="store_true", help="standard input is a terminal, and so is the container's"
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="print only what the program prints")


def run(args: argparse.Namespace, session: Session) -> int:
    """Show what it says until it ends."""
    pod = pod_of(session, args.what)
    enterable(pod, "attach to")
    container = container_of(pod, args.container, quiet=args.quiet)
    has_terminal = bool(container.get("tty"))
    if args.tty and not has_terminal and not args.quiet:
        print(f"error: Unable to use a TTY - container {container['name']} did not allocate one", file=sys.stderr)
    ends = local_ends(wants_stdin=args.stdin, wants_tty=args.tty and has_terminal, quiet=args.quiet)
    ends = Ends(ends.stdin, ends.stdout, None if has_terminal else STDERR, ends.tty)
    if not args.quiet and args.stdin:
        print("If you don't see a command prompt, try pressing enter.", file=sys.stderr)
    query = query_of(ends, container["name"], [])
    return exit_code(converse(session.api, path_of(pod, "attach"), query, ends), quiet=args.quiet)
