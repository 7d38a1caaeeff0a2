"""Say whether the server is set up, and who it takes you for. Exit code 1 when it knows you as nobody.

Examples:
  starkctl auth status
  starkctl auth status -o json
"""

from __future__ import annotations

import argparse
import sys

from ..errors import EXIT_ERROR, EXIT_OK, ServerError
from ..options import Session
from ..output import print_object, text_table
from ..signing_in import door
from .auth_whoami import user_of

NAMESPACED = False


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("-o", "--output", choices=("json", "yaml"), help="print as JSON or YAML")


def run(args: argparse.Namespace, session: Session) -> int:
    """Ask the server both questions."""
    api = door(session)
    setup = api.get("/auth/setup/status").get("data") or {}
    args.server = api.config.server
    try:
        name = str(user_of(session).get("username") or "")
    except ServerError as error:
        if error.code not in (401, 403):
            raise
        name = ""
    known = {
        "server": api.config.server,
        "needsSetup": bool(setup.get("needsSetup")),
        "registrationEnabled": bool(setup.get("registrationEnabled")),
        "user": name,
    }
    if args.output:
        print_object(known, args.output)
    else:
        rows = [
            ["Server", api.config.server],
            ["Setup", "needed: `starkctl auth setup`" if known["needsSetup"] else "done"],
            ["Registration", "open" if known["registrationEnabled"] else "closed"],
            ["User", name or "nobody: `starkctl auth login`"],
        ]
        sys.stdout.write(text_table(["", ""], rows, headings=False))
    return EXIT_OK if name else EXIT_ERROR
