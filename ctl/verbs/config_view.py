"""Print the kubeconfig, all files of it as one, without what opens doors.

Examples:
  starkctl config view
  starkctl config view --minify --flatten --raw > portable.kubeconfig     with keys, for elsewhere
  starkctl config view -o json
"""

from __future__ import annotations

import argparse

from ..errors import EXIT_OK
from ..kubeconfigs import Kubeconfigs, add_kubeconfig_option, flattened, minified, redacted
from ..options import Session
from ..output import print_object

CONNECTS = False


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_kubeconfig_option(parser)
    parser.add_argument("--minify", action="store_true", help="only what the context in use needs")
    parser.add_argument("--flatten", action="store_true", help="with the contents of the files it names")
    parser.add_argument("--raw", action="store_true", help="with keys and tokens")
    parser.add_argument("--context", metavar="NAME", help="with --minify: this context instead of the one in use")
    parser.add_argument("-o", "--output", choices=("yaml", "json"), default="yaml", help="output format")


def run(args: argparse.Namespace, session: Session) -> int:
    """Print it."""
    known = Kubeconfigs(args.kubeconfig)
    body = known.merged()
    if args.minify:
        body = minified(body, args.context or known.current)
    if args.flatten:
        body = flattened(body)
    print_object(body if args.raw else redacted(body), args.output)
    return EXIT_OK
