"""List where you are logged in, and end logins: one of yours, or all of somebody's, for administrators.

Examples:
  starkctl auth sessions
  starkctl auth sessions --end 4f1c...                      the machine that was stolen
  starkctl auth sessions --user bob@example.com --end-all   log somebody out everywhere
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from ..errors import EXIT_OK, UsageError
from ..options import Session
from ..output import print_object, text_table
from ..signing_in import user_path

NAMESPACED = False
SESSIONS = "/auth/sessions"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--end", action="append", default=[], metavar="ID", help="end this login, may be repeated")
    parser.add_argument("--user", metavar="ADDRESS", help="with --end-all: whose")
    parser.add_argument("--end-all", action="store_true", help="with --user: end every login of theirs")
    parser.add_argument("--no-headers", action="store_true", help="without the heading line")
    parser.add_argument("-o", "--output", choices=("table", "plain", "json", "yaml", "name"), help="output format")


def run(args: argparse.Namespace, session: Session) -> int:
    """End what is to end, or list."""
    if bool(args.user) != args.end_all or (args.end and args.user):
        raise UsageError("--user and --end-all go together, and without --end: other people's logins end all at once")
    if args.user:
        ended = session.api.request("DELETE", f"{user_path(args.user)}/sessions")["data"].get("ended", 0)
        print(f"{ended} logins of {args.user} ended")
    for known in args.end:
        session.api.request("DELETE", f"{SESSIONS}/{known}")
        print(f"login {known} ended")
    if not args.user and not args.end:
        _list(args, session)
    return EXIT_OK


def _list(args: argparse.Namespace, session: Session) -> None:
    found: list[dict[str, Any]] = session.api.get(SESSIONS)["data"]["sessions"]
    form = session.form(args.output)
    if form in ("json", "yaml"):
        print_object({"sessions": found}, form)
    elif form == "name":
        sys.stdout.write("".join(f"{one['id']}\n" for one in found))
    else:
        heading = ["ID", "HERE", "ADDRESS", "CLIENT", "LAST USED", "ENDS"]
        sys.stdout.write(
            text_table(heading, [_row(one) for one in found], headings=not args.no_headers, plain=form == "plain")
        )


def _row(one: dict[str, Any]) -> list[str]:
    here = "yes" if one.get("current") else ""
    return [one["id"], here, *(str(one.get(key) or "") for key in ("address", "userAgent", "lastUsedAt", "endsAt"))]
