"""List the contexts of the kubeconfig: which cluster, as whom, in which namespace.

Examples:
  starkctl config get-contexts
  starkctl config get-contexts production
  starkctl config get-contexts -o name
"""

from __future__ import annotations

import argparse
import sys

from ..errors import EXIT_OK
from ..kubeconfigs import Kubeconfigs, add_kubeconfig_option
from ..options import Session
from ..output import text_table

CONNECTS = False
HEADING = ["CURRENT", "NAME", "CLUSTER", "AUTHINFO", "NAMESPACE"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_kubeconfig_option(parser)
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these")
    parser.add_argument("--no-headers", action="store_true", help="without the heading line")
    parser.add_argument("-o", "--output", choices=("name",), help="names only")


def run(args: argparse.Namespace, session: Session) -> int:
    """Print a row each."""
    known = Kubeconfigs(args.kubeconfig)
    found = [known.find("context", name) for name in args.names] or list(known.every("context").values())
    found.sort(key=lambda each: each.name)
    if args.output == "name":
        sys.stdout.write("".join(f"{each.name}\n" for each in found))
        return EXIT_OK
    rows = []
    for each in found:
        fields = [str(each.body.get(key) or "") for key in ("cluster", "user", "namespace")]
        rows.append(["*" if each.name == known.current else "", each.name, *fields])
    sys.stdout.write(text_table(HEADING, rows, headings=not args.no_headers))
    return EXIT_OK
