"""List what was done, by whom and with what outcome, the newest first; for administrators.

Examples:
  starkctl audit list --since 1h --outcome denied
  starkctl audit list --user ann@example.com --verb delete -o json
  starkctl audit list --resource secrets -n prod
  starkctl audit list --files /backup/audit --since 2026-01-31
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from stark.crds.audit.selecting import outcome_of, resource_names

from ..auditing import add_selection, events
from ..errors import EXIT_OK, UsageError
from ..options import Session
from ..output import print_object, text_table

LIMIT_DEFAULT = 100


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_selection(parser)
    parser.add_argument(
        "--limit", type=int, default=LIMIT_DEFAULT, metavar="N", help="most events, default %(default)s"
    )
    parser.add_argument("--no-headers", action="store_true", help="without the heading line")
    parser.add_argument(
        "-o", "--output", choices=("table", "plain", "json", "yaml"), help="output format (default table)"
    )


def run(args: argparse.Namespace, session: Session) -> int:
    """Print one row an event."""
    if args.limit < 1:
        raise UsageError("--limit must be 1 or more")
    form = session.form(args.output)
    found = list(events(args, session, args.limit))
    if form in ("json", "yaml"):
        print_object({"apiVersion": "audit.k8s.io/v1", "kind": "EventList", "items": found}, form)
        return EXIT_OK
    heading = ["TIME", "USER", "VERB", "RESOURCE", "NAMESPACE", "NAME", "CODE", "OUTCOME", "FROM"]
    rows = [_row(event) for event in found]
    sys.stdout.write(text_table(heading, rows, headings=not args.no_headers, plain=form == "plain"))
    return EXIT_OK


def _row(event: dict[str, Any]) -> list[str]:
    reference, status = event.get("objectRef") or {}, event.get("responseStatus") or {}
    user = str((event.get("user") or {}).get("username") or "-")
    acting = (event.get("impersonatedUser") or {}).get("username")
    names = resource_names(reference)
    cells = [
        str(event.get("requestReceivedTimestamp", ""))[:19] + "Z",
        f"{user} as {acting}" if acting else user,
        str(event.get("verb", "")),
        names[-1] if names else str(event.get("requestURI", "")).partition("?")[0],
        str(reference.get("namespace") or ""),
        str(reference.get("name") or ""),
        str(status.get("code", "")),
        outcome_of(event) if event.get("stage") != "ResponseStarted" else "began",
        str((event.get("sourceIPs") or [""])[-1]),
    ]
    # Strangers choose names and addresses: nothing of theirs may move the cursor.
    return ["".join(sign if sign.isprintable() else "?" for sign in cell) for cell in cells]
