"""Change your password, or give somebody else a new one, for administrators.

Every other login of yours ends; this one goes on. All logins of somebody with a new password end.

The present and the new password are asked for; without a terminal they are two lines of standard input.

Examples:
  starkctl auth password
  starkctl auth password --user bob@example.com     for somebody who has forgotten theirs
"""

from __future__ import annotations

import argparse

from ..errors import EXIT_OK, CommandError
from ..options import Session
from ..signing_in import is_terminal, password, safe_for_passwords, typed_line, user_path

NAMESPACED = False


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--user", metavar="ADDRESS", help="whose password, for administrators (default: yours)")


def run(args: argparse.Namespace, session: Session) -> int:
    """Ask, change."""
    api = safe_for_passwords(session.api)
    if args.user:
        chosen = password(f"New password of {args.user}: ", again=True)
        api.request("PUT", f"{user_path(args.user)}/password", body={"newPassword": chosen})
        print(f"{args.user} has a new password; their logins have ended")
        return EXIT_OK
    present, wanted = _typed() if is_terminal() else _piped()
    body = {"currentPassword": present, "newPassword": wanted}
    api.request("POST", "/auth/password", body=body)
    print("password changed; your other logins have ended")
    return EXIT_OK


def _typed() -> tuple[str, str]:
    import getpass

    try:
        present = getpass.getpass("Present password: ")
        wanted = getpass.getpass("New password: ")
        if getpass.getpass("The new one again: ") != wanted:
            raise CommandError("the two passwords differ: nothing was changed")
    except EOFError as error:
        raise CommandError("no password was given") from error
    return present, wanted


def _piped() -> tuple[str, str]:
    present, wanted = (typed_line() for _ in range(2))
    if not present or not wanted:
        raise CommandError("give the present and the new password as two lines of standard input")
    return present, wanted
