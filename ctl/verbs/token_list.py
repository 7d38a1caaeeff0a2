"""List the bootstrap tokens: until when each is good, what for, and whose groups it gives.

Only their ids are shown. The whole tokens stand in the Secrets `bootstrap-token-<id>` of the namespace kube-system.

Examples:
  starkctl token list
"""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime

from stark.crds.bootstrap_tokens import NAMESPACE, SECRET_TYPE, BadToken, Token, read_secret
from stark.crds.printers.base import human_duration

from ..errors import EXIT_OK
from ..options import Session
from ..output import text_table

NAMESPACED = False
SECRETS = f"/api/v1/namespaces/{NAMESPACE}/secrets"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--no-headers", action="store_true", help="without the heading line")


def run(args: argparse.Namespace, session: Session) -> int:
    """Read the Secrets and print."""
    found = session.api.request("GET", SECRETS, query={"fieldSelector": f"type={SECRET_TYPE}"}).get("items") or ()
    rows: list[list[str]] = []
    for secret in found:
        try:
            rows.append(row(read_secret(secret), datetime.now(UTC)))
        except BadToken as error:
            print(f"{secret['metadata']['name']}: {error}", file=sys.stderr)
    if not rows:
        print("No tokens: see `starkctl token create --help`", file=sys.stderr)
        return EXIT_OK
    heading = ["ID", "TTL", "EXPIRES", "USAGES", "DESCRIPTION", "EXTRA GROUPS"]
    sys.stdout.write(text_table(heading, sorted(rows), headings=not args.no_headers))
    return EXIT_OK


def row(token: Token, now: datetime) -> list[str]:
    """One token's cells."""
    ends = token.expires_at
    left = "<forever>" if ends is None else "<expired>" if token.is_over(now) else human_duration(ends - now)
    end = "<never>" if ends is None else ends.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return [token.token_id, left, end, ",".join(token.usages), token.description or "<none>", ",".join(token.groups)]
