"""Create the first administrator of a new server, and log in as them. Works only while the server has no users.

The password is asked for, or taken from STARK_PASSWORD or standard input; never from the command line.

Examples:
  starkctl auth setup
  starkctl auth setup --email ada@example.com --server https://stark.example.com --ca-file ca.crt
"""

from __future__ import annotations

import argparse

from ..errors import EXIT_OK, CommandError
from ..options import Session
from ..signing_in import door, email_of, password, sign_in

NAMESPACED = False


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("-e", "--email", metavar="ADDRESS", help="the administrator's address (default: asked for)")
    parser.add_argument("--display-name", metavar="NAME", help="the administrator's name, for people")


def run(args: argparse.Namespace, session: Session) -> int:
    """Ask, create, log in."""
    api = door(session)
    status = api.get("/auth/setup/status").get("data") or {}
    if not status.get("needsSetup"):
        raise CommandError(f"{api.config.server} has users already: `starkctl auth login` instead")
    body = {"email": email_of(args.email), "password": password(again=True)}
    if args.display_name:
        body["displayName"] = args.display_name
    sign_in(session, api, "/auth/setup", body)
    return EXIT_OK
