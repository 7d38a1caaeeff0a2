"""Create a user for somebody else; for administrators.

The new user's password is asked for, or taken from STARK_PASSWORD or standard input; never from the command line.

Examples:
  starkctl auth add-user --email ada@example.com --role user
  starkctl auth add-user --email machine-7@example.com --role node < password-file
"""

from __future__ import annotations

import argparse
from typing import Any

from ..errors import EXIT_OK
from ..options import Session
from ..output import print_object
from ..signing_in import email_of, password, safe_for_passwords

NAMESPACED = False
ROLES = ("admin", "user", "node", "viewer")


def add_role_option(parser: argparse.ArgumentParser, text: str) -> None:
    """`--role`, repeatable."""
    parser.add_argument("-r", "--role", action="append", default=[], choices=ROLES, help=text)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("-e", "--email", metavar="ADDRESS", help="the user's address (default: asked for)")
    parser.add_argument("--display-name", metavar="NAME", help="the user's name, for people")
    add_role_option(parser, "what the user may do, may be repeated (default viewer)")
    parser.add_argument("-o", "--output", choices=("json", "yaml"), help="print the user as JSON or YAML")


def run(args: argparse.Namespace, session: Session) -> int:
    """Ask, create."""
    api = safe_for_passwords(session.api)
    body: dict[str, Any] = {"email": email_of(args.email), "password": password("The user's password: ", again=True)}
    if args.display_name:
        body["displayName"] = args.display_name
    if args.role:
        body["roles"] = args.role
    user = api.request("POST", "/auth/users", body=body)["data"]["user"]
    if args.output:
        print_object(user, args.output)
    else:
        print(f"user {user['email']} created ({', '.join(user.get('roles') or ()) or 'no role'})")
    return EXIT_OK
