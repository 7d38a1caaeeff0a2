"""Lists that commands put together themselves: read whole from the server, filtered here, shown page by page."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from .options import Session

CHUNK = "500"
"""Objects asked for at once; kubectl's number."""
PAGE_ROWS, PAGE_ROWS_MAX = 20, 100

T = TypeVar("T")


def add_list_options(parser: argparse.ArgumentParser, statuses: Sequence[str]) -> None:
    """What `pod list` and `deployment list` share."""
    parser.add_argument("-A", "--all-namespaces", action="store_true", help="in every namespace")
    parser.add_argument("-s", "--status", choices=statuses, metavar="STATUS", help=f"only {', '.join(statuses)}")
    parser.add_argument("-p", "--page", type=int, default=1, metavar="N", help="which page (default 1)")
    parser.add_argument(
        "--limit", type=int, default=PAGE_ROWS, metavar="N", help=f"rows of a page, 1 to {PAGE_ROWS_MAX} ({PAGE_ROWS})"
    )
    parser.add_argument("--no-headers", action="store_true", help="without the heading line")
    parser.add_argument("-o", "--output", choices=("table", "plain", "json", "yaml", "name"), help="output format")


def every(session: Session, path: str, **query: str) -> Iterator[dict[str, Any]]:
    """Every object of a collection."""
    token = ""
    while True:
        page = session.api.request("GET", path, query={**query, "limit": CHUNK, "continue": token})
        yield from page.get("items") or ()
        token = (page.get("metadata") or {}).get("continue") or ""
        if not token:
            return


def page_of(items: Sequence[T], args: argparse.Namespace) -> Sequence[T]:
    """The rows of the page that was asked for; tells on stderr when there are others."""
    rows = min(max(args.limit, 1), PAGE_ROWS_MAX)
    pages = max(1, -(-len(items) // rows))
    page = max(args.page, 1)
    if pages > 1 or page > pages:
        print(f"Page {page} of {pages}, {len(items)} in all: -p chooses, --limit N lengthens", file=sys.stderr)
    return items[(page - 1) * rows : page * rows]
