"""Say who you are: from the login in ~/.stark, without asking the server; otherwise the server is asked.

Examples:
  starkctl auth whoami
  starkctl auth whoami --server-side     what the server makes of your credentials, with your groups
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from ..errors import EXIT_OK
from ..finding import locate, logged_in
from ..home import Credentials
from ..options import Session
from ..output import print_object, text_table

NAMESPACED = False
REVIEW = "/apis/authentication.k8s.io/v1/selfsubjectreviews"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--server-side", action="store_true", help="ask the server, also when there is a login")
    parser.add_argument("-o", "--output", choices=("json", "yaml"), help="print as JSON or YAML")


def run(args: argparse.Namespace, session: Session) -> int:
    """Print who."""
    held = None if args.server_side or args.token or args.as_user else _login(args, session)
    if held is None:
        return _show_review(args, user_of(session))
    known = {"email": held.email, "userId": held.user_id, "server": held.api_url, "expiresAt": held.expires_at}
    if args.output:
        print_object(known, args.output)
        return EXIT_OK
    from ..login import time_left

    minutes = int(time_left(held).total_seconds() // 60)
    when = f"{held.expires_at} (in {minutes} min, renewed by itself)" if minutes >= 0 else f"{held.expires_at} (over)"
    rows = [["Email", held.email], ["User id", held.user_id], ["Server", held.api_url], ["Token expires", when]]
    sys.stdout.write(text_table(["", ""], rows, headings=False))
    return EXIT_OK


def _login(args: argparse.Namespace, session: Session) -> Credentials | None:
    if session.home.credentials() is None:
        return None
    login = logged_in(args, session.home, locate(args, session.home))
    return login.credentials if login is not None else None


def user_of(session: Session) -> dict[str, Any]:
    """`userInfo` (authentication.k8s.io/v1) as the server sees us. Raises ServerError, Unreachable."""
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    answer = session.api.request("POST", REVIEW, body=body)
    found: dict[str, Any] = (answer.get("status") or {}).get("userInfo") or {}
    return found


def _show_review(args: argparse.Namespace, user: dict[str, Any]) -> int:
    if args.output:
        print_object(user, args.output)
        return EXIT_OK
    rows = [["Username", user.get("username", "")], ["UID", user.get("uid", "")]]
    rows.append(["Groups", ", ".join(user.get("groups") or ())])
    extra = user.get("extra") or {}
    rows.extend([f"Extra: {key}", ", ".join(extra[key])] for key in sorted(extra))
    sys.stdout.write(text_table(["", ""], [row for row in rows if row[1]], headings=False))
    return EXIT_OK
