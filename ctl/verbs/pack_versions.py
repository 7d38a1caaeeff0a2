"""List the versions of one pack, the newest registration first.

Examples:
  starkctl pack versions hello
  starkctl pack versions hello -o json
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from stark.crds.printers import human_age

from ..errors import EXIT_OK, CommandError
from ..options import Session
from ..output import print_object, text_table
from .pack_list import all_packs

NAMESPACED = False


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("name", metavar="NAME", help="name of the pack")
    parser.add_argument("--no-headers", action="store_true", help="without the heading line")
    parser.add_argument("-o", "--output", choices=("table", "plain", "json", "yaml", "name"), help="output format")


def run(args: argparse.Namespace, session: Session) -> int:
    """Print one row a version."""
    form = session.form(args.output)
    packs = [pack for pack in all_packs(session) if pack["spec"]["name"] == args.name]
    if not packs:
        raise CommandError(f"no pack is called {args.name}: `starkctl pack list` shows them")
    packs.sort(key=lambda pack: str(pack["metadata"]["creationTimestamp"]), reverse=True)
    if form in ("json", "yaml"):
        print_object({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": packs}, form)
    elif form == "name":
        sys.stdout.write("".join(f"{pack['spec']['version']}\n" for pack in packs))
    else:
        heading = ["VERSION", "RUNTIME", "ARCH", "SIZE", "DIGEST", "SIGNATURES", "STATUS", "AGE"]
        sys.stdout.write(
            text_table(heading, [_row(pack) for pack in packs], headings=not args.no_headers, plain=form == "plain")
        )
    return EXIT_OK


def _row(pack: dict[str, Any]) -> list[str]:
    spec, bundles = pack["spec"], pack["spec"].get("bundles") or []
    return [
        spec["version"],
        spec["runtime"],
        ",".join(bundle["architecture"] for bundle in bundles),
        str(sum(bundle["size"] for bundle in bundles)),
        ",".join(bundle["sha256"][:12] for bundle in bundles),
        str(len(spec.get("signatures") or ())),
        "Deprecated" if spec.get("deprecated") else (pack.get("status") or {}).get("phase") or "Pending",
        human_age(pack["metadata"]["creationTimestamp"]),
    ]
