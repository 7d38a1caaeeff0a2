"""Make a context, or change one: which cluster, as which user, in which namespace. What is not said stays as it is.

Examples:
  starkctl config set-context --current --namespace team-a
  starkctl config set-context blue --cluster stark --user ada
"""

from __future__ import annotations

import argparse

from ..errors import EXIT_OK, CommandError, UsageError
from ..kubeconfigs import Kubeconfigs, add_kubeconfig_option
from ..options import Session

CONNECTS = False


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_kubeconfig_option(parser)
    parser.add_argument("name", nargs="?", metavar="NAME", help="the context")
    parser.add_argument("--current", action="store_true", help="the context in use")
    parser.add_argument("--cluster", metavar="NAME", help="its cluster")
    parser.add_argument("--user", metavar="NAME", help="its user")
    parser.add_argument("-n", "--namespace", metavar="NAME", help="its namespace")


def run(args: argparse.Namespace, session: Session) -> int:
    """Write it into the file."""
    if bool(args.name) == args.current:
        raise UsageError("name a context, or say --current")
    known = Kubeconfigs(args.kubeconfig)
    name = args.name or known.current
    if not name:
        raise CommandError("current-context is not set: `starkctl config use-context NAME`")
    old = known.every("context").get(name)
    given = {key: value for key in ("cluster", "user", "namespace") if (value := getattr(args, key)) is not None}
    known.put("context", name, {**(old.body if old is not None else {}), **given})
    print(f'Context "{name}" {"modified" if old is not None else "created"}.')
    return EXIT_OK
