"""Give a context another name.

Examples:
  starkctl config rename-context default production
"""

from __future__ import annotations

import argparse

from ..errors import EXIT_OK, CommandError
from ..kubeconfigs import Kubeconfigs, add_kubeconfig_option
from ..options import Session

CONNECTS = False


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_kubeconfig_option(parser)
    parser.add_argument("old", metavar="OLD", help="its name now")
    parser.add_argument("new", metavar="NEW", help="its name from now on")


def run(args: argparse.Namespace, session: Session) -> int:
    """Write it under the new name, then take the old one out."""
    known = Kubeconfigs(args.kubeconfig)
    found = known.find("context", args.old)
    if args.new in known.every("context"):
        raise CommandError(f"there is a context {args.new!r} already: delete it first")
    is_current = known.current == args.old
    known.put("context", args.new, found.body)
    if is_current:
        known.use(args.new)
    known.delete("context", args.old)
    print(f'Context "{args.old}" renamed to "{args.new}".')
    return EXIT_OK
