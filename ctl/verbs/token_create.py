"""Make a bootstrap token, by which new machines join, and print the command to run there.

The token is good for a day unless you say otherwise. It lets new nodes in and cannot touch those that are there; whoever has
it can register machines, so give it to nobody else. The last line of the output is the command: it names this server and the
fingerprint of its authority, so that the machine cannot be led elsewhere.

Examples:
  starkctl token create
  starkctl token create --ttl 2h --description "rack 7" --print-join-command
  starkctl token create --browser        # a link: whoever opens it makes their browser a node
"""

from __future__ import annotations

import argparse
import re
from datetime import UTC, datetime, timedelta

from stark.crds.bootstrap_tokens import (
    DEFAULT_GROUP,
    GROUP_PATTERN,
    NAMESPACE,
    TOKEN,
    USAGES,
    Token,
    new_token,
    secret_of,
)

from ..errors import EXIT_OK, UsageError
from ..joining import join_command
from ..options import Session

NAMESPACED = False
TTL_DEFAULT = "24h"
_DURATION = re.compile(r"(?=.)(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
SECRETS = f"/api/v1/namespaces/{NAMESPACE}/secrets"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("given", nargs="?", metavar="TOKEN", help="the token itself (default: a random one)")
    parser.add_argument(
        "--ttl",
        default=TTL_DEFAULT,
        metavar="DURATION",
        help="how long it is good, e.g. 2h30m; 0: for ever (default 24h)",
    )
    parser.add_argument("--description", default="", metavar="TEXT", help="what it is for")
    parser.add_argument(
        "--usages", default=",".join(USAGES), metavar="LIST", help="what it may be used for (default all)"
    )
    parser.add_argument(
        "--groups", default=DEFAULT_GROUP, metavar="LIST", help="groups of its holders (default: may join nodes)"
    )
    parser.add_argument("--browser", action="store_true", help="print the link that makes a browser a node")
    parser.add_argument("--print-join-command", action="store_true", help="print nothing but the command")


def run(args: argparse.Namespace, session: Session) -> int:
    """Write the Secret, print the token and the command."""
    text = args.given or new_token()
    token = token_from(text, args, datetime.now(UTC))
    session.api.request("POST", SECRETS, body=secret_of(token))
    if args.browser:
        # In the fragment, which browsers send to nobody; the page takes it out of the address at once.
        print(f"{session.api.config.server}/agent/#token={text}")
        return EXIT_OK
    if not args.print_join_command:
        print(text)
    print(join_command(session, text))
    return EXIT_OK


def token_from(text: str, args: argparse.Namespace, now: datetime) -> Token:
    """What the options say. Raises UsageError."""
    match = TOKEN.fullmatch(text)
    if match is None:
        raise UsageError(
            "a token is 6 letters or digits, a dot, and 16 letters or digits; see `starkctl token generate`"
        )
    usages, groups = (tuple(part for part in value.split(",") if part) for value in (args.usages, args.groups))
    wrong = [usage for usage in usages if usage not in USAGES]
    if wrong:
        raise UsageError(f"--usages: {', '.join(wrong)} is not one of {', '.join(USAGES)}")
    for group in groups:
        if not GROUP_PATTERN.fullmatch(group):
            raise UsageError(f"--groups: {group!r} must begin with `system:bootstrappers:`")
    lifetime = duration(args.ttl)
    return Token(match.group(1), match.group(2), usages, groups, now + lifetime if lifetime else None, args.description)


def duration(text: str) -> timedelta:
    """`2h30m`, `90s`, `0`. Raises UsageError."""
    if text == "0":
        return timedelta(0)
    match = _DURATION.fullmatch(text)
    if match is None:
        raise UsageError(f"--ttl: {text!r} is not a duration like 24h, 2h30m or 90s")
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return timedelta(hours=hours, minutes=minutes, seconds=seconds)
