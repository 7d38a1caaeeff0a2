"""Create a user for yourself, where the server allows it, and log in.

The password is asked for, or taken from STARK_PASSWORD or standard input; never from the command line.

Examples:
  starkctl auth register --email ada@example.com
  starkctl auth register --email ada@example.com --role user
"""

from __future__ import annotations

import argparse
from typing import Any

from ..errors import EXIT_OK
from ..options import Session
from ..signing_in import door, email_of, password, sign_in
from .auth_add_user import add_role_option

NAMESPACED = False


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("-e", "--email", metavar="ADDRESS", help="your address (default: asked for)")
    parser.add_argument("--display-name", metavar="NAME", help="your name, for people")
    add_role_option(parser, "a role to ask for, may be repeated (default: the server's)")


def run(args: argparse.Namespace, session: Session) -> int:
    """Ask, register, log in."""
    api = door(session)
    body: dict[str, Any] = {"email": email_of(args.email), "password": password(again=True)}
    if args.display_name:
        body["displayName"] = args.display_name
    if args.role:
        body["roles"] = args.role
    sign_in(session, api, "/auth/register", body)
    return EXIT_OK
