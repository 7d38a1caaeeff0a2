"""Say whether the audit log is whole: no line changed, moved, put in or missing, no file gone, no end cut off.

Without a directory the server looks at its own log. With one, the files are looked at here: the server's directory
`audit`, or a copy of it on any machine. A log that was replaced as a whole is only found out by what was noted elsewhere:
give the key (`pki/audit-signing.pub`) and the ends of earlier runs.

Examples:
  starkctl audit verify
  starkctl audit verify /backup/audit --public-key audit-signing.pub --expect 1024:9f86d081...
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from stark.crds.audit.chain import parse_link
from stark.crds.audit.verifying import fingerprint, verify

from ..auditing import LOGS, log_directory
from ..errors import EXIT_ERROR, EXIT_OK, CommandError, UsageError
from ..options import Session
from ..output import print_object

NAMESPACED = False


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "directory", nargs="?", type=Path, metavar="DIR", help="files to look at, instead of the server's"
    )
    parser.add_argument("--public-key", type=Path, metavar="FILE", help="the key (PEM) that must have signed the log")
    parser.add_argument(
        "--expect",
        action="append",
        default=[],
        metavar="SEQ:HASH",
        help="an end that was noted earlier, which must still be in the log; may be given several times",
    )
    parser.add_argument(
        "-o", "--output", choices=("table", "plain", "json", "yaml"), help="output format (default table)"
    )


def run(args: argparse.Namespace, session: Session) -> int:
    """Exit code 0: whole. 1: not, or it could not be found out."""
    try:
        expected = tuple(parse_link(text) for text in args.expect)
    except ValueError as error:
        raise UsageError(f"--expect: {error}") from error
    key = _raw_key(args.public_key) if args.public_key else None
    if args.directory:
        directory = log_directory(args.directory)
        try:
            found = verify(directory, public_key=key, expected=expected).to_wire()
        except OSError as error:
            raise CommandError(f"{directory} cannot be read: {error.strerror}") from error
    else:
        found = _by_server(session, key, args.expect)
    form = session.form(args.output)
    if form in ("json", "yaml"):
        print_object(found, form)
    else:
        _tell(found)
    return EXIT_OK if found["whole"] else EXIT_ERROR


def _by_server(session: Session, key: bytes | None, expected: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = session.api.request("GET", f"{LOGS}/verify", query={"expect": ",".join(expected)})["data"]
    if key is not None and found["key"] != fingerprint(key):
        found["problems"].append(f"head: is signed with another key than the one given, {found['key']}")
        found["whole"] = False
    return found


def _raw_key(path: Path) -> bytes:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(path.read_bytes())
    except (OSError, ValueError) as error:
        raise CommandError(f"{path} is not a public key in PEM: {error}") from error
    if not isinstance(key, Ed25519PublicKey):
        raise CommandError(f"{path} is not an Ed25519 key: give the server's pki/audit-signing.pub")
    return key.public_bytes_raw()


def _tell(found: dict[str, Any]) -> None:
    for problem in found["problems"]:
        sys.stdout.write(f"problem  {problem}\n")
    for notice in found["notices"]:
        sys.stdout.write(f"notice   {notice}\n")
    verdict = "whole" if found["whole"] else "NOT WHOLE"
    sys.stdout.write(
        f"{verdict}: {found['files']} files, {found['records']} records, {found['events']} events\n"
        f"end      {found['end']}\n"
        f"key      {found['key']}\n"
    )
