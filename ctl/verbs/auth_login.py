"""Log in with e-mail and password, and keep the login in ~/.stark for the commands to come; it renews itself.

The password is asked for, or taken from STARK_PASSWORD or standard input; never from the command line. The server and
its --ca-file are remembered, too.

Examples:
  starkctl auth login --email ada@example.com
  starkctl auth login --email ada@example.com --server https://stark.example.com --ca-file ca.crt
  starkctl auth login --email ci@example.com < password-file
"""

from __future__ import annotations

import argparse

from ..errors import EXIT_OK
from ..options import Session
from ..signing_in import door, email_of, password, sign_in

NAMESPACED = False


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("-e", "--email", metavar="ADDRESS", help="your address (default: asked for)")


def run(args: argparse.Namespace, session: Session) -> int:
    """Ask, log in."""
    api = door(session)
    sign_in(session, api, "/auth/login", {"email": email_of(args.email), "password": password()})
    return EXIT_OK
