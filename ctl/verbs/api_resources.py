"""List the kinds the server serves: their names, short names, versions and scope.

Examples:
  starkctl api-resources
  starkctl api-resources --api-group stark.dev -o wide
"""

from __future__ import annotations

import argparse
import sys

from ..errors import EXIT_OK
from ..options import Session
from ..output import text_table


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--api-group", metavar="GROUP", help="only the kinds of this group; empty for the core group")
    parser.add_argument(
        "--namespaced", choices=("true", "false"), help="only kinds that live in a namespace, or only those that do not"
    )
    parser.add_argument("--no-headers", action="store_true", help="without the heading line")
    parser.add_argument(
        "-o", "--output", choices=("wide", "name"), help="wide: with verbs and categories; name: names only"
    )


def run(args: argparse.Namespace, session: Session) -> int:
    """Print one row a kind."""
    kinds = [
        kind
        for kind in session.catalog.all()
        if (args.api_group is None or kind.group == args.api_group)
        and (args.namespaced is None or kind.namespaced == (args.namespaced == "true"))
    ]
    kinds.sort(key=lambda kind: (kind.group, kind.plural))
    if args.output == "name":
        sys.stdout.write("".join(f"{kind.full_name}\n" for kind in kinds))
        return EXIT_OK
    heading = ["NAME", "SHORTNAMES", "APIVERSION", "NAMESPACED", "KIND"]
    rows = [
        [kind.plural, ",".join(kind.short_names), kind.api_version, str(kind.namespaced).lower(), kind.kind]
        for kind in kinds
    ]
    if args.output == "wide":
        heading += ["VERBS", "CATEGORIES"]
        rows = [[*row, ",".join(kind.verbs), ",".join(kind.categories)] for row, kind in zip(rows, kinds, strict=True)]
    sys.stdout.write(text_table(heading, rows, headings=not args.no_headers))
    return EXIT_OK
