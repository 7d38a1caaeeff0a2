"""List packs: one row a pack, with its latest release and how many versions there are.

Examples:
  starkctl pack list
  starkctl pack list --runtime python -o json
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from typing import Any

from stark.crds.images import latest_version

from ..errors import EXIT_OK
from ..options import Session
from ..output import print_object, text_table
from ..paging import PAGE_ROWS, PAGE_ROWS_MAX, page_of

NAMESPACED = False
PACKS = "/apis/stark.dev/v1/packs"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("-r", "--runtime", metavar="RUNTIME", help="only packs for this runtime")
    parser.add_argument("-p", "--page", type=int, default=1, metavar="N", help="which page (default 1)")
    parser.add_argument(
        "-l",
        "--limit",
        type=int,
        default=PAGE_ROWS,
        metavar="N",
        help=f"rows of a page, 1 to {PAGE_ROWS_MAX} ({PAGE_ROWS})",
    )
    parser.add_argument("--no-headers", action="store_true", help="without the heading line")
    parser.add_argument("-o", "--output", choices=("table", "plain", "json", "yaml", "name"), help="output format")


def run(args: argparse.Namespace, session: Session) -> int:
    """Group the Pack objects by name and print."""
    form = session.form(args.output)
    packs = [p for p in all_packs(session) if args.runtime in (None, p["spec"]["runtime"])]
    if form in ("json", "yaml"):
        print_object({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": packs}, form)
        return EXIT_OK
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for pack in packs:
        groups[pack["spec"]["name"]].append(pack)
    names = page_of(sorted(groups), args)
    if form == "name":
        sys.stdout.write("".join(f"{name}\n" for name in names))
        return EXIT_OK
    if not groups:
        print("No packs registered: see `starkctl pack register --help`", file=sys.stderr)
        return EXIT_OK
    rows = [_row(name, groups[name]) for name in names]
    heading = ["NAME", "LATEST", "RUNTIME", "VERSIONS", "VISIBILITY", "DESCRIPTION"]
    sys.stdout.write(text_table(heading, rows, headings=not args.no_headers, plain=form == "plain"))
    return EXIT_OK


def all_packs(session: Session) -> list[dict[str, Any]]:
    """Every Pack object, page by page."""
    packs: list[dict[str, Any]] = []
    token = ""
    while True:
        page = session.api.request("GET", PACKS, query={"limit": "500", "continue": token})
        packs.extend({"apiVersion": "stark.dev/v1", "kind": "Pack", **item} for item in page.get("items") or ())
        token = (page.get("metadata") or {}).get("continue") or ""
        if not token:
            return packs


def _row(name: str, versions: list[dict[str, Any]]) -> list[str]:
    fit = [pack for pack in versions if not pack["spec"].get("deprecated")] or versions
    latest = latest_version([pack["spec"]["version"] for pack in fit])
    newest = next(pack for pack in versions if pack["spec"]["version"] == latest)["spec"]
    description = str(newest.get("description") or "")
    return [name, str(latest), newest["runtime"], str(len(versions)), newest.get("visibility", "private"), description]
