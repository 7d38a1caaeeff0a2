"""Run a command in a container of a pod, and end as it ends.

Examples:
  starkctl exec web-7d9c-x2x -- date               print what the command prints
  starkctl exec -it web-7d9c-x2x -- bash           a shell in a terminal
  starkctl exec deployment/web -c main -- env      in one pod of the deployment
  starkctl exec -i web-7d9c-x2x -- tee /tmp/file < file
"""

from __future__ import annotations

import argparse
import os
import sys

from ..conversing import Ends, converse, exit_code, query_of
from ..entering import container_of, enterable, path_of, pod_of
from ..errors import UsageError
from ..options import Session

TAKES_COMMAND = True
"""What follows `--` is not ours."""
STDIN, STDOUT, STDERR = range(3)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.usage = f"{parser.prog} [options] POD | TYPE/NAME -- COMMAND [ARGUMENT ...]"
    parser.add_argument("what", metavar="POD | TYPE/NAME", help="a pod, or a workload such as deployment/web")
    parser.add_argument("-c", "--container", default="", metavar="NAME", help="which container of the pod")
    parser.add_argument("-i", "--stdin", action="store_true", help="pass standard input on")
    parser.add_argument("-t", "--tty", action="store_true", help="standard input is a terminal: give the command one")
    parser.add_argument("-q", "--quiet", action="store_true", help="print only what the command prints")


def run(args: argparse.Namespace, session: Session) -> int:
    """Run it, and return its exit code."""
    if not args.command:
        raise UsageError("you must specify at least one command for the container, after `--`")
    pod = pod_of(session, args.what)
    enterable(pod, "exec into")
    container = container_of(pod, args.container, quiet=args.quiet)["name"]
    ends = local_ends(wants_stdin=args.stdin, wants_tty=args.tty, quiet=args.quiet)
    status = converse(session.api, path_of(pod, "exec"), query_of(ends, container, args.command), ends)
    return exit_code(status, quiet=args.quiet)


def local_ends(*, wants_stdin: bool, wants_tty: bool, quiet: bool) -> Ends:
    """Our own streams. A terminal takes standard input that is one; without, the command runs as if none was asked."""
    sys.stdout.flush()
    sys.stderr.flush()
    is_terminal = wants_tty and wants_stdin and os.isatty(STDIN)
    if wants_tty and not is_terminal and not quiet:
        print("Unable to use a TTY - input is not a terminal or the right kind of file", file=sys.stderr)
    return Ends(STDIN if wants_stdin else None, STDOUT, None if is_terminal else STDERR, is_terminal)
