"""List the users of the server; for administrators.

Examples:
  starkctl auth list-users
  starkctl auth list-users -o json
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from ..errors import EXIT_OK
from ..options import Session
from ..output import print_object, text_table

NAMESPACED = False


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--no-headers", action="store_true", help="without the heading line")
    parser.add_argument("-o", "--output", choices=("table", "plain", "json", "yaml", "name"), help="output format")


def run(args: argparse.Namespace, session: Session) -> int:
    """Print one row a user."""
    form = session.form(args.output)
    users: list[dict[str, Any]] = session.api.get("/auth/users")["data"]["users"]
    if form in ("json", "yaml"):
        print_object({"users": users}, form)
    elif form == "name":
        sys.stdout.write("".join(f"{user['email']}\n" for user in users))
    else:
        heading = ["ID", "EMAIL", "NAME", "ROLES", "CREATED"]
        sys.stdout.write(
            text_table(heading, [_row(user) for user in users], headings=not args.no_headers, plain=form == "plain")
        )
    return EXIT_OK


def _row(user: dict[str, Any]) -> list[str]:
    return [
        user["id"],
        user["email"],
        user.get("displayName") or "",
        ",".join(user.get("roles") or ()),
        user.get("createdAt") or "",
    ]
